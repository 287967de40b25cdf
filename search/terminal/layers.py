"""The layer table of a design, as `search.show design` prints it. Imports no torch."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mnist_arch.design import Design
from mnist_arch.plan import Plan, plan
from mnist_arch.rules import Rejected, Rules, notes
from search.terminal.console import print_table

COLUMNS = ("layer", "then", "output_shape", "parameters", "macs", "receptive_field")


def show_design(design: Design, name: str, rules: Rules, form: str = "") -> bool:
    """Print a design's layer table and what the rules say of it; returns whether they allow it.

    The `form` `csv` is the table alone, `json` everything for a program. Raises `UserError` for a
    design that cannot be walked.
    """
    walked = plan(design)
    if form == "json":
        broken = _broken(walked, rules)
        print(json.dumps(_document(walked, name, broken, notes(walked)), indent=2))
        return not broken
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([COLUMNS, *plan_rows(walked)])
        return True
    console = Console(highlight=False)
    print_table(console, layer_table(walked, f"design {name}"))
    console.print(
        f"Parameters: {walked.parameters:,}. MACs an image: {walked.macs:,}. Receptive field: "
        f"{walked.receptive_field}x{walked.receptive_field} pixels. Fingerprint: "
        f"{design.fingerprint}.",
        soft_wrap=True,
    )
    return _print_verdict(console, walked, rules)


def plan_rows(walked: Plan) -> list[tuple[str, str, str, int, int, int]]:
    """One row a line of a plan, in the order of `COLUMNS`, numbered as torchsummary does.

    An activation has no line: `then` says where one follows.
    """
    return [
        (
            f"{node.module}-{number}",
            node.activation_module,
            "x".join(str(size) for size in node.output_shape),
            node.parameters,
            node.macs,
            node.receptive_field,
        )
        for number, node in enumerate(walked.nodes, 1)
    ]


def layer_table(walked: Plan, title: str) -> Table:
    """A plan's lines as a table for the terminal, with a line of totals."""
    totals = walked.parameters, walked.macs, walked.receptive_field
    return rows_table(plan_rows(walked), totals, title, "then")


def rows_table(
    rows: Sequence[tuple[str, str, str, int, int, int | None]],
    totals: tuple[int, int, int | None],
    title: str,
    second: str,
) -> Table:
    """Rows in the order of `COLUMNS` as a table; `second` heads their second column.

    A receptive field that is None stays blank.
    """
    table = Table(
        title=escape(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_footer=True,
        pad_edge=False,
    )
    table.add_column("layer", "total", no_wrap=True)
    table.add_column(second, no_wrap=True)
    table.add_column("output", justify="right", no_wrap=True)
    headings = ("parameters", "MACs", "receptive\nfield")
    for heading, total in zip(headings, totals, strict=True):
        table.add_column(heading, _number(total), justify="right", no_wrap=True)
    for layer, words, shape, *numbers in rows:
        table.add_row(escape(layer), escape(words), shape, *map(_number, numbers))
    return table


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _document(
    walked: Plan, name: str, broken: Sequence[str], noted: Sequence[str]
) -> dict[str, object]:
    """A design for a program: its layers, its totals, and what the rules say."""
    return {
        "design": name, "fingerprint": walked.design.fingerprint, "parameters": walked.parameters,
        "macs": walked.macs, "receptive_field": walked.receptive_field, "allowed": not broken,
        "broken": list(broken), "notes": list(noted),
        "layers": [dict(zip(COLUMNS, row, strict=True)) for row in plan_rows(walked)],
    }  # fmt: skip


def _broken(walked: Plan, rules: Rules) -> list[str]:
    """Every limit that the rules find broken, in a sentence each."""
    try:
        rules.check(walked.design)
    except Rejected as rejected:
        return [str(rejection) for rejection in rejected.rejections]
    return []


def _print_verdict(console: Console, walked: Plan, rules: Rules) -> bool:
    """Print what the rules say; returns whether they allow the design."""
    broken = _broken(walked, rules)
    for sentence in broken:
        console.print(f"[red]refused[/red]  {escape(sentence)}", soft_wrap=True)
    if broken:
        return False
    console.print("[green]allowed[/green]  by the rules on layers and parameters")
    for note in notes(walked):
        console.print(f"[yellow]note[/yellow]     {note}; refused under --strict", soft_wrap=True)
    return True
