"""Confirmation: its opening, its table, how much was luck, its end, a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from mnist_arch.design import Design
from mnist_arch.errors import UserError
from search.config import TRAIN_IMAGES
from search.final_run import Finalist, FinalRun
from search.formats import duration, percent, points
from search.statistics import Comparison, compare
from search.tables import trials
from search.tables.confirmations import Luck, luck
from search.tables.describe import describe_widths
from search.tables.files import StudyTables
from search.terminal.console import command_line

LUCK_SOURCE = "optimizer's curse, Smith and Winkler 2006"


def finalists_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One line a design with final runs, the baseline marked, for a terminal of 80 columns."""
    table = Table(
        title="confirmation: fresh seeds, judged once on the 10,000 test images",
        title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False,
    )  # fmt: skip
    for heading in ("trial", "parameters", "mean ± sd, %", "least", "passed", "bound"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Mapping[str, Any]) -> list[str]:
    spread = "" if row["test_deviation"] is None else f" ± {row['test_deviation'] * 100:.3f}"
    star = "*" if row["pareto"] else ""
    passed = round(row["pass_share"] * row["seeds"])
    bounds = (row["lower_bound"], row["lower_bound_seeds"])
    return [
        f"{row['trial']}{' (baseline)' if row['baseline'] else ''}",
        f"{row['parameters']:,}{star}",
        _hundredths(row["test_accuracy"], 3) + spread,
        _hundredths(row["test_minimum"], 2),
        f"{passed}/{row['seeds']}",
        _hundredths(min(bounds) if None not in bounds else None, 3),
        verdict_of(row),
    ]


def _hundredths(share: float | None, digits: int) -> str:
    return "-" if share is None else f"{share * 100:.{digits}f}"


def verdict_of(row: Mapping[str, Any]) -> str:
    """A design's verdict in a word or two."""
    if row["failed_seeds"]:
        return f"{row['failed_seeds']} failed"
    if row["proven"]:
        return "proven"
    return "confirmed" if row["confirmed"] else "not confirmed"


def confirmed_cell(row: Mapping[str, Any]) -> str:
    """A leaderboard's cell: mean test accuracy, seeds and verdict; empty without final runs."""
    if row["seeds"] is None:
        return ""
    return f"{_hundredths(row['test_accuracy'], 2)} ({row['seeds']})\n{verdict_of(row)}"


def explanation(target: float) -> str:
    """What the table's words mean."""
    return (
        f"passed: seeds at {percent(target)} or more. confirmed: the mean reaches it. proven: its "
        "one-sided 95 % lower bound does, which counts the luck of the seeds and of the test "
        "images. failed: runs without an accuracy; they leave a design unconfirmed. * "
        "Pareto-optimal among the designs that pass: validation accuracy, parameters, MACs.\n"
        "Test images were used for nothing else: no design, epoch or seed was chosen by them."
    )


def luck_lines(found: Luck) -> list[str]:
    """How much of the best validation accuracy was luck: expected, and measured where it was."""
    if found.optimism is None:
        return []
    lines = [
        f"Luck: the best of {found.designs} designs trained to their last epoch is expected to "
        f"look better than it is by about {points(found.optimism)} points (selection bias: "
        f"{LUCK_SOURCE})."
    ]
    drops = []
    if found.best_drop is not None:
        drops.append(f"the best one by {points(found.best_drop)} points")
    if found.mean_drop is not None and (found.finalists > 1 or found.best_drop is None):
        drops.append(f"{_designs(found.finalists)} by {points(found.mean_drop)} points on average")
    if drops:
        lines.append(
            f"Measured drop from validation to confirmation: {', '.join(drops)} (less than zero "
            "is a gain: final runs train on the validation images, too, and are judged on others)."
        )
    return lines


def _designs(count: int) -> str:
    return "the one design of the search" if count == 1 else f"the {count} designs of the search"


def run_line(run: FinalRun, design: Design) -> str:
    """How one final run ended."""
    head = f"trial {run.trial:<4} seed {run.index:<3}"
    if run.test_accuracy is None or run.seconds is None:
        return f"{head} failed: {run.reason}; it counts as not passed"
    return (
        f"{head} test {percent(run.test_accuracy):>8}  {duration(run.seconds):>7}  "
        f"{describe_widths(design)}"
    )


def comparison_text(first: int, second: int, found: Comparison) -> str:
    """What a paired comparison of two trials says."""
    if found.difference is None:
        return (
            f"Trials {first} and {second} have no seed in common: nothing to compare. Confirm both "
            "with the same --seeds."
        )
    text = (
        f"Trial {first} less trial {second}, over {found.seeds} common seeds: "
        f"{found.difference * 100:+.3f} points of test accuracy"
    )
    if found.low is None or found.high is None or found.p_value is None:
        why = (
            "one seed has no spread to judge by"
            if found.seeds == 1
            else "the differences are all equal, which leaves no spread to judge by"
        )
        return f"{text}; {why}: no interval."
    apart = "tell them apart" if found.p_value < 0.05 else "cannot tell them apart"
    return (
        f"{text}, 95 % interval {found.low * 100:+.3f} to {found.high * 100:+.3f}, p = "
        f"{found.p_value:.2g} (paired t test): these seeds {apart}, on these test images."
    )


def opening(
    study: StudyTables, chosen: Sequence[Finalist], seeds: int, missing: int, notes: Sequence[str]
) -> str:
    """What is going to be trained: `missing` runs."""
    numbers = ", ".join(str(finalist.trial) for finalist in chosen)
    config = study.config
    lines = [
        f"\nConfirmation of study {study.name!r}: trials {numbers}; {seeds} fresh seeds each, "
        f"{config.full_epochs} epochs on {config.train_images or TRAIN_IMAGES:,} training images; "
        f"{missing} runs to do."
    ]
    if config.is_shortened:
        lines.append("Note: shortened as the study is: a try-out, not a result.")
    return "\n".join([*lines, " ".join(notes)])


def confirmed_first(
    study: StudyTables, chosen: Sequence[Finalist], runs: Sequence[FinalRun]
) -> int | None:
    """The first of the chosen designs, in their order, that is confirmed: its trial in the table.

    Not the one with the best mean: that would be a choice by the test images. `runs` are the
    study's, among them those of another trial that found the same design.
    """
    found = study.tables.get("finalists")
    confirmed = set() if found is None else set(found[found["confirmed"]]["trial"])
    trial_of: dict[str, int] = {}
    for run in runs:
        trial_of[run.finalist] = min(run.trial, trial_of.get(run.finalist, run.trial))
    numbers = (trial_of.get(finalist.key) for finalist in chosen)
    return next((number for number in numbers if number in confirmed), None)


def print_end(console: Console, study: StudyTables, first_confirmed: int | None) -> None:
    """Print the verdicts, how much was luck, the files and what next."""
    print_confirmation(console, study)
    if study.config.is_shortened:
        console.print("Shortened trainings: a try-out, not a result.")
    following = command_line("show", study.folder)
    if first_confirmed is None:
        console.print("No finalist is confirmed.")
    else:
        following = command_line("export", study.folder, "--trial", first_confirmed)
    console.print(
        f"Files: {study.folder}: finalists.csv, confirmations.csv, leaderboard.csv, weights\n"
        f"Next:  {following}",
        soft_wrap=True,
    )


def print_confirmation(console: Console, study: StudyTables) -> None:
    """Print the verdicts on a study's finalists, what they mean, and how much was luck."""
    finalists = study.tables["finalists"]
    console.print(finalists_table(trials.rows_of(finalists)))
    lines = [
        explanation(study.config.rules.target),
        *luck_lines(luck(study.trials, finalists)),
    ]
    for line in lines:
        console.print(line)


def comparison(study: StudyTables, first: int, second: int) -> str:
    """What two confirmed trials' designs come to, paired over their common seeds.

    Raises `UserError` where one of them has no final run.
    """
    if "confirmations" not in study.tables:
        raise UserError(
            f"{study.folder} has no confirmations.csv: confirm first: "
            f"python -m search.confirm {study.folder}"
        )
    accuracies = [_by_seed(study, trial) for trial in (first, second)]
    common = sorted(accuracies[0].keys() & accuracies[1].keys())
    found = compare(*([values[seed] for seed in common] for values in accuracies))
    return comparison_text(first, second, found)


def _by_seed(study: StudyTables, trial: int) -> dict[int, float]:
    """A trial's test accuracies by seed index."""
    runs: pd.DataFrame = study.tables["confirmations"]
    mine = runs[runs["trial"] == trial]
    if mine.empty:
        known = ", ".join(str(number) for number in sorted(set(runs["trial"])))
        raise UserError(
            f"--compare {trial}: it has no final run; trials that have: {known}. To confirm it: "
            f"python -m search.confirm {study.folder} --trial {trial}"
        )
    done = mine[mine["test_accuracy"].notna()]
    return dict(
        zip(done["seed_index"].astype(int), done["test_accuracy"].astype(float), strict=True)
    )
