from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from mnist_arch.errors import MachineError, UserError
from search import files

FULL = (
    "No space left on device; finished trials are kept: free some space and run the same "
    "command again"
)


def test_text_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    files.write_text(path, "old\n")
    files.write_text(path, "new ±\n")
    assert path.read_bytes() == "new ±\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_content_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    files.write_text(path, "old\n")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError) as fault:
        files.write_text(path, "new\n")
    assert str(fault.value) == f"cannot write {path}: {FULL}"
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    files.append_text(path, "one\n")
    files.append_text(path, "two ±\n")
    assert path.read_text(encoding="utf-8") == "one\ntwo ±\n"


class HalfWriting(io.FileIO):
    """A file on a disk with room for three more bytes."""

    def write(self, content: Any) -> int:
        return super().write(bytes(content)[:3])


class Refusing(io.FileIO):
    """A file that writes three bytes and then fails."""

    def write(self, content: Any) -> int:
        super().write(bytes(content)[:3])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("kind", [HalfWriting, Refusing])
def test_a_part_of_a_line_is_taken_back_from_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[io.FileIO]
) -> None:
    path = tmp_path / "table.csv"
    files.append_text(path, "whole\n")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda here, mode, **_: kind(here, mode))
        with pytest.raises(MachineError) as fault:
            files.append_text(path, "another line\n")
    assert str(fault.value) == f"cannot write {path}: {FULL}"
    assert path.read_bytes() == b"whole\n"


def test_another_fault_of_the_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"No such file or directory; finished trials are kept$"):
        files.append_text(tmp_path / "none" / "table.csv", "line\n")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write to folder .*file/study: .*--results DIR"):
        files.make_folder(tmp_path / "file" / "study")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    refused = pytest.raises(UserError, match="another run is at work in")
    with files.held(tmp_path), refused, files.held(tmp_path):
        pass
    with files.held(tmp_path):
        pass
