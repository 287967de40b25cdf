"""Runs the command lines as a user does: in another process, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
QUICK = ("--epochs", "1", "--train-images", "200")


def environment() -> dict[str, str]:
    """The environment of a command: this project on the path, one thread."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def command(verb: str, *arguments: str | Path) -> list[str]:
    """A command line for `python -m search.<verb>`; without the page, which takes seconds."""
    quick = ["--no-report"] if verb in ("run", "confirm") and "--help" not in arguments else []
    return [sys.executable, "-m", f"search.{verb}", *map(str, arguments), *quick]


def run(folder: Path, verb: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m search.<verb>` to its end in a folder."""
    return subprocess.run(
        command(verb, *arguments), cwd=folder, env=environment(), capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
