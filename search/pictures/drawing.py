"""Drawing: a few kinds of shapes, written as SVG text or painted as a PNG.

Coordinates are pixels from the upper left corner. A shape's `style` names a colour of `COLOURS`;
an SVG carries it as a class, so that a page can set its own colours, for light and dark.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from io import BytesIO
from itertools import pairwise
from typing import Literal

from PIL import Image, ImageColor, ImageDraw, ImageFont

COLOURS: dict[str, tuple[str, str]] = {
    "text": ("#1f2933", "#e6e9ee"),
    "quiet": ("#66717e", "#98a2b0"),
    "edge": ("#7b8794", "#8793a2"),
    "image": ("#cbd2d9", "#5b6673"),
    "conv": ("#4c78a8", "#6f9fd0"),
    "depthwise": ("#2f9e8f", "#4fbfae"),
    "pool": ("#e8a33d", "#d9983a"),
    "average": ("#b279a2", "#c48fb6"),
    "linear": ("#d9534f", "#e0716d"),
    "other": ("#8d99ae", "#8d99ae"),
    "drop": ("#c0392b", "#ff8a7a"),
}
"""Each style's colour on a light and on a dark ground."""

FONT_SHARE = 0.62
"""Width of a character over the font's size, at most, on average."""

MAX_SIDE = 16_000
"""Most pixels a side of a PNG."""


@dataclass(frozen=True, slots=True)
class Polygon:
    """A closed shape, filled; `shade` darkens (below 0) or lightens its colour, from -1 to 1."""

    points: tuple[tuple[float, float], ...]
    style: str
    shade: float = 0.0


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points; `dash` is drawn and left free in turn, in pixels (0: a whole line)."""

    points: tuple[tuple[float, float], ...]
    style: str
    dash: float = 0.0
    width: float = 1.2


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text; `x`, `y` is its baseline at its start, middle or end."""

    x: float
    y: float
    text: str
    style: str = "text"
    size: float = 10.0
    anchor: Literal["start", "middle", "end"] = "middle"


Shape = Polygon | Line | Words


@dataclass(frozen=True, slots=True)
class Drawing:
    """Shapes, the first at the back, on a ground of `width` and `height` pixels.

    `title` says in words what is drawn.
    """

    width: float
    height: float
    shapes: tuple[Shape, ...]
    title: str

    def svg(self, alone: bool = True) -> str:
        """SVG text: `alone` with its own colours, else for a page that has them (`style_rules`)."""
        size = f'viewBox="0 0 {self.width:.0f} {self.height:.0f}"'
        box = f'width="{self.width:.0f}" height="{self.height:.0f}" {size}'
        rules = f"<style>{style_rules()}</style>" if alone else ""
        content = "".join(map(_svg_of, self.shapes))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" role="img" {box}>'
            f"<title>{escape(self.title)}</title>{rules}{content}</svg>"
        )

    def png(self, scale: int = 2) -> bytes:
        """A PNG on white, `scale` dots a pixel unless that makes it too large."""
        scale = max(1, min(scale, int(MAX_SIDE / max(self.width, self.height))))
        fine = 2 * scale  # painted finer, then made smaller: that smooths the edges
        size = (round(self.width * fine), round(self.height * fine))
        if max(size) > 2 * MAX_SIDE:
            raise ValueError(f"a picture of {self.width:,.0f} pixels is too wide for a PNG")
        image = Image.new("RGB", size, "white")
        painter = ImageDraw.Draw(image)
        for shape in self.shapes:
            _paint(painter, shape, fine)
        small = (size[0] // 2, size[1] // 2)
        target = BytesIO()
        image.resize(small, Image.Resampling.LANCZOS).save(target, "PNG", optimize=True)
        return target.getvalue()


def style_rules(inside: str = ".drawing") -> str:
    """CSS that colours a drawing's classes, for light and dark screens; print is light."""
    light, dark = (
        "".join(f"{inside}{{--{name}:{both[which]}}}" for name, both in COLOURS.items())
        for which in (0, 1)
    )
    fills = "".join(
        f"{inside} .d-{name}{{fill:var(--{name})}}{inside} .l-{name}{{stroke:var(--{name})}}"
        for name in COLOURS
    )
    return (
        f"{light}{fills}{inside} polyline{{fill:none}}"
        f"{inside} text{{font-family:system-ui,sans-serif}}"
        f"@media screen and (prefers-color-scheme:dark){{{dark}}}"
    )


def _pairs(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _svg_of(shape: Shape) -> str:
    if isinstance(shape, Polygon):
        points = _pairs(shape.points)
        fill = f'<polygon class="d-{shape.style}" points="{points}"/>'
        if shape.shade:
            cover = "#fff" if shape.shade > 0 else "#000"
            opacity = f'fill="{cover}" fill-opacity="{abs(shape.shade):.2f}"'
            fill += f'<polygon {opacity} points="{points}"/>'
        return fill
    if isinstance(shape, Line):
        dash = f' stroke-dasharray="{shape.dash:g}"' if shape.dash else ""
        width = f'stroke-width="{shape.width:g}"'
        return f'<polyline class="l-{shape.style}" {width}{dash} points="{_pairs(shape.points)}"/>'
    place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size:g}"'
    text = escape(shape.text)
    return f'<text class="d-{shape.style}" {place} text-anchor="{shape.anchor}">{text}</text>'


def _paint(painter: ImageDraw.ImageDraw, shape: Shape, fine: int) -> None:
    colour = _light(shape)
    if isinstance(shape, Words):
        font = ImageFont.load_default(shape.size * fine)
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
        painter.text((shape.x * fine, shape.y * fine), shape.text, colour, font, anchor)
        return
    points = [(x * fine, y * fine) for x, y in shape.points]
    if isinstance(shape, Polygon):
        painter.polygon(points, colour)
        return
    for start, end in pairwise(points):
        for part in _dashes(start, end, shape.dash * fine):
            painter.line(part, colour, max(1, round(shape.width * fine)))


def _light(shape: Shape) -> tuple[int, ...]:
    """A shape's colour on white, with its shade."""
    colour = ImageColor.getrgb(COLOURS[shape.style][0])
    shade = shape.shade if isinstance(shape, Polygon) else 0.0
    cover = 255 if shade > 0 else 0
    return tuple(round(part + (cover - part) * abs(shade)) for part in colour[:3])


Dot = tuple[float, float]


def _dashes(start: Dot, end: Dot, dash: float) -> list[tuple[Dot, Dot]]:
    """A line's parts that are drawn."""
    length = ((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2) ** 0.5
    if not dash or length <= dash:
        return [(start, end)]

    def at(distance: float) -> Dot:
        share = min(distance / length, 1)
        return (
            start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
        )  # fmt: skip

    steps = range(0, int(length / dash) + 1, 2)
    return [(at(step * dash), at((step + 1) * dash)) for step in steps]
