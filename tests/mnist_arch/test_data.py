from __future__ import annotations

import gzip
import hashlib
import re
import shutil
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.datasets import MNIST

from mnist_arch import data
from mnist_arch.data import (
    DataError,
    Digits,
    Part,
    check_split,
    holdout,
    load,
    protocol_digits,
    stratified,
)
from mnist_arch.datasets import DATASETS, SPLIT_SEED
from mnist_arch.errors import UserError

MD5_SUMS, SPLIT_SHA256 = DATASETS["mnist"].md5_sums, DATASETS["mnist"].split
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

REMEDY = (
    "give a folder that holds MNIST with --data DIR; torchvision downloads one: "
    "python -c \"from torchvision.datasets import MNIST; MNIST('DIR', download=True)\""
)


def equal(one: Digits, other: Digits) -> bool:
    return one.images.equal(other.images) and one.labels.equal(other.labels)


def digits_of(labels: list[int]) -> Digits:
    """Digits with these labels; image number i is filled with i."""
    numbers = torch.arange(len(labels), dtype=torch.uint8)
    return Digits(numbers.view(-1, 1, 1).expand(-1, 28, 28), torch.tensor(labels))


def folder_of(packaged: Path, folder: Path, *names: str) -> Path:
    """A folder with some of the packaged files, gzipped as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(packaged / f"{name}.gz", folder)
    return folder


def mistake(folder: Path, part: Part = "test") -> str:
    """The message that refuses a folder."""
    with pytest.raises(DataError) as caught:
        load(part, folder)
    assert isinstance(caught.value, UserError)
    return str(caught.value)


# --- reading ---


@pytest.mark.parametrize(("part", "count"), [("train", 60_000), ("test", 10_000)])
def test_packaged_digits_are_whole(part: Part, count: int) -> None:
    digits = load(part)
    assert len(digits) == count
    assert (digits.images.shape, digits.images.dtype) == ((count, 28, 28), torch.uint8)
    assert (digits.labels.shape, digits.labels.dtype) == ((count,), torch.int64)


@pytest.mark.parametrize("part", ["train", "test"])
def test_packaged_digits_equal_torchvisions(part: Part, torchvision_folder: Path) -> None:
    theirs = MNIST(torchvision_folder, train=part == "train")
    assert equal(load(part), Digits(theirs.data, theirs.targets))


def test_torchvisions_folder_is_read(torchvision_folder: Path, test_digits: Digits) -> None:
    assert equal(load("test", torchvision_folder), test_digits)


def test_torchvisions_folder_with_gzipped_files_is_read(
    packaged: Path, tmp_path: Path, test_digits: Digits
) -> None:
    folder_of(packaged, tmp_path / "MNIST" / "raw", TEST_IMAGES, TEST_LABELS)
    assert equal(load("test", tmp_path), test_digits)


def test_a_flat_folder_is_read(packaged: Path, tmp_path: Path, test_digits: Digits) -> None:
    assert equal(load("test", folder_of(packaged, tmp_path, TEST_IMAGES, TEST_LABELS)), test_digits)


def test_a_missing_file_is_named_with_the_remedy(packaged: Path, tmp_path: Path) -> None:
    folder = folder_of(packaged, tmp_path / "data", TEST_IMAGES)
    assert mistake(folder) == (
        f"MNIST file {TEST_LABELS} (or {TEST_LABELS}.gz) not found in "
        f"{folder / 'MNIST' / 'raw'}; {REMEDY}"
    )


@pytest.mark.parametrize("place", ["nowhere", "a file/in a file"])
def test_a_folder_that_is_not_there_is_a_missing_file(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").touch()
    assert mistake(tmp_path / place).startswith(f"MNIST file {TEST_IMAGES} (or")


def test_a_folder_whose_name_is_too_long_is_a_missing_file(tmp_path: Path) -> None:
    assert "cannot be looked for: File name too long" in mistake(tmp_path / ("a" * 300))


def damaged(packaged: Path, tmp_path: Path, content: bytes) -> str:
    """The message that refuses a folder whose test labels have this content, gzipped or not."""
    folder = folder_of(packaged, tmp_path, TEST_IMAGES)
    (folder / f"{TEST_LABELS}.gz").write_bytes(content)
    return mistake(folder)


def test_a_flipped_byte_in_the_payload_is_found(packaged: Path, tmp_path: Path) -> None:
    content = bytearray((packaged / f"{TEST_LABELS}.gz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    message = damaged(packaged, tmp_path, bytes(content))
    path = re.escape(str(tmp_path / f"{TEST_LABELS}.gz"))
    cause = r"(cannot be read \(.+\)|is damaged: MD5 of its content is [0-9a-f]{32}, must be .+)"
    assert re.fullmatch(f"MNIST file {path} {cause}; {re.escape(REMEDY)}", message)


def test_a_flipped_bit_anywhere_is_found(packaged: Path, tmp_path: Path) -> None:
    original = (packaged / f"{TEST_LABELS}.gz").read_bytes()
    for place in range(30, len(original), 500):
        content = bytearray(original)
        content[place] ^= 1
        assert damaged(packaged, tmp_path, bytes(content)).startswith(f"MNIST file {tmp_path}")


def test_a_truncated_file_is_found(packaged: Path, tmp_path: Path) -> None:
    content = (packaged / f"{TEST_LABELS}.gz").read_bytes()
    assert damaged(packaged, tmp_path, content[:1_000]) == (
        f"MNIST file {tmp_path / TEST_LABELS}.gz cannot be read (Compressed file ended before "
        f"the end-of-stream marker was reached); {REMEDY}"
    )


def test_a_file_that_is_not_gzipped_is_found(packaged: Path, tmp_path: Path) -> None:
    assert damaged(packaged, tmp_path, b"<html>404</html>") == (
        f"MNIST file {tmp_path / TEST_LABELS}.gz cannot be read "
        f"(Not a gzipped file (b'<h')); {REMEDY}"
    )


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "d41d8cd98f00b204e9800998ecf8427e"), (b"abc", "900150983cd24fb0d6963f7d28e17f72")],
)
def test_other_content_is_found(packaged: Path, tmp_path: Path, content: bytes, found: str) -> None:
    assert damaged(packaged, tmp_path, gzip.compress(content)) == (
        f"MNIST file {tmp_path / TEST_LABELS}.gz is damaged: MD5 of its content is {found}, "
        f"must be {MD5_SUMS[TEST_LABELS]}; {REMEDY}"
    )


def test_an_uncompressed_file_is_checked_too(packaged: Path, tmp_path: Path) -> None:
    (folder_of(packaged, tmp_path, TEST_IMAGES) / TEST_LABELS).write_bytes(b"abc")
    assert f"MNIST file {tmp_path / TEST_LABELS} is damaged: MD5" in mistake(tmp_path)


# --- the split ---


def test_holdout_splits_50_000_and_10_000_of_equal_shares(train_digits: Digits) -> None:
    fit, validation = holdout(train_digits)
    assert (len(fit), len(validation)) == (50_000, 10_000)
    exact = train_digits.labels.bincount() / 6
    assert ((validation.labels.bincount() - exact).abs() < 1).all()
    assert (fit.labels.bincount() + validation.labels.bincount()).equal(
        train_digits.labels.bincount()
    )


def test_the_split_is_the_one_that_results_were_made_with(
    train_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation, _ = stratified(train_digits, 10_000, SPLIT_SEED)
    content = b"".join(int(number).to_bytes(8, "little") for number in validation)
    assert hashlib.sha256(content).hexdigest() == SPLIT_SHA256
    swapped = validation.clone()
    swapped[0] += 1
    with pytest.raises(DataError, match=f"draws another split .* must be {SPLIT_SHA256}; install"):
        check_split(swapped)

    def another(digits: Digits, count: int, _seed: int) -> tuple[Tensor, Tensor]:
        return stratified(digits, count, 1)

    monkeypatch.setattr(data, "stratified", another)
    with pytest.raises(DataError, match="draws another split"):
        holdout(train_digits)


def test_other_digits_than_mnists_have_no_pinned_split(train_digits: Digits) -> None:
    turned = Digits(train_digits.images, train_digits.labels.flip(0))
    fit, validation = holdout(turned)
    assert (len(fit), len(validation)) == (50_000, 10_000)


def test_holdout_is_stratifieds_draw_and_the_rest(train_digits: Digits) -> None:
    drawn, rest = stratified(train_digits, 10_000, seed=5)
    assert torch.cat((drawn, rest)).sort().values.equal(torch.arange(60_000))
    fit, validation = holdout(train_digits, seed=5)
    assert equal(validation, train_digits.take(drawn))
    assert equal(fit, train_digits.take(rest))


def test_the_seed_repeats_the_split_and_another_differs(train_digits: Digits) -> None:
    first, again, other = (stratified(train_digits, 10_000, seed)[0] for seed in (3, 3, 4))
    assert first.equal(again)
    shared = len(set(first.tolist()) & set(other.tolist()))
    assert 1_300 < shared < 2_100  # a sixth of 10,000 by chance, standard deviation 34


LABELS = st.lists(st.integers(0, 9), min_size=1, max_size=80)


def exact_quota(per_class: list[int], count: int) -> list[int]:
    """The largest remainder in whole fractions, ties to the smaller digit."""
    exact = [Fraction(each * count, sum(per_class)) for each in per_class]
    quota = [int(each) for each in exact]
    order = sorted(range(10), key=lambda digit: (quota[digit] - exact[digit], digit))
    for digit in order[: count - sum(quota)]:
        quota[digit] += 1
    return quota


@given(LABELS, st.data())
def test_a_draw_keeps_the_classes_shares(labels: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(labels)))
    digits = digits_of(labels)
    drawn, rest = stratified(digits, count, seed=data.draw(st.integers(0, 9)))
    assert len(drawn) == count
    assert sorted(drawn.tolist() + rest.tolist()) == list(range(len(labels)))
    assert drawn.equal(drawn.sort().values)
    assert rest.equal(rest.sort().values)
    exact = digits.labels.bincount(minlength=10) * count / len(labels)
    got = digits.labels[drawn].bincount(minlength=10)
    assert ((got - exact).abs() < 1 - 1e-6).all()


@pytest.mark.parametrize(
    ("per_class", "count"),
    [
        ([10] * 10, 7),
        ([30, 10, 10, 10, 10, 10, 10, 10, 10, 10], 13),
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 9], 4),
        ([1] * 10, 10),
        ([5, 3, 0, 2, 0, 0, 7, 1, 0, 4], 11),
        pytest.param(
            [15, 9, 2, 15, 29, 1, 17, 13, 0, 16],
            91,
        ),  # shares of 7/9: digits 2 and 4 tie at a remainder of 5/9
    ],
)
def test_shares_are_rounded_by_the_largest_remainder(per_class: list[int], count: int) -> None:
    labels = [digit for digit, many in enumerate(per_class) for _ in range(many)]
    digits = digits_of(labels)
    drawn, _ = stratified(digits, count, seed=0)
    assert digits.labels[drawn].bincount(minlength=10).tolist() == exact_quota(per_class, count)


@pytest.mark.parametrize("count", [0, -1, 101])
def test_a_draw_out_of_bounds_is_refused(count: int) -> None:
    message = f"^images to draw must be from 1 to 100, got {count}$"
    with pytest.raises(ValueError, match=message):
        stratified(digits_of([3] * 100), count, seed=0)


def test_all_may_be_drawn() -> None:
    drawn, rest = stratified(digits_of([1, 2, 3]), 3, seed=0)
    assert drawn.tolist() == [0, 1, 2]
    assert rest.tolist() == []


# --- protocols ---


def test_holdout_never_opens_the_test_files(
    packaged: Path, tmp_path: Path, train_digits: Digits
) -> None:
    folder_of(packaged, tmp_path, "train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    fit, validation = protocol_digits("holdout", folder=tmp_path)
    expected = holdout(train_digits)
    assert equal(fit, expected[0])
    assert equal(validation, expected[1])
    with pytest.raises(DataError, match="MNIST file t10k-images-idx3-ubyte"):
        protocol_digits("assignment", folder=tmp_path)


def test_assignment_fits_all_and_validates_on_the_test_images(
    train_digits: Digits, test_digits: Digits
) -> None:
    fit, validation = protocol_digits("assignment")
    assert equal(fit, train_digits)
    assert equal(validation, test_digits)


def test_train_images_fits_on_a_stratified_part_only(train_digits: Digits) -> None:
    fit, validation = protocol_digits("holdout", train_images=1_000)
    assert (len(fit), len(validation)) == (1_000, 10_000)
    per_class = holdout(train_digits)[0].labels.bincount().tolist()
    assert fit.labels.bincount().tolist() == exact_quota(per_class, 1_000)


def test_digits_move_and_are_taken_together() -> None:
    digits = digits_of([7, 8, 9])
    assert digits.take(torch.tensor([2, 0])).labels.tolist() == [9, 7]
    assert digits.take(torch.tensor([2, 0])).images[:, 0, 0].tolist() == [2, 0]
    assert digits.to("meta").images.device.type == digits.to("meta").labels.device.type == "meta"
