"""Kept: the weights that a study's final runs left, as an export takes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mnist_arch.design import Design
from mnist_arch.errors import UserError
from search.weights import read_metadata


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A final run whose weights a confirmation kept; `test_accuracy` is a share in [0, 1]."""

    path: Path
    seed: int
    epochs: int
    images: int
    test_accuracy: float


def kept_runs(folder: Path, design: Design) -> list[KeptRun]:
    """The runs of a design whose weights a confirmation kept, in order of their seed indices.

    The files are `<fingerprint>-<seed index>.safetensors`; those of a searched recipe have
    another name and are not taken, for the name does not tell which recipe. Raises `UserError`
    for a damaged one.
    """
    indices = {}
    for path in folder.glob(f"{design.fingerprint}-*.safetensors"):
        if match := re.fullmatch(r"[0-9a-f]+-(\d+)", path.stem):
            indices[int(match[1])] = path
    return [_kept_run(path) for _, path in sorted(indices.items())]


def _kept_run(path: Path) -> KeptRun:
    metadata = read_metadata(path)
    try:
        seed, epochs, images = (int(metadata[name]) for name in ("seed", "epochs", "images"))
        return KeptRun(path, seed, epochs, images, float(metadata["test_accuracy"]))
    except (KeyError, ValueError) as error:
        raise UserError(
            f"weights {path} do not say how they were trained ({error}); remove the file, or give "
            "--seed N to train anew"
        ) from None
