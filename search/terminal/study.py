"""Study: what `search.show` prints of one."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from search.files import DATABASE
from search.formats import between, duration, percent, standard_error
from search.goals import lengths
from search.tables import trials
from search.tables.confirmations import luck
from search.tables.files import StudyTables
from search.terminal.confirmation import luck_lines, print_confirmation
from search.terminal.console import command_line, plain_console, print_table
from search.terminal.verdicts import confirmed_cell


def show_study(study: StudyTables, sort: str, top: int | None) -> None:
    """Print a study's leaderboard, what the rules refused and what was confirmed."""
    console = plain_console()
    _print_head(console, study)
    if study.leaderboard.empty:
        _print_nearest(console, study)
    else:
        ranked = trials.in_order(study.leaderboard, sort, top)
        print_table(console, _leaderboard_table(ranked, len(study.leaderboard)))
    _print_baseline(console, study)
    _print_refusals(console, study.tables["rejections"])
    _print_confirmation(console, study)
    console.print(
        "One seed each, after the last epoch; "
        f"{standard_error(study.config.rules.target)}: a list of candidates.\n"
        f"Every trial: {study.folder / 'trials.csv'}; columns: results/README.md",
        soft_wrap=True,
    )


def _print_head(console: Console, study: StudyTables) -> None:
    config, states = study.config, study.document["states"]
    least, most = lengths(config.goal, config.full_epochs)
    counts = ", ".join(f"{number} {state}" for state, number in states.items() if number)
    console.print(
        f"Study {study.name!r} in {study.folder}: {counts or 'no trial yet'}; "
        f"{duration(study.document['seconds'])} of search, seed {config.seed}, "
        f"{between(least, most, 'epoch')}, protocol {config.protocol}.",
        soft_wrap=True,
    )
    for sentence in config.about_data:
        console.print(sentence)
    if config.train_images is not None:
        console.print(f"Fitted on {config.train_images:,} images only: a try-out.")
    if config.origin:
        console.print(config.origin)
    if config.selected_on_test:
        console.print("Validated on the test images: every figure is selected on the test set.")


def _leaderboard_table(ranked: pd.DataFrame, passed: int) -> Table:
    """The leaderboard for a terminal of 80 columns; `--csv` prints all of it."""
    passes = "1 design passes" if passed == 1 else f"{passed} designs pass"
    table = Table(
        title=f"leaderboard: {passes}", title_justify="left", box=box.SIMPLE_HEAD,
        padding=(0, 1), pad_edge=False,
    )  # fmt: skip
    confirmed = "seeds" in ranked and bool(ranked["seeds"].notna().any())
    last = "test (seeds)" if confirmed else "time"
    for heading in ("rank", "trial", "validation", "parameters", last):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("design", overflow="fold")
    for row in trials.rows_of(ranked):
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


def _print_nearest(console: Console, study: StudyTables) -> None:
    """Say that nothing passes, and what came nearest."""
    console.print(f"No design passes {percent(study.config.rules.target)} after its last epoch.")
    for row in trials.rows_of(trials.nearest(study.trials)):
        console.print(
            f"  nearest: trial {row['trial']}, {percent(row['validation_accuracy'])}, "
            f"{row['parameters']:,} parameters, {row['widths']}"
        )


def _print_baseline(console: Console, study: StudyTables) -> None:
    for row in trials.rows_of(trials.baseline(study.trials)):
        console.print(
            f"Baseline, trial {row['trial']} (the assignment's own design): "
            f"{percent(row['validation_accuracy'])}, {row['parameters']:,} parameters, "
            f"{row['state']}.",
            soft_wrap=True,
        )


def _print_confirmation(console: Console, study: StudyTables) -> None:
    """Print what confirmation came to, if there was one, and how much of the best was luck."""
    if "finalists" in study.tables:
        print_confirmation(console, study)
        return
    for line in luck_lines(luck(study.trials)):
        console.print(line)
    can_be = (study.folder / DATABASE).is_file() and not study.config.selected_on_test
    if can_be and len(study.leaderboard):
        console.print(f"Not confirmed yet: {command_line('confirm', study.folder)}", soft_wrap=True)


def _print_refusals(console: Console, rejections: pd.DataFrame) -> None:
    """Say how many proposals broke which limit, and by how much at the median."""
    if rejections.empty:
        console.print("No proposal was refused by the rules.")
        return
    table = Table(title="refused proposals", title_justify="left", box=box.SIMPLE)
    table.add_column("limit")
    for heading in ("proposals", "allowed", "counted, median", "largest"):
        table.add_column(heading, justify="right")
    for row in trials.rows_of(trials.refusals(rejections)):
        table.add_row(
            str(row["limit"]),
            f"{row['proposals']:,}",
            f"{row['allowed']:,}",
            f"{row['median']:,.0f}",
            f"{row['largest']:,}",
        )
    print_table(console, table)
