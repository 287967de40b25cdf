"""A layer of the search never imports the one above it, and no two files import each other."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import search

PACKAGE = Path(search.__file__).parent

COMMANDS = ("run", "train", "show", "confirm", "check", "export", "predict", "doctor")

ORDER = (
    "facts", "failures", "files", "formats", "seeds", "describe", "record", "space", "settings",
    "options", "sampler", "study", "objective", "workers", "tables", "reading", "layers", "weights",
    "confirmation", "views", "screens", "checkup", "conductors", "checks", "exports", "predictions",
)  # fmt: skip
"""Files and packages of the search; each imports only from those before it."""

SOURCES = sorted(PACKAGE.rglob("*.py"))
each_source = pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE))
)


def module_of(path: Path) -> str:
    """A file's name as it is imported: `search.exports.card`; a package's is its own."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported_by(path: Path) -> set[str]:
    """Modules of the search that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are written in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {f"{node.module}"}
    return names & set(map(module_of, SOURCES)) - {"search"}


def layer_of(module: str) -> str:
    """The name right below `search` that a module belongs to."""
    return module.split(".")[1]


@each_source
def test_a_layer_imports_only_from_those_before_it(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        assert not imported_by(path)
        return
    mine = layer_of(module_of(path))
    imported = {layer_of(module) for module in imported_by(path)}
    if mine in COMMANDS:
        assert not imported & set(COMMANDS), "command lines do not import each other"
        return
    assert mine in ORDER, f"give {mine} its place in ORDER"
    assert imported <= {*ORDER[: ORDER.index(mine)], *([mine] if path.parent != PACKAGE else [])}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.glob("*/__init__.py")), ids=lambda path: path.parent.name
)
def test_a_package_itself_imports_nothing(path: Path) -> None:
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    assert len(statements) == 1, "a docstring and nothing else"
    assert isinstance(statements[0], ast.Expr)


def test_no_two_files_import_each_other() -> None:
    graph = {module_of(path): imported_by(path) - {module_of(path)} for path in SOURCES}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert len(order) == len(SOURCES)


def test_every_layer_is_there() -> None:
    there = {layer_of(module_of(path)) for path in SOURCES if path != PACKAGE / "__init__.py"}
    assert there == {*ORDER, *COMMANDS}
