from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mnist_arch.errors import UserError
from search import files


def test_text_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    files.write_text(path, "old\n")
    files.write_text(path, "new\n")
    assert path.read_text() == "new\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_content_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    files.write_text(path, "old\n")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError) as refusal:
        files.write_text(path, "new\n")
    assert str(refusal.value) == (
        f"cannot write {path}: No space left on device; finished trials are kept: free some "
        "space and run the same command again"
    )
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write to folder .*file/study: .*--results DIR"):
        files.make_folder(tmp_path / "file" / "study")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    refused = pytest.raises(UserError, match="another run is at work in")
    with files.only_one(tmp_path), refused, files.only_one(tmp_path):
        pass
    with files.only_one(tmp_path):
        pass
