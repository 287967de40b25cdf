from __future__ import annotations

from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from PIL import Image

from mnist_arch.design import (
    AveragePool,
    Conv,
    DepthwiseConv,
    Design,
    Dropout,
    LocalAveragePool,
    MaxPool,
    Sum,
)
from mnist_arch.plan import plan
from mnist_arch.references import REFERENCE_DESIGNS
from search import show
from search.pictures.architecture import columns, draw
from search.pictures.drawing import COLOURS, Line, Polygon, Words
from tests.mnist_arch.strategies import small_graphs

ASSIGNMENT = plan(REFERENCE_DESIGNS["assignment"])
EVERYTHING = Design((
    Conv(16, stride=2), Conv(16, 5, 0, activation="hard_swish"), Conv(16, groups=4),
    Dropout(0.1, "element"), DepthwiseConv(), Sum(3), LocalAveragePool(), MaxPool(), Conv(8),
    Dropout(0.2), AveragePool(), Conv(10, 1, 0),
))  # fmt: skip


def words(drawing_of: Design) -> list[str]:
    return [s.text for s in draw(plan(drawing_of)).shapes if isinstance(s, Words)]


def counted(text: str) -> int:
    digits = text.replace(",", "")
    return int(digits) if digits.isdigit() else 0


@pytest.mark.parametrize("design", [*REFERENCE_DESIGNS.values(), EVERYTHING])
def test_the_numbers_of_each_column_are_the_plans(design: Design) -> None:
    walked = plan(design)
    drawn = columns(walked)
    assert sum(column.parameters for column in drawn) == walked.parameters
    assert [c.shape for c in drawn[1:]] == [
        [n.output_shape for n in walked.nodes if n.position == position][-1]
        for position in range(1, len(design.layers) + 1)
    ]
    places = [s for s in draw(walked).shapes if isinstance(s, Words) and s.anchor == "middle"]
    lowest = max(place.y for place in places)
    assert sum(counted(p.text) for p in places if p.y == lowest) == walked.parameters


def test_blocks_are_as_high_as_their_maps() -> None:
    fronts = [s for s in draw(ASSIGNMENT).shapes if isinstance(s, Polygon) and s.shade == 0]
    heights = [front.points[2][1] - front.points[0][1] for front in fronts]
    sides = [c.shape[1] for c in columns(ASSIGNMENT) if not c.is_gate]
    assert [round(height / 3) for height in heights] == sides
    widths = [front.points[1][0] - front.points[0][0] for front in fronts[1:]]
    channels = [c.shape[0] for c in columns(ASSIGNMENT) if not c.is_gate][1:]
    assert [round(width / 0.9) for width in widths] == channels


def test_dropout_and_sums_are_drawn() -> None:
    shapes = draw(plan(EVERYTHING)).shapes
    gates = [s for s in shapes if isinstance(s, Line) and s.style == "drop"]
    assert [gate.dash for gate in gates] == [2, 6]  # single values, then whole channels
    [arc] = [s for s in shapes if isinstance(s, Line) and s.style == "edge" and s.dash]
    [circle] = [s for s in shapes if isinstance(s, Polygon) and len(s.points) == 8]
    assert arc.points[-1][0] == pytest.approx(circle.points[0][0])
    assert {"0.1", "element", "0.2", "channel", "sum"} <= set(words(EVERYTHING))


def test_what_a_layer_does_stands_above_it() -> None:
    said = words(EVERYTHING)
    for text in ("stride 2", "no padding", "hard-swish", "4 groups", "avg-pool 2x2", "of the map"):
        assert text in said


@given(small_graphs())
@settings(max_examples=25, deadline=None)
def test_any_design_that_can_be_walked_is_drawn(design: Design) -> None:
    drawing = draw(plan(design))
    root = ElementTree.fromstring(drawing.svg())
    assert root.attrib["viewBox"] == f"0 0 {drawing.width:.0f} {drawing.height:.0f}"
    for shape in drawing.shapes:
        if not isinstance(shape, Words):
            assert all(0 <= x <= drawing.width for x, _ in shape.points)
            assert all(0 <= y <= drawing.height for _, y in shape.points)
    assert f"{plan(design).parameters:,} parameters" in drawing.title


def test_a_huge_width_is_drawn() -> None:
    drawing = draw(plan(Design((Conv(10**12), Conv(10)))))
    assert drawing.width < 1_000


def test_a_page_colours_a_drawing_that_does_not_stand_alone() -> None:
    drawing = draw(ASSIGNMENT)
    assert "<style>" not in drawing.svg(alone=False)
    alone = drawing.svg()
    assert "prefers-color-scheme:dark" in alone
    used = {s.style for s in drawing.shapes}
    assert used <= set(COLOURS)


def test_a_png_is_white_around_coloured_blocks() -> None:
    drawing = draw(ASSIGNMENT)
    with Image.open(BytesIO(drawing.png())) as opened:
        image = opened.convert("RGB")
    assert image.size == (round(drawing.width * 2), round(drawing.height * 2))
    assert image.getpixel((2, 2)) == (255, 255, 255)
    front = next(s for s in drawing.shapes if isinstance(s, Polygon) and s.style == "conv")
    x, y = front.points[0][0] + 4, front.points[0][1] + 4
    assert image.getpixel((round(x * 2), round(y * 2))) == (0x4C, 0x78, 0xA8)


def test_the_command_draws_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.svg", "a.PNG"):
        status = show.main(["design", "published-4392", "--picture", str(tmp_path / name)])
        assert status == 0
        assert (tmp_path / name).stat().st_size > 5_000
    assert "Parameters: 4,392" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.jpg", r"--picture .*a\.jpg: must end in \.svg or \.png"),
        ("no/such/a.svg", r"--picture .*a\.svg: No such file or directory; give another file"),
    ],
)
def test_a_file_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        show.main(["design", "assignment", "--picture", str(tmp_path / name)])


def test_a_picture_that_is_too_wide_for_a_png(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    path.write_text(Design(tuple(Conv(4) for _ in range(400))).to_json())
    assert show.main(["design", str(path), "--picture", str(tmp_path / "long.svg")]) == 1
    with pytest.raises(ValueError, match=r"too wide for a PNG; give a file that ends in \.svg"):
        show.main(["design", str(path), "--picture", str(tmp_path / "long.png")])


def test_a_picture_of_a_study_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        show.main(["results/first-light", "--picture", "a.svg"])
    assert "--picture draws one design" in capsys.readouterr().err
