"""What an export prints: how it goes on, the confusion table, the last lines."""

from __future__ import annotations

from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.table import Table

from mnist_arch.plan import CLASSES
from search.exporting.exporting import Exported


def teller() -> Callable[[str], None]:
    """Prints a sentence as it comes."""
    console = Console(highlight=False, markup=False)
    return lambda sentence: console.print(sentence, soft_wrap=True)


def print_export(exported: Exported) -> None:
    """Print the confusion table, and what was written."""
    console = Console(highlight=False)
    data = exported.provenance.data
    table = Table(
        title=f"test {data.noun}s: truth in rows, class in columns", title_justify="left",
        box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False,
    )  # fmt: skip
    for heading in ("", *map(str, range(CLASSES))):
        table.add_column(heading, justify="right", no_wrap=True)
    for truth, row in enumerate(exported.predictions.confusion.tolist()):
        cells = [f"[bold]{n}[/bold]" if i == truth else str(n or "") for i, n in enumerate(row)]
        table.add_row(f"[bold]{truth}[/bold]", *cells)
    console.print(table)
    if not data.is_shipped:
        classes = (f"{number} {name}" for number, name in enumerate(data.classes))
        console.print(f"classes: {', '.join(classes)}", soft_wrap=True)
    provenance, folder = exported.provenance, exported.folder
    lines = [
        f"Test:  {provenance.accuracy}; {provenance.selection}.",
        provenance.try_out and f"Note:  {provenance.try_out}",
        f"ONNX:  {exported.onnx.replace('`', '')}",
        f"Files: {folder}: " + ", ".join(sorted(path.name for path in folder.iterdir())),
        f"Next:  python {folder / 'network.py'}; python -m search.predict {folder} IMAGE",
    ]
    console.print("\n".join(line for line in lines if line), soft_wrap=True, markup=False)
