"""Data sets: what tells MNIST and those of its shape apart, and how each is cut. Imports no torch.

All have as many images as MNIST, 28x28 in grey, of ten classes, in files like its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TRAIN_IMAGES, TEST_IMAGES = 60_000, 10_000
"""Images of a data set. Numbered through, the first test image is number `TRAIN_IMAGES`."""

VALIDATION_IMAGES = 10_000
HOLDOUT_TRAIN_IMAGES = TRAIN_IMAGES - VALIDATION_IMAGES
"""How the training images are cut under the protocol `holdout`; the latter are fitted."""

FOLDS = 6
"""Parts of a confirmation by folds, see `mnist_arch.folds`."""

SPLIT_SEED = 0
"""Of the draw of the validation images, of subsets and of folds; `DataSet.split` pins the first."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set.

    `title` names it on screen, `noun` one image of it, and `reads` says what a network of it
    reads. `folder` is its place in torchvision's layout; `place` where its files are looked for
    without --data, None for those that the program ships; `remedy` what to do where they are not.
    `md5_sums` are those of each uncompressed file; `split` the SHA-256 of the validation images'
    numbers, ascending int64, little end first. `mean` and `standard_deviation` are those of the
    training images' pixels on a scale of [0, 1]. `classes` are their names in the order of the
    labels, `target` the validation accuracy of a pass where the user gives none.
    """

    title: str
    noun: str
    reads: str
    folder: Path
    place: Path | None
    remedy: str
    md5_sums: dict[str, str]
    split: str
    mean: float
    standard_deviation: float
    classes: tuple[str, ...]
    target: float

    @property
    def is_shipped(self) -> bool:
        """Whether its files are in this package."""
        return self.place is None


def _torchvision(name: str) -> str:
    return (
        "torchvision downloads one: "
        f"python -c \"from torchvision.datasets import {name}; {name}('DIR', download=True)\""
    )


DATASETS: dict[str, DataSet] = {
    "mnist": DataSet(
        title="MNIST", noun="digit", reads="handwritten digits",
        folder=Path("MNIST") / "raw", place=None,
        remedy="give a folder that holds MNIST with --data DIR; " + _torchvision("MNIST"),
        md5_sums={  # as torchvision's download page publishes them
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
        split="348b612df528596317ee98f8e6c1ddf0b6a78dc451114658894ffe9d7645cc39",
        mean=0.1307, standard_deviation=0.3081,  # the usual constants for MNIST
        classes=tuple("0123456789"),
        target=0.994,  # the assignment's
    ),
    "fashion": DataSet(
        title="Fashion-MNIST", noun="image", reads="images of clothes (Fashion-MNIST)",
        folder=Path("FashionMNIST") / "raw", place=Path("/usr/share/datasets/fashion-mnist"),
        remedy="the program does not hold Fashion-MNIST: give a folder that does with --data DIR; "
        + _torchvision("FashionMNIST")
        + "; on Debian and Ubuntu apt install dataset-fashion-mnist will do, without --data",
        md5_sums={  # computed of Debian's dataset-fashion-mnist 0.0~git20200523.55506a9-1
            "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
            "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
            "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        },
        split="7278d9dbaeb052dfc91a6b71f4d35954bfda4d47538662b27e62f96d3334f3d1",
        mean=0.2860, standard_deviation=0.3530,  # the usual constants for Fashion-MNIST
        classes=(
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
            "Bag", "Ankle boot",
        ),
        target=0.92,  # a choice, to be moved with --target; no record and no rule of anybody's
    ),
}  # fmt: skip
"""All data sets by the names that `--dataset` takes; a study keeps the name."""
