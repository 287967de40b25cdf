"""A layer of the search never imports the one above it, and no two files import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import search

PACKAGE = Path(search.__file__).parent

COMMANDS = (
    "run", "train", "show", "report", "confirm", "check", "export", "predict", "doctor",
    "completion", "__main__",
)  # fmt: skip

ORDER = (
    "names", "verbs", "cli", "formats", "seeds", "facts", "files", "interrupts", "statistics",
    "looks", "goals", "space", "weights", "config", "run_config", "options", "task", "record",
    "final_run", "tables", "samplers", "schedules", "storage", "evaluate", "executors", "loop",
    "warm_start", "confirmation", "dashboard", "foreign", "pictures", "exporting", "handwriting",
    "pages", "terminal", "searching", "single",
)  # fmt: skip
"""Files and packages of the search; each imports only from those before it."""

SOURCES = sorted(PACKAGE.rglob("*.py"))
each_source = pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE))
)


def module_of(path: Path) -> str:
    """A file's name as it is imported: `search.tables.trials`; a package's is its own."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Statements that run when a module is imported: none in functions or for type checkers."""
    for child in ast.iter_child_nodes(node):
        skipped = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        )
        if not skipped:
            yield child
            yield from at_import(child)


def imported(nodes: Iterator[ast.AST], path: Path) -> set[str]:
    """Modules of the search that these statements import; the API's own names stay out."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are written in full"
            api = search.__all__ if node.module == "search" else ()
            taken = {alias.name for alias in node.names} - set(api)
            names |= {f"{node.module}.{name}" for name in taken}
            names |= set() if node.module == "search" and not taken else {str(node.module)}
    return names & set(map(module_of, SOURCES)) - {"search"}


def imported_by(path: Path) -> set[str]:
    """Modules of the search that a file imports, also inside functions."""
    return imported(iter(list(ast.walk(parsed(path)))), path)


def layer_of(module: str) -> str:
    """The name right below `search` that a module belongs to."""
    return module.split(".")[1]


@each_source
def test_a_layer_imports_only_from_those_before_it(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        assert {layer_of(module) for module in imported_by(path)} <= set(ORDER)
        return
    mine = layer_of(module_of(path))
    found = {layer_of(module) for module in imported_by(path)}
    if mine in COMMANDS:
        assert not found & set(COMMANDS), "command lines do not import each other"
        return
    assert mine in ORDER, f"give {mine} its place in ORDER"
    assert found <= {*ORDER[: ORDER.index(mine)], *([mine] if path.parent != PACKAGE else [])}


@each_source
def test_only_commands_use_the_api(path: Path) -> None:
    if path.parent == PACKAGE and path.stem in COMMANDS:
        return
    taken = {
        alias.name
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.module == "search"
        for alias in node.names
    }
    assert not taken & set(search.__all__)


def test_the_api_imports_nothing_but_the_configuration_until_it_is_called() -> None:
    path = PACKAGE / "__init__.py"
    allowed = {"search.config", "search.run_config", "search.foreign.targets", "search.foreign"}
    assert imported(at_import(parsed(path)), path) <= allowed


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.glob("*/__init__.py")), ids=lambda path: path.parent.name
)
def test_a_package_itself_imports_nothing(path: Path) -> None:
    if path.parent.name == "executors":  # it holds the protocol and the names of executors
        assert "search.executors" not in {m[:16] for m in imported(at_import(parsed(path)), path)}
        return
    if path.parent.name in ("loop", "samplers", "statistics", "storage"):
        return  # they are what others use of them; the other files are parts of them
    if path.parent.name == "goals":  # it holds their names
        assert {m[:13] for m in imported(at_import(parsed(path)), path)} == {"search.goals."}
        return
    statements = parsed(path).body
    assert len(statements) == 1, "a docstring and nothing else"
    assert isinstance(statements[0], ast.Expr)


def test_no_two_files_import_each_other() -> None:
    graph = {
        module_of(path): imported(at_import(parsed(path)), path) - {module_of(path)}
        for path in SOURCES
    }
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert len(order) == len(SOURCES)


def test_every_layer_is_there() -> None:
    there = {layer_of(module_of(path)) for path in SOURCES if path != PACKAGE / "__init__.py"}
    assert there == {*ORDER, *COMMANDS}


@each_source
def test_options_become_a_configuration_at_the_door(path: Path) -> None:
    """`argparse.Namespace` is named by the command files, `options.py` and `cli.py` alone."""
    if path.parent == PACKAGE and path.stem in (*COMMANDS, "options", "cli"):
        return
    names = {
        ast.unparse(node) for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute)
    }
    names |= {node.id for node in ast.walk(parsed(path)) if isinstance(node, ast.Name)}
    assert not names & {"argparse.Namespace", "Namespace"}
