"""Modules of lanes import each other in one direction only."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from mnist_arch import lanes

FOLDER = Path(lanes.__file__).parent


def imported(path: Path) -> set[str]:
    """The modules of lanes that one of them names in an import, wherever it stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = node.module
            names |= (
                {module}
                if module != "mnist_arch.lanes"
                else {f"{module}.{alias.name}" for alias in node.names}
            )
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.rpartition(".")[2] for name in names if name.startswith("mnist_arch.lanes.")}


@pytest.mark.needs_no_library
def test_imports_have_no_circle() -> None:
    files = [path for path in FOLDER.glob("*.py") if path.stem != "__init__"]
    graph = {path.stem: imported(path) for path in files}
    assert "handle" in graph["network"]
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError for a circle
    assert set(order) == {path.stem for path in files}


@pytest.mark.needs_no_library
def test_the_map_names_every_file() -> None:
    text = (FOLDER / "README.md").read_text()
    native = [path for path in (FOLDER / "native").iterdir() if path.suffix in (".h", ".cpp")]
    python = [path for path in FOLDER.glob("*.py") if path.stem != "__init__"]
    assert len(native) > 10
    assert not [path.name for path in native + python if f"`{path.name}`" not in text]
