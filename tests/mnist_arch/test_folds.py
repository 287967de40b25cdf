from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from mnist_arch.data import DataError, Digits, holdout, load
from mnist_arch.datasets import FOLDS, TRAIN_IMAGES
from mnist_arch.folds import cut, fold_digits


@pytest.fixture(scope="module")
def parts() -> list[tuple[Digits, Digits, torch.Tensor]]:
    return [fold_digits(fold, 1_000) for fold in range(FOLDS)]


def test_every_digit_but_the_validation_part_is_judged_once(
    parts: list[tuple[Digits, Digits, torch.Tensor]],
) -> None:
    numbers = torch.cat([judged for _, _, judged in parts])
    assert [len(digits) for _, digits, _ in parts] == [10_000] * FOLDS
    assert len(set(numbers.tolist())) == len(numbers) == 60_000
    assert (numbers >= TRAIN_IMAGES).sum() == 10_000  # all test images
    _, validation = holdout(load("train"))
    left_out = torch.ones(70_000, dtype=torch.bool)
    left_out[numbers] = False
    assert torch.equal(load("train").images[left_out[:TRAIN_IMAGES]], validation.images)


def test_numbers_are_those_of_mnists_files(
    parts: list[tuple[Digits, Digits, torch.Tensor]],
) -> None:
    train, test = load("train"), load("test")
    _, digits, numbers = parts[3]
    of_test = numbers >= TRAIN_IMAGES
    assert torch.equal(digits.images[of_test], test.images[numbers[of_test] - TRAIN_IMAGES])
    assert torch.equal(digits.labels[~of_test], train.labels[numbers[~of_test]])
    assert torch.equal(numbers, numbers.sort().values)


def test_classes_are_dealt_out_evenly(
    parts: list[tuple[Digits, Digits, torch.Tensor]],
) -> None:
    counts = torch.stack([digits.labels.bincount(minlength=10) for _, digits, _ in parts])
    assert (counts.max(0).values - counts.min(0).values <= 1).all()


def test_a_training_fits_everything_that_it_is_not_judged_on() -> None:
    fit, judged, _ = fold_digits(0)
    assert (len(fit), len(judged)) == (60_000, 10_000)
    fitted, unseen = ({bytes(image) for image in d.images.numpy()} for d in (fit, judged))
    assert len(fitted & unseen) < 10  # MNIST itself holds a few images twice
    together = torch.cat([fit.labels, judged.labels]).bincount(minlength=10)
    everything = torch.cat([load("train").labels, load("test").labels]).bincount(minlength=10)
    assert torch.equal(together, everything)


def test_a_subset_to_fit_is_stratified_and_of_the_same_part(
    parts: list[tuple[Digits, Digits, torch.Tensor]],
) -> None:
    fit, digits, numbers = parts[0]
    assert len(fit) == 1_000
    whole, same, again = fold_digits(0, 1_000)
    assert torch.equal(numbers, again)
    assert torch.equal(digits.images, same.images)
    assert torch.equal(fit.images, whole.images)


def test_the_cut_is_the_one_that_results_were_made_with(
    parts: list[tuple[Digits, Digits, torch.Tensor]],
) -> None:
    content = b"".join(judged.numpy().astype("<i8").tobytes() for _, _, judged in parts)
    assert hashlib.sha256(content).hexdigest()[:16] == "3cf6d5f06536c733"


def test_a_cut_by_hand() -> None:
    labels = torch.tensor([0] * 6 + [1] * 12)
    found = cut(labels, torch.arange(18))
    assert [len(part) for part in found] == [3] * FOLDS
    assert all(labels[part].tolist() == [0, 1, 1] for part in found)


def test_missing_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not found"):
        fold_digits(0, folder=tmp_path)
