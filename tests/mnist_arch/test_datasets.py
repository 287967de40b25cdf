from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import FashionMNIST

from mnist_arch.augment import gather
from mnist_arch.data import DataError, Digits, check_split, holdout, load, stratified
from mnist_arch.datasets import DATASETS, SPLIT_SEED, DataSet
from mnist_arch.engine import choose_engine, gather_for
from mnist_arch.rules import Rules

FASHION = DATASETS["fashion"]
needs_fashion = pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").is_dir(),
    reason="Fashion-MNIST is not here: apt install dataset-fashion-mnist",
)


@pytest.mark.parametrize("data", DATASETS.values(), ids=DATASETS)
def test_every_data_set_has_the_files_and_classes_of_mnist(data: DataSet) -> None:
    assert data.md5_sums.keys() == DATASETS["mnist"].md5_sums.keys()
    assert all(re.fullmatch("[0-9a-f]{32}", found) for found in data.md5_sums.values())
    assert re.fullmatch("[0-9a-f]{64}", data.split)
    assert len(set(data.classes)) == 10
    assert 0 < data.target < 1
    assert "--data DIR" in data.remedy


def test_no_two_data_sets_share_a_file_a_split_or_a_name() -> None:
    sums = [found for data in DATASETS.values() for found in data.md5_sums.values()]
    assert len(set(sums)) == len(sums)
    for field in ("title", "split", "folder", "mean"):
        assert len({getattr(data, field) for data in DATASETS.values()}) == len(DATASETS)


def test_mnist_is_the_one_that_is_shipped_and_has_the_rules_own_target() -> None:
    assert [name for name, data in DATASETS.items() if data.is_shipped] == ["mnist"]
    assert DATASETS["mnist"].target == Rules().target


def test_classes_are_torchvisions() -> None:
    assert list(FASHION.classes) == FashionMNIST.classes


def test_a_folder_without_it_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError) as told:
        load("train", tmp_path, "fashion")
    assert str(told.value) == (
        "Fashion-MNIST file train-images-idx3-ubyte (or train-images-idx3-ubyte.gz) not found in "
        f"{tmp_path / 'FashionMNIST' / 'raw'}; the program does not hold Fashion-MNIST: give a "
        'folder that does with --data DIR; torchvision downloads one: python -c "from '
        "torchvision.datasets import FashionMNIST; FashionMNIST('DIR', download=True)\"; on Debian "
        "and Ubuntu apt install dataset-fashion-mnist will do, without --data"
    )


def test_mnists_files_are_not_taken_for_it() -> None:
    packaged = Path(__file__).parents[2] / "mnist_arch" / "mnist"
    with pytest.raises(
        DataError, match=r"Fashion-MNIST file .* is damaged: MD5 .* must be 8181f547"
    ):
        load("test", packaged, "fashion")


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_batches_are_normalised_as_their_data_set_is(engine: str) -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(49).view(-1, 28, 28)
    index = torch.arange(len(images))
    expected = ((images.double() / 255 - 0.2860) / 0.3530).float().unsqueeze(1)
    found = gather_for(choose_engine(engine, "cpu"), "fashion")(images, index, None)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not gather(images, index, None).allclose(expected, atol=0.1)


def test_digits_remember_what_they_are_of() -> None:
    images = torch.zeros(20, 28, 28, dtype=torch.uint8)
    digits = Digits(images, torch.arange(20) % 10, "fashion")
    assert digits.take(torch.tensor([3])).to("cpu").dataset == "fashion"


@pytest.fixture(scope="module")
def train() -> Digits:
    return load("train", dataset="fashion")


@needs_fashion
def test_mean_and_deviation_are_those_of_its_training_pixels(train: Digits) -> None:
    pixels = train.images.numpy().astype(np.float64) / 255
    assert round(float(pixels.mean()), 4) == FASHION.mean
    assert round(float(pixels.std()), 4) == FASHION.standard_deviation


@needs_fashion
def test_its_split_is_pinned(train: Digits) -> None:
    fit, validation = holdout(train)
    assert (len(fit), len(validation), fit.dataset) == (50_000, 10_000, "fashion")
    assert validation.labels.bincount().tolist() == [1_000] * 10
    drawn = stratified(train, 10_000, SPLIT_SEED)[0]
    check_split(drawn, "fashion")
    with pytest.raises(DataError, match="draws another split"):
        check_split(drawn + 1, "fashion")


@needs_fashion
def test_torchvisions_layout_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "FashionMNIST").mkdir()
    (tmp_path / "FashionMNIST" / "raw").symlink_to("/usr/share/datasets/fashion-mnist")
    theirs = load("test", tmp_path, "fashion")
    assert theirs.images.equal(load("test", dataset="fashion").images)
    assert len(theirs) == 10_000
