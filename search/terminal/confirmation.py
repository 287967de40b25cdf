"""Confirmation: its opening, its runs, how much was luck, its end."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from mnist_arch.datasets import TRAIN_IMAGES
from mnist_arch.design import Design
from mnist_arch.recipe import Judge
from search.confirmation.racing import MOST_TRIES, Race
from search.final_run import Finalist, FinalRun
from search.formats import between, duration, percent, points
from search.tables import trials
from search.tables.confirmations import Luck, luck
from search.tables.describe import describe_widths
from search.tables.files import StudyTables
from search.terminal.console import command_line, print_table
from search.terminal.verdicts import answer_lines, doubt_lines, explanation, finalists_table

LUCK_SOURCE = "optimizer's curse, Smith and Winkler 2006"


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
    what = "part" if run.judge == "folds" else "seed"
    head = f"trial {run.trial:<4} {what} {run.index:<3}"
    if run.test_accuracy is None or run.seconds is None:
        return f"{head} failed: {run.reason}; it counts as not passed"
    images = "unseen" if run.judge == "folds" else "test"
    return (
        f"{head} {images} {percent(run.test_accuracy):>8}  {duration(run.seconds):>7}  "
        f"{describe_widths(design)}"
    )


def opening(study: StudyTables, race: Race, missing: int, notes: Sequence[str]) -> str:
    """What is going to be trained: at first `missing` runs."""
    config = study.config
    epochs = sorted({finalist.epochs for finalist in race.current(())})
    length = between(epochs[0], epochs[-1], "epoch")
    how = (
        f"{race.seeds} parts of all images, each judged by its own training"
        if race.judge == "folds"
        else f"{race.seeds} fresh seeds each"
    )
    lines = [
        f"\nConfirmation of study {study.name!r}: {_chosen(race)}; {how}, {length} "
        f"on {config.train_images or TRAIN_IMAGES:,} images; {missing} runs to do."
    ]
    lines += config.about_data
    if race.answers:
        lines.append(
            "Where one is not confirmed the next of its kind is tried, "
            f"{MOST_TRIES} at most for each."
        )
        first = {candidates[0].trial for candidates in race.answers.values()}
        missed = study.trials[study.trials["trial"].isin(first)]["state"].eq("missed").sum()
        if missed:
            lines.append(
                f"{missed} of them missed the target in validation by less than its standard "
                "error: the better answer, if fresh seeds and the test images confirm it."
            )
    if config.is_shortened:
        lines.append("Note: shortened as the study is: a try-out, not a result.")
    return "\n".join([*lines, " ".join(notes)])


def _chosen(race: Race) -> str:
    """The designs that are to be confirmed, by their trials."""
    words = [f"{name} trial {candidates[0].trial}" for name, candidates in race.answers.items()]
    if race.others:
        words.append(f"trials {', '.join(str(finalist.trial) for finalist in race.others)}")
    return ", ".join(words)


def confirmed_first(
    study: StudyTables, chosen: Sequence[Finalist], runs: Sequence[FinalRun], judge: Judge = "test"
) -> int | None:
    """The first of the chosen designs, in their order, that is confirmed: its trial in the table.

    Not the one with the best mean: that would be a choice by the judging images. `runs` are the
    study's, among them those of another trial that found the same design.
    """
    found = study.tables.get("finalists")
    if found is None:
        return None
    confirmed = set(found[found["confirmed"] & (found["judge"] == judge)]["trial"])
    trial_of: dict[str, int] = {}
    for run in runs:
        trial_of[run.finalist] = min(run.trial, trial_of.get(run.finalist, run.trial))
    numbers = (trial_of.get(finalist.key) for finalist in chosen)
    return next((number for number in numbers if number in confirmed), None)


def print_end(
    console: Console, study: StudyTables, first_confirmed: int | None, judge: Judge = "test"
) -> None:
    """Print the verdicts, how much was luck, the three answers, the files and what next."""
    print_confirmation(console, study)
    for line in answer_lines(study.tables["finalists"], judge):
        console.print(line, soft_wrap=True)
    if study.config.is_shortened:
        console.print("Shortened trainings: a try-out, not a result.")
    following = command_line("show", study.folder)
    if first_confirmed is None:
        console.print("No finalist is confirmed.")
    else:
        following = command_line("export", study.folder, "--trial", first_confirmed)
    console.print(
        f"Files: {study.folder}: finalists.csv, confirmations.csv, errors.csv, leaderboard.csv, "
        f"weights\nNext:  {following}",
        soft_wrap=True,
    )


def print_confirmation(console: Console, study: StudyTables) -> None:
    """Print the verdicts on a study's finalists, what they mean, and how much was luck."""
    finalists = study.tables["finalists"]
    for judge in ("test", "folds"):
        rows = trials.rows_of(finalists[finalists["judge"] == judge])
        if rows:
            print_table(console, finalists_table(rows, judge))
            config = study.config
            told = explanation(config.rules.target, rows, judge, config.data.title)
            for line in [*doubt_lines(rows), told]:
                console.print(line)
    for line in luck_lines(luck(study.trials, finalists)):
        console.print(line)
