"""A plan: the single walk over a design, from which everything counts and builds.

Pure integer arithmetic: no torch, no allocation, whatever the widths.
"""

from __future__ import annotations

from dataclasses import dataclass

from mnist_arch.design import (
    AveragePool,
    Conv,
    Design,
    DesignError,
    Dropout,
    Layer,
    Linear,
    MaxPool,
)

Shape = tuple[int, int, int]
"""Channels, rows, columns of one image's map."""

IMAGE_SHAPE: Shape = (1, 28, 28)
CLASSES = 10


class PlanError(DesignError):
    """A design through which no image can pass; names the layer and its input map.

    `layers` are the plan's lines up to there.
    """

    def __init__(self, message: str, layers: tuple[PlannedLayer, ...]) -> None:
        super().__init__(message)
        self.layers = layers


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """One line of a plan: a torch module with what goes in, what comes out and what it costs.

    `position` counts the design's layers from 1; a `Conv` spec becomes a Conv2d line and, with
    batch norm, a BatchNorm2d line. A ReLU has no line of its own (as in the published log):
    `relu` says that one follows. `macs` counts the multiply-accumulates of convolutions and
    fully connected layers for one image. `receptive_field` is the side, in input pixels, of the
    square that one output value can see, by Araujo et al., "Computing receptive fields of
    convolutional neural networks", Distill 2019: r += (kernel - 1) * jump, jump *= stride; it
    may exceed the image.
    """

    position: int
    spec: Layer
    module: str
    input_shape: Shape
    output_shape: Shape
    parameters: int
    macs: int
    receptive_field: int
    relu: bool = False

    @property
    def label(self) -> str:
        """A short name for messages, such as `layer 9 (linear 490 -> 10)`."""
        return f"layer {self.position} ({_describe(self.spec, self.input_shape)})"

    @property
    def covers_its_map(self) -> bool:
        """Whether this is a convolution each of whose output pixels sees its whole input map.

        Output pixel o sees rows o - padding to o - padding + kernel - 1; for the first and the
        last of them that is the whole side when kernel >= side + padding.
        """
        if self.module != "Conv2d" or not isinstance(self.spec, Conv):
            return False
        return self.spec.kernel >= self.input_shape[1] + self.spec.padding


@dataclass(frozen=True, slots=True)
class Plan:
    """A design walked from the image to the logits: its lines and their totals."""

    design: Design
    layers: tuple[PlannedLayer, ...]

    @property
    def parameters(self) -> int:
        """Parameters of the whole network, trainable or not."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def receptive_field(self) -> int:
        """Receptive field of a logit, in pixels a side."""
        return self.layers[-1].receptive_field

    @property
    def output_shape(self) -> Shape:
        """Shape of what comes out for one image: (10, 1, 1) when the design makes ten logits."""
        return self.layers[-1].output_shape


@dataclass(frozen=True, slots=True)
class _Position:
    """Where the walk stands: the map so far, its receptive field, the stride of its pixels."""

    shape: Shape
    receptive_field: int
    jump: int


def plan(design: Design) -> Plan:
    """Walk a design once; raises `PlanError` if a map shrinks to nothing on the way."""
    here = _Position(IMAGE_SHAPE, 1, 1)
    lines: list[PlannedLayer] = []
    for position, spec in enumerate(design.layers, 1):
        there = _step(spec, here)
        if there is None:
            side = here.shape[1]
            raise PlanError(
                f"layer {position} ({_describe(spec, here.shape)}): leaves nothing of its "
                f"{side}x{side} input map; use a smaller kernel, more padding or fewer pools",
                tuple(lines),
            )
        lines += _lines(position, spec, here, there)
        here = there
    return Plan(design, tuple(lines))


def _step(spec: Layer, here: _Position) -> _Position | None:
    """Where the walk stands after `spec`; None if nothing is left of the map."""
    channels, side, _ = here.shape
    if isinstance(spec, Dropout):
        return here
    if isinstance(spec, Conv):
        after, kernel, stride = side + 2 * spec.padding - spec.kernel + 1, spec.kernel, 1
        channels = spec.out_channels
    elif isinstance(spec, MaxPool):
        after, kernel, stride = side // spec.size, spec.size, spec.size
    else:
        after, kernel, stride = 1, side, 1
        channels = spec.out_features if isinstance(spec, Linear) else channels
    if after < 1:
        return None
    return _Position(
        (channels, after, after),
        here.receptive_field + (kernel - 1) * here.jump,
        here.jump * stride,
    )


def _lines(position: int, spec: Layer, here: _Position, there: _Position) -> list[PlannedLayer]:
    """The plan's lines for one spec that leads from `here` to `there`."""
    in_channels, rows, columns = here.shape
    module, parameters, macs, relu = _MODULES[spec.type], 0, 0, False
    if isinstance(spec, Conv):
        weights = spec.out_channels * in_channels * spec.kernel**2
        parameters = weights + spec.out_channels * spec.bias
        macs = weights * there.shape[1] * there.shape[2]
        relu = spec.relu and not spec.batch_norm
    elif isinstance(spec, Linear):
        macs = spec.out_features * in_channels * rows * columns
        parameters = macs + spec.out_features * spec.bias
    elif isinstance(spec, Dropout) and spec.kind == "element":
        module = "Dropout"
    line = PlannedLayer(
        position, spec, module, here.shape, there.shape, parameters, macs,
        there.receptive_field, relu,
    )  # fmt: skip
    if not (isinstance(spec, Conv) and spec.batch_norm):
        return [line]
    norm = PlannedLayer(
        position, spec, "BatchNorm2d", there.shape, there.shape, 2 * spec.out_channels, 0,
        there.receptive_field, spec.relu,
    )  # fmt: skip
    return [line, norm]


_MODULES = {
    Conv.type: "Conv2d",
    Dropout.type: "Dropout2d",
    MaxPool.type: "MaxPool2d",
    AveragePool.type: "AvgPool2d",
    Linear.type: "Linear",
}


def _describe(spec: Layer, shape: Shape) -> str:
    """One spec on an input of `shape`, in a few words."""
    channels, rows, columns = shape
    match spec:
        case Conv():
            return f"conv {spec.kernel}x{spec.kernel} {channels:,} -> {spec.out_channels:,}"
        case Linear():
            return f"linear {channels * rows * columns:,} -> {spec.out_features:,}"
        case MaxPool():
            return f"max-pool {spec.size}x{spec.size}"
        case AveragePool():
            return "average-pool"
        case Dropout():
            return f"{spec.kind} dropout {spec.rate:g}"
