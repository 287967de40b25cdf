"""Folds: all 70,000 digits cut into parts, so that a training is judged on images it never saw.

The 10,000 validation images, by which a search chose, judge nothing here. The other 60,000 are cut
into six parts of 10,000; training k fits everything but part k, 60,000 images, and is judged on
part k. Digits are numbered as MNIST has them: training images 0 to 59,999, then the test images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mnist_arch.data import Digits, check_split, load, stratified
from mnist_arch.datasets import FOLDS, SPLIT_SEED, VALIDATION_IMAGES


def cut(labels: Tensor, judging: Tensor) -> list[Tensor]:
    """Cut the digits numbered in `judging` into `FOLDS` parts, every class dealt out evenly.

    Parts are ascending int64 numbers and as large as each other, to one; so is every class in
    them. `labels` are those of all digits, int64.
    """
    generator = np.random.default_rng(SPLIT_SEED)
    mine = labels[judging].numpy()
    by_class = [generator.permutation(np.flatnonzero(mine == digit)) for digit in range(10)]
    order = judging.numpy()[np.concatenate(by_class)]
    return [torch.from_numpy(np.sort(order[fold::FOLDS])) for fold in range(FOLDS)]


def fold_digits(
    fold: int,
    train_images: int | None = None,
    folder: Path | None = None,
    dataset: str = "mnist",
) -> tuple[Digits, Digits, Tensor]:
    """The digits that training `fold`, from 0, fits, those it is judged on, and their numbers.

    `train_images` fits on a stratified subset only. Raises `DataError` as `load` does.
    """
    train, test = load("train", folder, dataset), load("test", folder, dataset)
    validation, _ = stratified(train, VALIDATION_IMAGES, SPLIT_SEED)
    check_split(validation, dataset)
    everything = Digits(
        torch.cat([train.images, test.images]), torch.cat([train.labels, test.labels]), dataset
    )
    judging = _others(len(everything), validation)
    judged = cut(everything.labels, judging)[fold]
    fit = everything.take(_others(len(everything), judged))
    if train_images is not None:
        fit = fit.take(stratified(fit, train_images, SPLIT_SEED)[0])
    return fit, everything.take(judged), judged


def _others(count: int, numbers: Tensor) -> Tensor:
    """The numbers from 0 to `count` - 1 that are not among these, ascending."""
    others = torch.ones(count, dtype=torch.bool)
    others[numbers] = False
    return others.nonzero().flatten()
