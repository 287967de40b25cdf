"""Folder of an export: built beside its place and moved there, so that it is whole or as it was."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_arch.errors import UserError

FILES = (
    "README.md", "confusion.csv", "design.json", "errors.png", "mnist/NOTICE.md",
    "mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz", "network.onnx",
    "network.py", "weights.safetensors",
)  # fmt: skip
"""All that an export writes; `network.onnx` only where its packages are installed."""

_MADE_BY_PYTHON = "__pycache__"


def require_ours(target: Path, force: bool) -> None:
    """Raise `UserError` unless `target` is new, empty, an earlier export, or `force` is given.

    Also where nothing can be written: before a training, not after it.
    """
    try:
        if target.exists() and not target.is_dir():
            raise UserError(f"--to {target}: is a file; give a folder")
        foreign = sorted(_foreign(target)) if target.exists() else []
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target if target.exists() else target.parent):
            pass
    except OSError as error:
        raise UserError(f"--to {target}: {error.strerror}; give another folder") from None
    if foreign and not force:
        raise UserError(
            f"--to {target}: the folder holds other files ({foreign[0]}); give another, or "
            "--force to write into it and leave them"
        )


def _foreign(target: Path) -> Iterator[str]:
    """Names, as seen from `target`, of files that no export wrote."""
    for path in target.rglob("*"):
        name = path.relative_to(target)
        if _MADE_BY_PYTHON not in name.parts and path.is_file() and name.as_posix() not in FILES:
            yield name.as_posix()


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A folder to build an export in, which becomes `target` when the block ends well.

    Files that no export wrote stay as they are. Raises `UserError` where the disk refuses.
    """
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as temporary:
            built = Path(temporary) / "built"
            built.mkdir()
            yield built
            _move(built, target)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot write {target}: {reason}; free some space or give another folder with --to"
        ) from None


def _move(built: Path, target: Path) -> None:
    """Make a new folder in one step; in an existing one, replace each file, its weights last."""
    if not target.exists():
        built.rename(target)
        return
    for name in FILES:
        if (built / name).exists():
            (target / name).parent.mkdir(exist_ok=True)
            (built / name).replace(target / name)
        else:
            (target / name).unlink(missing_ok=True)
