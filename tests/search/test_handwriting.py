from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from mnist_arch.data import load
from mnist_arch.errors import UserError
from search import handwriting
from search.handwriting import centred, fitted, otsu, read_digit


def drawn(
    folder: Path, digit: int = 3, side: int = 200, ink: object = "black", paper: object = "white",
    mode: str = "RGB", corner: tuple[float, float] = (0.3, 0.1), degrees: float = 0,
) -> Path:  # fmt: skip
    """A digit of Pillow's own font on paper, as a PNG file."""
    image = Image.new(mode, (side, side), paper)  # type: ignore[arg-type]
    font = ImageFont.load_default(side * 0.6)
    at = (corner[0] * side, corner[1] * side)
    ImageDraw.Draw(image).text(at, str(digit), ink, font)  # type: ignore[arg-type]
    path = folder / "digit.png"
    image.rotate(degrees, fillcolor=paper).save(path)  # type: ignore[arg-type]
    return path


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The mean difference of two images, in grey levels of 255."""
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize(
    "changed",
    [
        {"ink": "white", "paper": "black"},
        {"ink": "red", "paper": "green"},
        {"ink": "#333", "paper": "#777"},
        {"ink": (0, 0, 0, 255), "paper": (0, 0, 0, 0), "mode": "RGBA"},
        {"ink": (255, 255, 255, 255), "paper": (255, 255, 255, 0), "mode": "RGBA"},
        {"ink": 0, "paper": 255, "mode": "L"},
        {"ink": 1, "paper": 0, "mode": "1"},
        {"ink": 9_000, "paper": 60_000, "mode": "I;16"},
        {"corner": (0.0, 0.4)},
        {"side": 900},
        {"side": 40},
    ],
    ids=str,
)
def test_colour_polarity_place_and_size_do_not_matter(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    plain = read_digit(drawn(tmp_path))
    assert difference(read_digit(drawn(tmp_path, **changed)), plain) < 15  # type: ignore[arg-type]


def test_another_digit_does_matter(tmp_path: Path) -> None:
    assert difference(read_digit(drawn(tmp_path, 3)), read_digit(drawn(tmp_path, 4))) > 30


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("polarity", [0, 255])
def test_mnists_own_images_come_back(tmp_path: Path, place: int, polarity: int) -> None:
    digit = load("test").images[place].numpy()
    path = tmp_path / "digit.png"
    Image.fromarray(digit ^ np.uint8(polarity)).resize((280, 280), 0).save(path)
    assert difference(read_digit(path), digit) < 10


def test_the_digit_is_fitted_and_centred_as_mnists_are(tmp_path: Path) -> None:
    image = read_digit(drawn(tmp_path, 7))
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert ndimage.center_of_mass(image) == pytest.approx((14, 14), abs=0.51)
    assert image.max() == 255


def test_a_hairline_is_as_dark_and_as_wide_as_a_pen(tmp_path: Path) -> None:
    image = Image.new("L", (500, 500), 255)
    ImageDraw.Draw(image).line((200, 50, 300, 450), 0, 1)
    image.save(tmp_path / "one.png")
    ink = read_digit(tmp_path / "one.png")
    assert (ink > 127).any(1).sum() >= 19
    assert 1.5 <= (ink / 255).sum() / 20 <= 3


def test_dust_is_no_part_of_the_digit(tmp_path: Path) -> None:
    clean = read_digit(drawn(tmp_path))
    path = drawn(tmp_path)
    with Image.open(path) as image:
        ImageDraw.Draw(image).ellipse((4, 4, 7, 7), "black")
        image.save(path)
    assert np.array_equal(read_digit(path), clean)


@given(st.integers(1, 30), st.integers(1, 30))
def test_whatever_its_shape_it_lies_within_the_image(rows: int, columns: int) -> None:
    ink = np.zeros((rows, columns), np.float32)
    ink[0, 0] = ink[-1, -1] = 1
    assert centred(fitted(ink)).shape == (28, 28)


def test_otsu_parts_two_levels() -> None:
    assert 0.2 < otsu(np.array([0.1] * 90 + [0.2] * 5 + [0.9] * 10, np.float32)) < 0.9


def test_otsu_agrees_with_trying_every_threshold() -> None:
    ink = np.random.default_rng(0).random(500).astype(np.float32) ** 3

    def within(threshold: float) -> float:
        classes = ink[ink <= threshold], ink[ink > threshold]
        return float(sum(len(each) * each.var() for each in classes if len(each)))

    best = min(np.linspace(0.01, 0.99, 400), key=within)
    assert within(otsu(ink)) == pytest.approx(within(best), rel=0.01)


def message(path: Path) -> str:
    with pytest.raises(UserError) as told:
        read_digit(path)
    return str(told.value)


def test_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("three")
    assert "does not exist" in message(tmp_path / "none.png")
    assert "not an image, or a damaged one" in message(tmp_path / "text.png")
    assert "Is a directory" in message(tmp_path)


def test_a_damaged_image(tmp_path: Path) -> None:
    path = drawn(tmp_path)
    path.write_bytes(path.read_bytes()[:300])
    assert "not an image, or a damaged one" in message(path)


@pytest.mark.parametrize("colour", ["white", "black", "red", (0, 0, 0, 0)])
def test_a_blank_image(tmp_path: Path, colour: object) -> None:
    mode = "RGBA" if isinstance(colour, tuple) else "RGB"
    Image.new(mode, (50, 50), colour).save(tmp_path / "blank.png")  # type: ignore[arg-type]
    assert "is blank" in message(tmp_path / "blank.png")


@pytest.mark.parametrize("side", [7_100, 10_000, 20_000, 10**6])
def test_a_decompression_bomb_is_never_decoded(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.pgm"
    path.write_bytes(f"P5 {side} {side} 255\n".encode())
    assert f"more than {handwriting.MOST_PIXELS:,} pixels" in message(path)


def test_an_image_of_one_pixel(tmp_path: Path) -> None:
    Image.new("L", (1, 1), 255).save(tmp_path / "dot.png")
    assert "is blank" in message(tmp_path / "dot.png")
