"""Folder of an export: built beside its place and moved there, so that it is whole or as it was."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_arch.design import Design
from mnist_arch.errors import MachineError, UserError
from search.weights import read_metadata

FILES = (
    "README.md", "architecture.svg", "confusion.csv", "design.json", "errors.png",
    "mnist/NOTICE.md", "mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz",
    "network.onnx", "network.py", "weights.safetensors",
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
        foreign = next(_foreign(target), None) if target.exists() else None
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target if target.exists() else target.parent):
            pass
    except OSError as error:
        raise UserError(f"--to {target}: {error.strerror}; give another folder") from None
    if foreign and not force:
        raise UserError(
            f"--to {target}: {foreign} there is not of an earlier export; give another folder, or "
            "--force to write into this one: it replaces files of an export's names and leaves "
            "all others"
        )


def _foreign(target: Path) -> Iterator[str]:
    """Names, as seen from `target`, of files that no export wrote.

    An export is known by its design and its weights, which belong together; its `network.py` and
    its README name the same design.
    """
    paths = sorted(path for path in target.rglob("*") if path.is_file())
    names = {path.relative_to(target).as_posix(): path for path in paths}
    names = {name: path for name, path in names.items() if _MADE_BY_PYTHON not in name.split("/")}
    fingerprint = _exported_design(target)
    marks = {"network.py": f'FINGERPRINT = "{fingerprint}"', "README.md": f"| {fingerprint} |"}
    for name, path in names.items():
        ours = fingerprint is not None and name in FILES
        if not ours or marks.get(name, "") not in path.read_text("utf-8", "replace"):
            yield name


def _exported_design(target: Path) -> str | None:
    """The fingerprint that a folder's design and weights agree on, if they do."""
    try:
        text = (target / "design.json").read_text(encoding="utf-8")
        fingerprint = Design.from_json(text).fingerprint
        found = read_metadata(target / "weights.safetensors").get("fingerprint")
    except (OSError, ValueError):  # UserError and UnicodeDecodeError among them
        return None
    return fingerprint if found == fingerprint else None


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A folder to build an export in, which becomes `target` when the block ends well.

    Files that no export wrote stay as they are. Raises `MachineError` where the disk refuses.
    """
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as temporary:
            built = Path(temporary) / "built"
            built.mkdir()
            yield built
            _move(built, target)
    except OSError as error:
        reason = error.strerror or error
        raise MachineError(
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
