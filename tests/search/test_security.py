"""Nothing read is run, nothing listens, names stay in their folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mnist_arch
import search
from mnist_arch.errors import UserError
from search import RunConfig
from search.names import require_name

SOURCES = sorted(
    path
    for package in (search, mnist_arch)
    for path in Path(str(package.__file__)).parent.rglob("*.py")
)
each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-3:]))

RUNS_WHAT_IT_READS = {
    "eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "marshal.loads",
    "marshal.load", "shelve.open", "dill.load", "joblib.load", "yaml.load", "yaml.unsafe_load",
    "pd.read_pickle", "pandas.read_pickle", "os.system", "os.popen",
}  # fmt: skip


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@each_source
def test_nothing_that_is_read_is_run(path: Path) -> None:
    for name, call in calls(path):
        assert name not in RUNS_WHAT_IT_READS, f"{path}:{call.lineno} {name}"
        options = {option.arg: ast.unparse(option.value) for option in call.keywords}
        if name in ("torch.load", "load") and "map_location" in options:
            assert options.get("weights_only") == "True", f"{path}:{call.lineno}"
        if name in ("np.load", "numpy.load"):
            assert options.get("allow_pickle", "False") == "False", f"{path}:{call.lineno}"
        assert options.get("shell") != "True", f"{path}:{call.lineno} a shell"


@each_source
def test_nothing_listens_beyond_this_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "0.0.0.0" not in text
    assert '"::"' not in text


def test_only_a_check_imports_a_users_file() -> None:
    importing = {
        path.name for path in SOURCES for name, _ in calls(path) if name.endswith("exec_module")
    }
    assert importing == {"load_module.py"}


@pytest.mark.parametrize(
    "name",
    ["../x", "a/b", "/etc", "a\\b", "..", ".", "", "a\nb", "a\0b", "\x1b[2J", "x" * 101, "\u202ex"],
)
def test_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="must be a plain folder name"):
        require_name("--study", name)
    with pytest.raises(UserError):
        RunConfig(study=name)


@pytest.mark.parametrize("name", ["mnist", "a study", "ünï", "50%", "-x", "=1", "~"])
def test_a_plain_name_stays_in_the_results(tmp_path: Path, name: str) -> None:
    folder = RunConfig(study=name, results=tmp_path).folder
    assert folder.resolve().parent == tmp_path.resolve()
