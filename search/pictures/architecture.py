"""Architecture: a design drawn from its plan, as blocks whose sides are the maps' sides.

From left to right, a block for each map: as high as the map has rows, as thick as it has channels.
Dropout is a dashed gate, a sum a circle with an arc from the map that it adds. Under each stand
its channels, its map and the parameters of what made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

from mnist_arch.design import (
    AveragePool,
    Conv,
    DepthwiseConv,
    Dropout,
    Layer,
    Linear,
    LocalAveragePool,
    MaxPool,
    Sum,
)
from mnist_arch.errors import UserError
from mnist_arch.plan import IMAGE_SHAPE, Node, Plan
from mnist_arch.plan import Shape as MapShape
from search.pictures.drawing import Drawing, Line, Polygon, Shape, Words

FORMATS = (".svg", ".png")

TALLEST, THICKEST, PITCH, GATE = 84.0, 40.0, 60.0, 36.0
"""Pixels: the highest block, the thickest one, the width of a block's column and of a gate's."""

LEFT, TOP, SLANT = 76.0, 66.0, 0.35
"""Pixels beside and above the blocks; how far a block's side leans, over its height."""

FLOOR = TOP + TALLEST + 14

_STYLES: dict[type[Layer], str] = {
    Conv: "conv", DepthwiseConv: "depthwise", MaxPool: "pool", LocalAveragePool: "pool",
    AveragePool: "average", Linear: "linear",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One layer of a design as it is drawn: its nodes' output, their parameters, its words."""

    layer: Layer | None
    shape: MapShape
    parameters: int
    above: tuple[str, ...]
    adds: int | None = None  # the position of the layer that a sum adds

    @property
    def is_gate(self) -> bool:
        """Whether it leaves the map as it is, and is drawn narrow."""
        return isinstance(self.layer, Dropout | Sum)

    @property
    def width(self) -> float:
        """Of the column, in pixels."""
        return GATE if self.is_gate else PITCH


def columns(walked: Plan) -> list[Column]:
    """The image, then one column a layer of the design."""
    found = [Column(None, IMAGE_SHAPE, 0, ("image",))]
    for _, group in groupby(walked.nodes, lambda node: node.position):
        nodes = list(group)
        adds = nodes[0].spec.layer if isinstance(nodes[0].spec, Sum) else None
        parameters = sum(node.parameters for node in nodes)
        found.append(Column(nodes[0].spec, nodes[-1].output_shape, parameters, _above(nodes), adds))
    return found


def _above(nodes: list[Node]) -> tuple[str, ...]:
    """What stands above a layer's block, in one to three lines."""
    layer = nodes[0].spec
    if isinstance(layer, Conv | DepthwiseConv):
        size = f"{layer.kernel}x{layer.kernel}"
        kind = "conv" if isinstance(layer, Conv) else "depthwise"
        more = ["no padding"] if layer.padding == 0 and layer.kernel > 1 else []
        more += [f"stride {layer.stride}"] if layer.stride > 1 else []
        groups = layer.groups if isinstance(layer, Conv) else 1
        more += [f"{groups} groups"] if groups > 1 else []
        function = layer.activation.replace("_", "-")
        more += [] if function in ("relu", "none") else [function]
        return (f"{kind} {size}", ", ".join(more[:1]), ", ".join(more[1:]))
    if isinstance(layer, MaxPool | LocalAveragePool):
        kind = "max-pool" if isinstance(layer, MaxPool) else "avg-pool"
        return (f"{kind} {layer.size}x{layer.size}",)
    if isinstance(layer, AveragePool):
        return ("average", "of the map")
    if isinstance(layer, Dropout | Sum):
        return ()
    return (nodes[0].module.lower(),)


def draw(walked: Plan) -> Drawing:
    """Draw a plan; it says its totals above."""
    drawn = columns(walked)
    edges = [LEFT]
    for column in drawn:
        edges.append(edges[-1] + column.width)
    middles = [(left + right) / 2 for left, right in pairwise(edges)]
    thickness = min(0.9, THICKEST / max(column.shape[0] for column in drawn))
    height = TALLEST / max(column.shape[1] for column in drawn)
    words = (
        f"{walked.parameters:,} parameters, {walked.macs:,} multiply-accumulates an image, "
        f"design {walked.design.fingerprint}"
    )
    shapes: list[Shape] = [Words(12, 16, words, "quiet", 11, "start")]
    for name, below in (("channels", 16), ("map", 30), ("parameters", 44)):
        shapes.append(Words(12, FLOOR + below, name, "quiet", 10, "start"))
    shapes.append(Line(((middles[0], _middle()), (middles[-1], _middle())), "edge"))
    for column, middle in zip(drawn, middles, strict=True):
        shapes += _column(column, middle, height, thickness)
    shapes += _arcs(drawn, middles)
    width = max(edges[-1] + 8, 12 + 6.2 * len(words))
    return Drawing(width, FLOOR + 54, tuple(shapes), f"Architecture of the network: {words}")


def _middle() -> float:
    return FLOOR - TALLEST / 2


def _column(column: Column, middle: float, height: float, thickness: float) -> list[Shape]:
    """What is drawn of one layer."""
    if isinstance(column.layer, Dropout):
        return _gate(column.layer, middle, max(column.shape[1] * height, 16))
    if isinstance(column.layer, Sum):
        return _plus(middle)
    channels, rows, _ = column.shape
    style = "image" if column.layer is None else _STYLES.get(type(column.layer), "other")
    front = (max(2.0, channels * thickness), max(3.0, rows * height))
    shapes = _block(middle, front, style)
    size = f"{rows}x{rows}"
    for text, below in ((f"{channels:,}", 16), (size, 30), (f"{column.parameters:,}", 44)):
        if text != "0":
            shapes.append(Words(middle, FLOOR + below, text))
    for line, text in enumerate(column.above):
        shapes.append(
            Words(middle, TOP - 32 + 11 * line, text, "text" if line == 0 else "quiet", 9)
        )
    return shapes


def _block(middle: float, front: tuple[float, float], style: str) -> list[Shape]:
    """A block in oblique view, its middle on the line: a side, a top and a front."""
    thick, high = front
    lean = (high * SLANT * 0.5, high * SLANT * 0.35)
    left, top = middle - (thick + lean[0]) / 2, _middle() - (high - lean[1]) / 2
    right, bottom = left + thick, top + high
    return [
        Polygon(((left, top), (right, top), (right, bottom), (left, bottom)), style),
        Polygon(
            (
                (left, top), (left + lean[0], top - lean[1]), (right + lean[0], top - lean[1]),
                (right, top),
            ), style, 0.35,
        ),
        Polygon(
            (
                (right, top), (right + lean[0], top - lean[1]),
                (right + lean[0], bottom - lean[1]), (right, bottom),
            ), style, -0.18,
        ),
    ]  # fmt: skip


def _gate(layer: Dropout, middle: float, high: float) -> list[Shape]:
    """A dashed gate as high as the map; whole channels in long dashes, single values in short."""
    dash = 6.0 if layer.kind == "channel" else 2.0
    top, bottom = _middle() - high / 2 - 4, _middle() + high / 2 + 4
    return [
        Line(((middle, top), (middle, bottom)), "drop", dash, 3),
        Words(middle, FLOOR + 16, "dropout", "drop", 8.5),
        Words(middle, FLOOR + 29, f"{layer.rate:g}", "drop", 9),
        Words(middle, FLOOR + 42, layer.kind, "drop", 8.5),
    ]


def _plus(middle: float, radius: float = 8) -> list[Shape]:
    """The circle of a sum."""
    corner = radius * 0.7071
    around = (
        (0, -radius), (corner, -corner), (radius, 0), (corner, corner), (0, radius),
        (-corner, corner), (-radius, 0), (-corner, -corner),
    )  # fmt: skip
    y = _middle()
    return [
        Polygon(tuple((middle + dx, y + dy) for dx, dy in around), "image"),
        Line(((middle - 5, y), (middle + 5, y)), "text", width=1.6),
        Line(((middle, y - 5), (middle, y + 5)), "text", width=1.6),
        Words(middle, FLOOR + 16, "sum", "quiet", 9),
    ]


def _arcs(drawn: list[Column], middles: list[float]) -> list[Shape]:
    """A dashed line from each map that is added to its sum, over the blocks."""
    shapes: list[Shape] = []
    for place, column in enumerate(drawn):
        if column.adds is not None:
            source = column.adds
            start, end = middles[source] + drawn[source].width / 2 - 4, middles[place]
            over = TOP - 2
            path = ((start, _middle()), (start, over), (end, over), (end, _middle() - 8))
            shapes.append(Line(path, "edge", 3))
    return shapes


def save(walked: Plan, path: Path) -> None:
    """Write a design's picture to a file whose name ends in .svg or .png.

    Raises `UserError` for another ending, and for a file that cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise UserError(f"--picture {path}: must end in {' or '.join(FORMATS)}")
    drawing = draw(walked)
    try:
        content = drawing.png() if ending == ".png" else drawing.svg().encode()
        path.write_bytes(content)
    except OSError as error:
        raise UserError(f"--picture {path}: {error.strerror}; give another file") from None
    except ValueError as error:
        raise UserError(f"--picture {path}: {error}; give a file that ends in .svg") from None
