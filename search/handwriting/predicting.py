"""Predicting: an exported network names digits. Nothing of the folder is executed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mnist_arch.data import Digits
from mnist_arch.errors import UserError
from search.exporting.predictions import logits
from search.options import read_design
from search.weights import read_weights

SHADES = " .:-=+*#%@"


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


def predict(
    network: nn.Module, images: list[NDArray[np.uint8]], paths: list[Path]
) -> list[Prediction]:
    """What a network sees in images, each uint8 [28, 28]."""
    pixels = torch.from_numpy(np.stack(images))
    digits = Digits(pixels, torch.zeros(len(images), dtype=torch.int64))
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
