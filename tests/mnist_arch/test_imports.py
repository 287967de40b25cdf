from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mnist_arch

PACKAGE = Path(mnist_arch.__file__).parent

ORDER = (
    "errors", "datasets", "values", "layers", "design", "references", "arithmetic", "plan", "rules",
    "build", "audit", "recipe", "data", "folds", "augment", "learning_rate", "shuffle",
    "recorded", "averaging", "step", "epochs", "training", "lanes", "engine",
)  # fmt: skip
"""A module imports only from modules before it."""

SOURCES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """The name right below `mnist_arch` of the module or package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_by(path: Path) -> set[str]:
    """Full names of all that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are written in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(
    "module", ["", ".errors", ".design", ".plan", ".rules", ".recipe", ".datasets", ".epochs"]
)
def test_what_is_only_data_loads_no_torch(module: str) -> None:
    code = f"import sys, mnist_arch{module}; print({{'torch', 'numpy'}} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE.parent, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_library_never_imports_the_search(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported_by(path)}
    assert not roots & {"search", "tests", "benchmarks", "optuna", "pandas"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_up_the_table(path: Path) -> None:
    name = name_of(path)
    if name == "__init__":
        return
    assert name in ORDER, f"give {name} its place in ORDER"
    ours = {each.split(".")[1] for each in imported_by(path) if each.startswith("mnist_arch.")}
    assert ours <= {*ORDER[: ORDER.index(name)], *([name] if path.parent != PACKAGE else [])}
