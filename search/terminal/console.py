"""Console: how plain text is printed."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.segment import Segments
from rich.table import Table


def plain_console() -> Console:
    """A console that prints text as it is: brackets in names are no markup, lines are not cut."""
    return Console(highlight=False, markup=False, soft_wrap=True)


def print_table(console: Console, table: Table) -> None:
    """Print a table with every number and name whole, however narrow the window is.

    Where it is piped, it is as wide as it likes; in a narrow window its lines are wrapped by the
    terminal rather than cut.
    """
    roomy = console.options.update(width=_VERY_WIDE, max_width=_VERY_WIDE)
    size = Measurement.get(console, roomy, table)
    width = size.maximum
    if console.is_terminal:
        width = max(size.minimum, min(console.width, size.maximum))
    segments = console.render(table, roomy.update(width=width, max_width=width))
    console.print(Segments(segments), soft_wrap=True, end="")


_VERY_WIDE = 10_000


def command_line(verb: str, folder: Path, *options: object) -> str:
    """`python -m search.<verb> FOLDER ...`, quoted for a shell."""
    words = ["python", "-m", f"search.{verb}", str(folder), *map(str, options)]
    return shlex.join(words)
