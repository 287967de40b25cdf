"""The Makefile: which Python it takes, what it hands on, and what its own exit status says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")

OLD = """#!/bin/sh
case "$*" in
  --version) echo Python 3.10.13 ;;
  *version_info*) exit 1 ;;
esac
"""


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make with the project's Makefile in a folder that holds nothing else of it.

    As from a shell: these tests may run below another make, which says so in the environment.
    """
    above = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")
    return subprocess.run(
        ["make", "-f", str(MAKEFILE), *words], cwd=folder, capture_output=True, text=True,
        check=False, env={name: value for name, value in os.environ.items() if name not in above},
    )  # fmt: skip


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with what an installation is made from."""
    for name in ("pyproject.toml", "setup.py"):
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize("target", ["run", "test"])
def test_without_python_make_says_what_to_do(sources: Path, target: str) -> None:
    done = make(sources, target, "PYTHON=no-such-python")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: there is no no-such-python here. Install Python 3.11 or n"
    )
    assert not (sources / ".venv").exists()


@pytest.mark.parametrize("target", ["run", "test"])
def test_an_older_python_is_named_with_its_version(sources: Path, target: str) -> None:
    old = program(sources / "old-python", OLD)
    done = make(sources, target, f"PYTHON={old}")
    assert done.returncode == 2
    assert (
        f"error: {old} is Python 3.10.13; this needs 3.11 or newer. Install it, or n" in done.stderr
    )
    assert not (sources / ".venv").exists()


def installed(folder: Path, status: int) -> None:
    """An environment whose Python repeats its arguments and ends with a status."""
    program(folder / ".venv/bin/python", f'#!/bin/sh\necho "$@"\nexit {status}\n')
    for stamp in (".installed", ".installed-test"):
        (folder / ".venv" / stamp).touch()


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ((), ""),
        (("TRIALS=100",), " --trials 100"),
        (("TRIALS=9", "FINALISTS=5", "SEEDS=4"), " --trials 9 --finalists 5 --seeds 4"),
        (("FINALISTS=0",), " --finalists 0"),
    ],
)
def test_a_run_searches_and_confirms_with_what_is_given(
    sources: Path, given: tuple[str, ...], options: str
) -> None:
    installed(sources, 0)
    done = make(sources, "run", *given)
    assert (done.returncode, done.stdout) == (0, f"-m search.run{options}\n")


def test_the_answer_no_is_told_and_is_no_failure_of_make(sources: Path) -> None:
    installed(sources, 1)
    done = make(sources, "run")
    assert done.returncode == 0
    assert "The answer is no: no finalist is confirmed, or no design passed" in done.stdout


@pytest.mark.parametrize("status", [2, 3, 130])
def test_any_other_status_fails(sources: Path, status: int) -> None:
    installed(sources, status)
    done = make(sources, "run")
    assert done.returncode == 2
    assert f"Error {status}" in done.stderr
