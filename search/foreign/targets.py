"""Targets: what a check is asked to check, and how; read without running it. Imports no torch."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mnist_arch.errors import UserError
from mnist_arch.references import REFERENCE_DESIGNS
from search.config import Machine, StudyConfig

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


@dataclass(frozen=True, slots=True)
class CheckConfig:
    """What to check: a `target` as `read_target` reads it, filled with `weights` if given.

    `training` has the rules, and says how it is trained, which it is only with `train`, once with
    each of `seeds` seeds from `training.seed` on. Loading and watching it may take `time_limit`
    seconds. Raises `UserError` where the choices clash, and for a target that cannot be one.
    """

    target: str
    weights: Path | None = None
    train: bool = False
    seeds: int = 1
    time_limit: int = 60
    training: StudyConfig = field(default_factory=StudyConfig)
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        target = read_target(self.target)
        if self.seeds > 1 and not self.train:
            raise UserError(f"--seeds {self.seeds}: only trainings have seeds; add --train")
        if self.train and self.weights:
            raise UserError("--train starts from fresh weights; leave --train or --weights away")
        if self.train and target.kind != "design" and self.machine.engine == "lanes":
            raise UserError(
                "--engine lanes: trains designs only; a module trains with --engine torch"
            )


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
