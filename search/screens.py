"""Screens: what `search.show` prints of a study."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from search import options as common
from search import tables
from search.confirmation.screens import print_confirmation
from search.confirmation.tables import luck
from search.confirmation.words import confirmed_cell, luck_lines
from search.formats import STANDARD_ERROR, duration, percent
from search.reading import read_study


def show_study(options: argparse.Namespace) -> int:
    """Print a study's leaderboard and refusals; raises `UserError` where there is no study."""
    folder = Path(options.what[0])
    document, frames = read_study(folder)
    ranked = tables.in_order(frames["leaderboard"], options.sort, options.top)
    if options.csv:
        sys.stdout.write(tables.to_csv(ranked))
        return common.EXIT_DONE
    console = Console(highlight=False)
    _print_head(console, folder, document)
    if ranked.empty:
        _print_nearest(console, frames["trials"], document)
    else:
        console.print(_leaderboard_table(ranked, len(frames["leaderboard"])))
    _print_baseline(console, frames["trials"])
    _print_refusals(console, frames["rejections"])
    _print_confirmation(console, folder, frames["trials"], document)
    console.print(
        f"One seed each, after the last epoch; {STANDARD_ERROR}: a list of candidates.\n"
        f"Every trial: {folder / 'trials.csv'}; columns: results/README.md",
        soft_wrap=True,
    )
    return common.EXIT_DONE


def _print_head(console: Console, folder: Path, document: dict[str, Any]) -> None:
    states, settings = document["states"], document["settings"]
    counts = ", ".join(f"{number} {state}" for state, number in states.items() if number)
    console.print(
        f"Study {document['study']!r} in {folder}: {counts or 'no trial yet'}; "
        f"{duration(document['seconds'])} of search, seed {settings['seed']}, "
        f"{settings['epochs']} epochs, protocol {settings['protocol']}.",
        soft_wrap=True,
    )
    if settings["train_images"] is not None:
        console.print(f"Fitted on {settings['train_images']:,} images only: a try-out.")
    if settings["protocol"] == "assignment":
        console.print("Validated on the test images: every figure is selected on the test set.")


def _leaderboard_table(ranked: pd.DataFrame, passed: int) -> Table:
    """The leaderboard for a terminal of 80 columns; `--csv` prints all of it."""
    table = Table(
        title=f"leaderboard: {passed} designs pass", title_justify="left", box=box.SIMPLE_HEAD,
        padding=(0, 1), pad_edge=False,
    )  # fmt: skip
    confirmed = "seeds" in ranked and bool(ranked["seeds"].notna().any())
    last = "test (seeds)" if confirmed else "time"
    for heading in ("rank", "trial", "validation", "parameters", last):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("design", overflow="fold")
    for row in tables.rows_of(ranked):
        head = str(row["head"]).replace("convolution", "conv")
        dropout = str(row["dropout"]).partition(" after ")[0]
        star = "*" if row.get("pareto") else ""
        table.add_row(
            str(row["rank"]),
            str(row["trial"]),
            percent(row["validation_accuracy"]),
            f"{row['parameters']:,}{star}",
            confirmed_cell(row) if confirmed else duration(row["seconds"]),
            f"{row['widths']}\n{head}; dropout {dropout}",
        )
    return table


def _print_nearest(console: Console, trials: pd.DataFrame, document: dict[str, Any]) -> None:
    """Say that nothing passes, and what came nearest."""
    target = document["settings"]["rules.target"]
    console.print(f"No design passes {percent(target)} after its last epoch.")
    for row in tables.nearest(trials).to_dict("records"):
        console.print(
            f"  nearest: trial {row['trial']}, {percent(row['validation_accuracy'])}, "
            f"{row['parameters']:,} parameters, {row['widths']}"
        )


def _print_baseline(console: Console, trials: pd.DataFrame) -> None:
    for row in tables.baseline(trials).to_dict("records"):
        console.print(
            f"Baseline, trial {row['trial']} (the assignment's own design): "
            f"{percent(row['validation_accuracy'])}, {row['parameters']:,} parameters, "
            f"{row['state']}.",
            soft_wrap=True,
        )


def _print_confirmation(
    console: Console, folder: Path, trials: pd.DataFrame, document: dict[str, Any]
) -> None:
    """Print what confirmation came to, if there was one, and how much of the best was luck."""
    path = folder / "finalists.csv"
    if path.is_file():
        target = document["settings"]["rules.target"]
        print_confirmation(console, trials, tables.read_table(path), target)
        return
    for line in luck_lines(luck(trials)):
        console.print(line, soft_wrap=True)
    on_test = document["settings"]["protocol"] == "assignment"
    if (folder / "study.db").is_file() and not on_test and document["states"]["passed"]:
        console.print(f"Not confirmed yet: python -m search.confirm {folder}", soft_wrap=True)


def _print_refusals(console: Console, rejections: pd.DataFrame) -> None:
    """Say how many proposals broke which limit, and by how much at the median."""
    if rejections.empty:
        console.print("No proposal was refused by the rules.")
        return
    table = Table(title="refused proposals", title_justify="left", box=box.SIMPLE)
    table.add_column("limit")
    for heading in ("proposals", "allowed", "counted, median", "largest"):
        table.add_column(heading, justify="right")
    for row in tables.refusals(rejections).to_dict("records"):
        table.add_row(
            str(row["limit"]),
            f"{row['proposals']:,}",
            f"{row['allowed']:,}",
            f"{row['median']:,.0f}",
            f"{row['largest']:,}",
        )
    console.print(table)
