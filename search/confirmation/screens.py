"""Screens of a confirmation: its opening, its end, a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from mnist_arch.errors import UserError
from search import tables
from search.confirmation import words
from search.confirmation.runs import Finalist
from search.confirmation.statistics import compare
from search.confirmation.tables import luck
from search.options import EXIT_DONE
from search.settings import Settings


def print_opening(
    console: Console,
    name: str,
    settings: Settings,
    chosen: Sequence[Finalist],
    seeds: int,
    missing: int,
) -> None:
    """Say what is going to be trained."""
    trials = ", ".join(str(finalist.trial) for finalist in chosen)
    images = f"{settings.train_images or 60_000:,}"
    console.print(
        f"\nConfirmation of study {name!r}: trials {trials}; {seeds} fresh seeds each, "
        f"{settings.epochs} epochs on {images} training images; {missing} runs to do.",
        soft_wrap=True,
    )
    if settings.is_trial_run:
        console.print("Note: shortened as the study is: a try-out, not a result.")


def print_end(
    console: Console,
    frames: Mapping[str, pd.DataFrame],
    folder: Path,
    settings: Settings,
    chosen: set[int],
) -> bool:
    """Print the verdicts, how much was luck, the files and what next.

    Returns whether one of the `chosen` trials is confirmed.
    """
    if "finalists" not in frames:
        return False
    finalists = frames["finalists"]
    confirmed = bool(finalists[finalists["trial"].isin(chosen)]["confirmed"].any())
    print_confirmation(console, frames["trials"], finalists, settings.rules.target)
    if settings.is_trial_run:
        console.print("Shortened trainings: a try-out, not a result.")
    if not confirmed:
        console.print("No finalist is confirmed.")
    following = f"export {folder} --rank 1" if confirmed else f"show {folder}"
    console.print(
        f"Files: {folder}: finalists.csv, confirmations.csv, leaderboard.csv, weights\n"
        f"Next:  python -m search.{following}",
        soft_wrap=True,
    )
    return confirmed


def print_confirmation(
    console: Console, trials: pd.DataFrame, finalists: pd.DataFrame, target: float
) -> None:
    """Print the verdicts on a study's finalists, what they mean, and how much was luck."""
    console.print(words.finalists_table(tables.rows_of(finalists)))
    for line in [words.explanation(target), *words.luck_lines(luck(trials, finalists))]:
        console.print(line, soft_wrap=True)


def show_comparison(folder: Path, first: int, second: int) -> int:
    """Compare two confirmed trials over their common seeds; returns the exit status.

    Raises `UserError` where one of them has no final run.
    """
    path = folder / "confirmations.csv"
    if not path.is_file():
        raise UserError(
            f"{folder} has no confirmations.csv: confirm first: python -m search.confirm {folder}"
        )
    runs = tables.read_table(path)
    accuracies = [_by_seed(runs, folder, trial) for trial in (first, second)]
    common = sorted(accuracies[0].keys() & accuracies[1].keys())
    found = compare(*([values[seed] for seed in common] for values in accuracies))
    Console(highlight=False).print(words.comparison_text(first, second, found), soft_wrap=True)
    return EXIT_DONE


def _by_seed(runs: pd.DataFrame, folder: Path, trial: int) -> dict[int, float]:
    """A trial's test accuracies by seed index."""
    mine = runs[runs["trial"] == trial]
    if mine.empty:
        known = ", ".join(str(number) for number in sorted(set(runs["trial"])))
        raise UserError(
            f"--compare {trial}: it has no final run; trials that have: {known}. To confirm it: "
            f"python -m search.confirm {folder} --trial {trial}"
        )
    done = mine[mine["test_accuracy"].notna()]
    return dict(
        zip(done["seed_index"].astype(int), done["test_accuracy"].astype(float), strict=True)
    )
