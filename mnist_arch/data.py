"""Digits: MNIST, or another data set of its shape, as tensors, checked; and its split.

The program ships MNIST; the files are read from the package, or from a folder in torchvision's
layout, and their content is checked against the MD5 sums of `datasets` before anything uses it.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mnist_arch.datasets import DATASETS, SPLIT_SEED, VALIDATION_IMAGES, DataSet
from mnist_arch.errors import UserError
from mnist_arch.recipe import Protocol

Part = Literal["train", "test"]

_PREFIX: dict[Part, str] = {"train": "train", "test": "t10k"}
_IMAGE_HEADER_BYTES, _LABEL_HEADER_BYTES = 16, 8  # http://yann.lecun.com/exdb/mnist


class DataError(UserError):
    """A data set is missing or damaged; says which file and what to do."""


@dataclass(frozen=True, slots=True)
class Digits:
    """Images, uint8 [count, 28, 28], and their labels, int64 [count], on one device.

    `dataset` is the name in `DATASETS` of what they are of.
    """

    images: Tensor
    labels: Tensor
    dataset: str = "mnist"

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Digits:
        """The same digits on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def take(self, index: Tensor) -> Digits:
        """The digits at `index`, int64 [count]."""
        return replace(self, images=self.images[index], labels=self.labels[index])


def load(part: Part, folder: Path | None = None, dataset: str = "mnist") -> Digits:
    """Read the 60,000 training or the 10,000 test digits.

    `folder` is one in torchvision's layout (the files in `MNIST/raw`, or directly in it,
    gzipped or not); without it those of the data set's own place are read, MNIST's from the
    package. Raises `DataError`.
    """
    prefix, data_set = _PREFIX[part], DATASETS[dataset]
    images = _read(f"{prefix}-images-idx3-ubyte", folder, data_set)[_IMAGE_HEADER_BYTES:]
    labels = _read(f"{prefix}-labels-idx1-ubyte", folder, data_set)[_LABEL_HEADER_BYTES:]
    pixels = torch.from_numpy(np.frombuffer(images, np.uint8).copy())
    return Digits(
        pixels.view(-1, 28, 28),  # [count * 784] -> [count, 28, 28]
        torch.from_numpy(np.frombuffer(labels, np.uint8).astype(np.int64)),
        dataset,
    )


def _read(name: str, folder: Path | None, data: DataSet) -> bytes:
    """The uncompressed content of one file, checked; raises `DataError`."""
    places = [folder / data.folder, folder] if folder else [data.place or _package_folder()]
    for place in places:
        for path in (place / name, place / f"{name}.gz"):
            if _is_there(path, data):
                return _checked(path, name, data)
    raise DataError(
        f"{data.title} file {name} (or {name}.gz) not found in {places[0]}; {data.remedy}"
    )


def _is_there(path: Path, data: DataSet) -> bool:
    """Whether there is a file; raises `DataError` where the system refuses to say."""
    try:
        return path.is_file()
    except OSError as error:
        raise DataError(
            f"{data.title} file {path.name} cannot be looked for: {error.strerror}; {data.remedy}"
        ) from None


def _package_folder() -> Path:
    return Path(str(resources.files("mnist_arch"))) / "mnist"


def _checked(path: Path, name: str, data: DataSet) -> bytes:
    """The uncompressed content of `path`; raises `DataError` unless it is the published one."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{data.title} file {path} cannot be read ({error}); {data.remedy}"
        ) from None
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != data.md5_sums[name]:
        raise DataError(
            f"{data.title} file {path} is damaged: MD5 of its content is {found}, "
            f"must be {data.md5_sums[name]}; {data.remedy}"
        )
    return content


def stratified(digits: Digits, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw `count` digits so that every class keeps its share, and leave the rest.

    Returns both as ascending int64 indices. Shares are rounded by the largest remainder, ties to
    the smaller digit. Raises `ValueError` unless 1 <= count <= len(digits).
    """
    if not 1 <= count <= len(digits):
        raise ValueError(f"images to draw must be from 1 to {len(digits):,}, got {count:,}")
    labels = digits.labels.cpu().numpy()
    per_class = np.bincount(labels, minlength=10)
    quota, remainder = np.divmod(per_class * count, len(labels))
    short = count - quota.sum()
    quota[np.argsort(-remainder, kind="stable")[:short]] += 1
    generator = np.random.default_rng(seed)
    drawn = np.concatenate(
        [
            generator.permutation(np.flatnonzero(labels == digit))[: quota[digit]]
            for digit in range(10)
        ]
    )
    chosen = np.zeros(len(labels), bool)
    chosen[drawn] = True
    return torch.from_numpy(np.flatnonzero(chosen)), torch.from_numpy(np.flatnonzero(~chosen))


def holdout(train: Digits, seed: int = SPLIT_SEED) -> tuple[Digits, Digits]:
    """Split the 60,000 training digits, stratified, into 50,000 to fit and 10,000 to validate.

    Raises `DataError` if the split of `SPLIT_SEED` is not the one that results on disk were made
    with.
    """
    validation, fit = stratified(train, VALIDATION_IMAGES, seed)
    if seed == SPLIT_SEED and _are_all_labels(train):
        check_split(validation, train.dataset)
    return train.take(fit), train.take(validation)


def check_split(validation: Tensor, dataset: str = "mnist") -> None:
    """Raise `DataError` unless these are the data set's validation images, ascending int64."""
    found = hashlib.sha256(validation.numpy().astype("<i8").tobytes()).hexdigest()
    wanted = DATASETS[dataset].split
    if found != wanted:
        raise DataError(
            f"numpy {np.__version__} draws another split of the training images: SHA-256 of the "
            f"validation images' numbers is {found}, must be {wanted}; install another numpy"
        )


def _are_all_labels(train: Digits) -> bool:
    """Whether these are all training labels of their data set, by their file's checksum."""
    header = bytes.fromhex("00000801") + len(train).to_bytes(4, "big")
    content = header + train.labels.cpu().numpy().astype(np.uint8).tobytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return found == DATASETS[train.dataset].md5_sums["train-labels-idx1-ubyte"]


def protocol_digits(
    protocol: Protocol,
    train_images: int | None = None,
    folder: Path | None = None,
    dataset: str = "mnist",
) -> tuple[Digits, Digits]:
    """The digits to fit and the digits to validate on, under a protocol.

    `holdout` never opens the test files. `assignment` fits on 60,000 and validates on the test
    images, as the class does. `train_images` fits on a stratified subset only.
    """
    train = load("train", folder, dataset)
    if protocol == "assignment":
        fit, validation = train, load("test", folder, dataset)
    else:
        fit, validation = holdout(train)
    if train_images is not None:
        fit = fit.take(stratified(fit, train_images, SPLIT_SEED)[0])
    return fit, validation
