"""Handwriting: image files as MNIST would show them, and the digits that a network sees there.

MNIST was made so (Y. LeCun, C. Cortes, C. J. C. Burges, http://yann.lecun.com/exdb/mnist): black
and white digits were "size normalized to fit in a 20x20 pixel box while preserving their aspect
ratio", with grey levels from anti-aliasing, and centred in 28x28 "by computing the center of mass
of the pixels". Here the same is done to any image, after telling the ink from the paper. Nothing of
an exported folder is executed.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage
from torch import nn

from mnist_arch.data import Digits
from mnist_arch.datasets import DATASETS
from mnist_arch.errors import UserError
from search.exporting.predictions import logits
from search.names import read_design
from search.weights import read_metadata, read_weights

Ink = NDArray[np.float32]
"""How much ink a pixel has, in [0, 1], whatever the colours of ink and paper."""

MOST_PIXELS = 50_000_000
WORKING_SIDE = 600
"""Pixels a side to which a larger image is shrunk first."""

SIDE, BOX_SIDE = 28, 20
LEAST_CONTRAST = 0.06
"""Between paper and ink, on a scale of [0, 1], below which an image counts as blank."""

LEAST_SHARE_OF_A_STROKE = 0.03
"""Of the largest connected patch of ink; what is smaller is a speck of dust."""

LEAST_STROKE_WIDTH = 0.1
"""Of the digit's longer side: 2 pixels in 20, as the thinnest 5 % of MNIST; thinner pens are
thickened to it."""

SHADES = " .:-=+*#%@"


def read_digit(path: Path) -> NDArray[np.uint8]:
    """Read an image file of one digit as MNIST would show it: uint8 [28, 28], ink 255 on 0.

    Raises `UserError` for a file that is missing, no image, too large, or blank.
    """
    ink = _ink(_open(path))
    if ink.max() < LEAST_CONTRAST:
        raise UserError(f"image {path} is blank: there is no ink that stands out from its paper")
    return centred(fitted(thickened(cropped(cleaned(ink)))))


def read_as_it_is(path: Path, title: str) -> NDArray[np.uint8]:
    """Read an image that is as the data set `title` shows it: uint8 [28, 28], light on 0.

    An image file of 28x28, in grey, or a .npy file. Raises `UserError` for any other: what
    `read_digit` does to a photograph is made for ink on paper.
    """
    pixels = _array(path) if path.suffix == ".npy" else np.asarray(_open(path).convert("L"))
    if pixels.shape != (SIDE, SIDE) or pixels.dtype != np.uint8:
        told = f"{pixels.dtype} {list(pixels.shape)}"
        raise UserError(
            f"image {path} is {told}: a network of {title} is shown images as they are, uint8 "
            f"[{SIDE}, {SIDE}], light on black; photographs are prepared for digits only. Give an "
            f"image of {SIDE}x{SIDE} or a .npy file"
        )
    return pixels


def _array(path: Path) -> NDArray[np.uint8]:
    try:
        found: NDArray[np.uint8] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "no array of numbers, or a damaged one"
        raise UserError(f"image {path} cannot be read: {reason}; give a .npy file") from None
    return found


def _open(path: Path) -> Image.Image:
    """An image file's first picture, upright, in RGBA, at most `WORKING_SIDE` a side."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                _require_moderate(path, image.width * image.height)
                image.load()
                upright = ImageOps.exif_transpose(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(_too_large(path)) from None
    except FileNotFoundError:
        raise UserError(f"image {path} does not exist; give the path of an image file") from None
    except UserError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "not an image, or a damaged one"
        raise UserError(f"image {path} cannot be read: {reason}; give a PNG or JPEG") from None
    upright = _eight_bits(upright).convert("RGBA")
    upright.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
    return upright


def _require_moderate(path: Path, pixels: int) -> None:
    if pixels > MOST_PIXELS:
        raise UserError(_too_large(path))


def _too_large(path: Path) -> str:
    return f"image {path} has more than {MOST_PIXELS:,} pixels; give a smaller one"


def _eight_bits(image: Image.Image) -> Image.Image:
    """An image of 16 or 32 bits a pixel stretched over 8 bits; any other as it is."""
    if image.mode not in ("F", "I") and not image.mode.startswith("I;"):
        return image
    levels = np.nan_to_num(np.asarray(image, np.float64))
    span = max(float(np.ptp(levels)), 1e-9)
    return Image.fromarray(((levels - levels.min()) / span * 255).astype(np.uint8))


def _ink(image: Image.Image) -> Ink:
    """How far each pixel of an RGBA image is from its paper, [rows, columns].

    The paper is the median colour of the border; where the border is transparent, ink is what
    is not. So neither polarity nor colour matters.
    """
    pixels = np.asarray(image, np.float32) / 255  # [rows, columns, 4]
    colour, alpha = pixels[..., :3], pixels[..., 3]
    border = np.ones(alpha.shape, bool)
    border[1:-1, 1:-1] = False
    if np.median(alpha[border]) < 0.5:
        return np.asarray(alpha, np.float32)
    paper = np.median(colour[border & (alpha > 0.5)], axis=0)
    return np.asarray(np.abs(colour - paper).max(axis=2) * alpha, np.float32)


def cleaned(ink: Ink) -> Ink:
    """Ink without the paper's grain and without specks, its strokes near 1."""
    threshold = otsu(ink)
    floor, full = threshold / 2, ink[ink > threshold].mean()
    patches, count = ndimage.label(ink > floor, np.ones((3, 3)))
    sizes = ndimage.sum_labels(ink > threshold, patches, np.arange(count + 1))
    sizes[0] = 0
    strokes = (sizes >= LEAST_SHARE_OF_A_STROKE * sizes.max())[patches] & (patches > 0)
    levels = np.clip((ink - floor) / (full - floor), 0, 1)
    return np.where(strokes, levels, 0).astype(np.float32)


def otsu(ink: Ink) -> float:
    """The threshold that best parts ink from paper.

    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Transactions on
    Systems, Man, and Cybernetics 9 (1979): it maximises the variance between the two classes.
    """
    counts, edges = np.histogram(ink, 256)
    middles = (edges[:-1] + edges[1:]) / 2
    below, above = counts.cumsum(), counts[::-1].cumsum()[::-1]
    sum_below, sum_above = (counts * middles).cumsum(), (counts * middles)[::-1].cumsum()[::-1]
    means_apart = sum_below[:-1] / below[:-1] - sum_above[1:] / above[1:]  # ends are never empty
    return float(edges[1:-1][(below[:-1] * above[1:] * means_apart**2).argmax()])


def cropped(ink: Ink) -> Ink:
    """The smallest rectangle that holds all ink."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def thickened(ink: Ink) -> Ink:
    """Ink whose strokes are at least `LEAST_STROKE_WIDTH` wide, as a pen's on NIST's forms.

    Across a bar of w pixels, w even, the distances to the nearest pixel without ink (1, 2, ...,
    w / 2 and back) average (w + 2) / 4.
    """
    distances = ndimage.distance_transform_edt(np.pad(ink > 0.5, 1))
    width = 4 * distances[distances > 0].mean() - 2
    missing = LEAST_STROKE_WIDTH * max(ink.shape) - width
    if missing < 1:
        return ink
    size = 2 * round(missing / 2) + 1
    return np.asarray(ndimage.maximum_filter(np.pad(ink, size // 2), size), np.float32)


def fitted(ink: Ink) -> Ink:
    """Ink scaled, anti-aliased, so that its longer side is 20 pixels."""
    scale = BOX_SIDE / max(ink.shape)
    rows, columns = (max(1, round(side * scale)) for side in ink.shape)
    resized = Image.fromarray(ink).resize((columns, rows), Image.Resampling.BILINEAR)
    levels = np.asarray(resized, np.float32)
    return np.asarray(levels / levels.max(), np.float32)


def centred(ink: Ink) -> NDArray[np.uint8]:
    """Ink in 28x28 with its centre of mass in the middle, as near as whole pixels allow."""
    centre = ndimage.center_of_mass(ink)
    start = [
        min(max(round(SIDE / 2 - middle), 0), SIDE - side)
        for middle, side in zip(centre, ink.shape, strict=True)
    ]
    image = np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = ink.shape
    image[start[0] : start[0] + rows, start[1] : start[1] + columns] = np.round(ink * 255)
    return image


@dataclass(frozen=True, slots=True)
class Prediction:
    """The digit in an image and the runner-up, each with its probability in [0, 1]."""

    image: str
    digit: int
    probability: float
    runner_up: int
    runner_up_probability: float


def load_export(folder: Path) -> nn.Sequential:
    """The network of an exported folder; raises `UserError` where it is none, or damaged."""
    paths = folder / "design.json", folder / "weights.safetensors"
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise UserError(
            f"{folder} is not an exported network: {missing[0]} is missing; make one: "
            "python -m search.export results/STUDY --to DIR"
        )
    return read_weights(paths[1], read_design(str(paths[0])))[0]


def dataset_of(folder: Path) -> str:
    """What an exported network was trained on: a name in `DATASETS`; raises `UserError`."""
    found = read_metadata(folder / "weights.safetensors").get("dataset", "mnist")
    if found not in DATASETS:
        raise UserError(f"{folder} was trained on {found!r}, which this version does not know")
    return found


def predict(
    network: nn.Module,
    images: list[NDArray[np.uint8]],
    paths: list[Path],
    dataset: str = "mnist",
) -> list[Prediction]:
    """What a network sees in images, each uint8 [28, 28]."""
    pixels = torch.from_numpy(np.stack(images))
    digits = Digits(pixels, torch.zeros(len(images), dtype=torch.int64), dataset)
    shares, classes = logits(network, digits).softmax(1).topk(2)  # both [images, 2]
    rows = zip(paths, shares.tolist(), classes.tolist(), strict=True)
    return [
        Prediction(str(path), digit, probability, second, second_probability)
        for path, (probability, second_probability), (digit, second) in rows
    ]


def shown(image: NDArray[np.uint8]) -> str:
    """An image, uint8 [28, 28], as lines of characters, two a pixel, darker for more ink."""
    return "\n".join(
        "".join(SHADES[level] * 2 for level in row).rstrip()
        for row in (image.astype(int) * (len(SHADES) - 1) + 127) // 255
    )
