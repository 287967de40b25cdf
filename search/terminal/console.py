"""Console: how plain text is printed."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console


def plain_console() -> Console:
    """A console that prints text as it is: brackets in names are no markup, lines are not cut."""
    return Console(highlight=False, markup=False, soft_wrap=True)


def command_line(verb: str, folder: Path, *options: object) -> str:
    """`python -m search.<verb> FOLDER ...`, quoted for a shell."""
    words = ["python", "-m", f"search.{verb}", str(folder), *map(str, options)]
    return shlex.join(words)
