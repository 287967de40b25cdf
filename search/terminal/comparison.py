"""Comparison: two confirmed designs, paired over their seeds and the images that judged them."""

from __future__ import annotations

import pandas as pd

from mnist_arch.datasets import TRAIN_IMAGES
from mnist_arch.errors import UserError
from mnist_arch.recipe import Judge
from search.statistics.confidence import Comparison, compare, compare_answers, compare_folds
from search.tables.files import StudyTables


def comparison(study: StudyTables, first: int, second: int, judge: Judge = "test") -> str:
    """What two confirmed trials' designs come to, paired over their common seeds and images.

    Without the answers of both (studies of earlier versions) over seeds only. Raises `UserError`
    where one of them has no final run.
    """
    if "confirmations" not in study.tables:
        raise UserError(
            f"{study.folder} has no confirmations.csv: confirm first: "
            f"python -m search.confirm {study.folder}"
        )
    runs = [_runs_of(study, trial, judge) for trial in (first, second)]
    seeds = sorted(set(runs[0].index) & set(runs[1].index))
    common = [mine.loc[seeds] for mine in runs]
    return comparison_text(first, second, _compared(study, (first, second), common, judge), judge)


def _runs_of(study: StudyTables, trial: int, judge: Judge) -> pd.DataFrame:
    """A trial's final runs that were judged so and have an accuracy, by seed index."""
    runs = study.tables["confirmations"]
    runs = runs[runs["judge"] == judge]
    mine = runs[runs["trial"] == trial]
    if mine.empty:
        known = ", ".join(str(number) for number in sorted(set(runs["trial"]))) or "none"
        more = " --judge folds" * (judge == "folds")
        raise UserError(
            f"--compare {trial}: it has no final run; trials that have: {known}. To confirm it: "
            f"python -m search.confirm {study.folder} --trial {trial}{more}"
        )
    return mine[mine["test_accuracy"].notna()].set_index("seed_index")


def _compared(
    study: StudyTables, trials: tuple[int, int], runs: list[pd.DataFrame], judge: Judge
) -> Comparison:
    """Compare the common runs of two trials, image by image where both kept their answers."""
    kept = all("misread" in mine and bool(mine["misread"].notna().all()) for mine in runs)
    if not kept or "errors" not in study.tables or runs[0].empty:
        return compare(*(mine["test_accuracy"].astype(float).tolist() for mine in runs))
    errors = study.tables["errors"]
    errors = errors[errors["judge"] == judge]
    places = [
        [
            _places(errors[(errors["trial"] == trial) & (errors["seed_index"] == seed)])
            for seed in mine.index
        ]
        for trial, mine in zip(trials, runs, strict=True)
    ]
    images = int(runs[0]["judged_images"].min())
    return (compare_folds if judge == "folds" else compare_answers)(places[0], places[1], images)


def _places(errors: pd.DataFrame) -> set[int]:
    """The misread images of one run, each by one number."""
    return set(errors["image"].astype(int) + TRAIN_IMAGES * (errors["part"] == "test"))


def comparison_text(first: int, second: int, found: Comparison, judge: Judge = "test") -> str:
    """What a paired comparison of two trials says."""
    if found.difference is None:
        return (
            f"Trials {first} and {second} have no seed in common: nothing to compare. Confirm both "
            "with the same --seeds."
        )
    what = "parts of the images" if judge == "folds" else "common seeds"
    text = (
        f"Trial {first} less trial {second}, over {found.seeds} {what}: "
        f"{found.difference * 100:+.3f} points of {'' if judge == 'folds' else 'test '}accuracy"
    )
    if found.low is None or found.high is None or found.p_value is None:
        why = (
            "one seed has no spread to judge by"
            if found.seeds == 1
            else "the differences are all equal, which leaves no spread to judge by"
        )
        return f"{text}; {why}: no interval."
    how, who, where = (
        ("paired over seeds and images", "these runs", "for any images like these")
        if found.any_images
        else ("paired t test", "these seeds", "on these test images")
    )
    apart = "tell them apart" if found.p_value < 0.05 else "cannot tell them apart"
    return (
        f"{text}, 95 % interval {found.low * 100:+.3f} to {found.high * 100:+.3f}, p = "
        f"{found.p_value:.2g} ({how}): {who} {apart}, {where}."
    )
