"""Targets: what `search.check` is asked to check, read without running it. Imports no torch."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mnist_arch.errors import UserError
from mnist_arch.references import REFERENCE_DESIGNS

FORMS = "FILE.py:Class, package.module:factory, or a design (FILE.json or a name)"
WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")


@dataclass(frozen=True, slots=True)
class Target:
    """A design (by name or file), or code: a file or a module, and what in it makes a network."""

    text: str
    kind: Literal["design", "file", "module"]
    place: str
    attribute: str = ""


def read_target(text: str) -> Target:
    """Take a target apart; raises `UserError` with what is there if it cannot be one."""
    if text in REFERENCE_DESIGNS or text.endswith(".json"):
        return Target(text, "design", text)
    if text.endswith(WEIGHTS):
        raise UserError(
            f"target {text!r} is a state: name what makes its network, and give the state with "
            f"--weights: FILE.py:Class --weights {text}"
        )
    place, colon, attribute = text.rpartition(":")
    if not colon or not attribute.isidentifier():
        raise UserError(_without_class(text.rstrip(":")))
    if not place.endswith(".py"):
        if not all(part.isidentifier() for part in place.split(".")):
            raise UserError(f"target {text!r}: {place!r} is no file ending in .py and no module")
        return Target(text, "module", place, attribute)
    _require_file(Path(place))
    return Target(text, "file", place, attribute)


def _without_class(text: str) -> str:
    """What to say of a target that names no class."""
    path = Path(text)
    if text.endswith(".py") and path.is_file():
        there = classes_in(path)
        names = f"; it has {', '.join(f'{text}:{name}' for name in there)}" if there else ""
        return f"target {text!r}: say what in the file makes the network, {text}:NAME{names}"
    return f"target {text!r}: give {FORMS}"


def classes_in(path: Path) -> list[str]:
    """Names of the classes and functions that stand in a file, read and not run."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    kinds = ast.ClassDef | ast.FunctionDef
    return [node.name for node in tree.body if isinstance(node, kinds) and node.name[0] != "_"]


def _require_file(path: Path) -> None:
    """Raise `UserError`, naming what lies beside it, unless there is such a file."""
    try:
        if path.is_file():
            return
        there = sorted(each.name for each in path.parent.glob("*.py"))[:8]
    except OSError as error:
        raise UserError(f"{path} cannot be looked for: {error.strerror}") from None
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}")
    names = ", ".join(there) or "no Python files"
    raise UserError(f"{path}: no such file; in {path.parent} there is: {names}")
