"""Files: folders, locks, and writing that is all or nothing."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mnist_arch.errors import MachineError, UserError
from search.names import did_you_mean

RESULTS = Path("results")
"""Where studies are, each in a folder of its name, unless `--results` says otherwise."""

DATABASE = "study.db"
"""Of a study, in its folder; the other files there are views of it."""


def nearest_study(folder: Path) -> str:
    """`; did you mean X?` with the study meant by a folder that is not there, or nothing.

    It is the one of that name in `results`, or the one beside the folder with the nearest name.
    """
    named = RESULTS / folder
    try:
        if folder.exists():
            return ""
        if (named / "study.json").is_file():
            return f"; did you mean {named}?"
        known = [str(path.parent) for path in folder.parent.glob("*/study.json")]
    except OSError:
        return ""
    return did_you_mean(str(folder), known)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents; raises `UserError` where nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"cannot write to folder {folder}: {error.strerror or error}; "
            "give another with --results DIR"
        ) from None


def write_text(path: Path, text: str) -> None:
    """Replace a file's content by text in UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace a file by a JSON document, as `write_bytes` does."""
    write_text(path, json.dumps(document, indent=2) + "\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file's content, all of it or nothing: temporary file, fsync, rename.

    Raises `MachineError` when the disk is full or the folder cannot be written; the file is then
    as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise MachineError(f"cannot write {path}: {disk_fault(error)}") from None


def append_text(path: Path, text: str) -> None:
    """Append whole lines to a file in one write; a part of them is taken back.

    Raises `MachineError` as `write_bytes` does.
    """
    content = text.encode()
    try:
        with path.open("ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                if file.write(content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise MachineError(f"cannot write {path}: {disk_fault(error)}") from None


def disk_fault(error: OSError) -> str:
    """What went wrong with the disk and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"{error.strerror}; finished trials are kept: free some space and run the same "
            "command again"
        )
    return f"{error.strerror or error}; finished trials are kept"


@contextmanager
def held(folder: Path, shared: bool = False) -> Iterator[Callable[[], bool]]:
    """Hold a study's folder; gives a function that says whether this run writes its files.

    Raises `UserError` if another run has the folder, unless the study's database is `shared`: then
    several drivers may stand in one folder, of which one writes; the function tries to become it
    when that one has ended. The lock goes with the process, so a killed run leaves none behind.
    """
    lock = FileLock(folder / ".lock")

    def is_writer() -> bool:
        try:
            return lock.is_locked or bool(lock.acquire(timeout=0))
        except Timeout:
            return False

    if not is_writer() and not shared:
        raise UserError(
            f"another run is at work in {folder}; wait for it, or give another --study NAME"
        )
    try:
        yield is_writer
    finally:
        lock.release()
