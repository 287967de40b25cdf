"""Finalists: which designs of a study are confirmed, and why a study may have none."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from mnist_arch.errors import UserError
from mnist_arch.recipe import Recipe
from search.config import StudyConfig
from search.final_run import CONFIRMABLE, Finalist
from search.formats import percent
from search.record import TrialRecord, baseline_of, identity
from search.tables import trials

Records = Mapping[int, TrialRecord]
"""A study's finished trials by their numbers."""


def finalist_of(trial: TrialRecord, config: StudyConfig) -> Finalist:
    """The finalist that a trial found: with the study's recipe, or its own where searched."""
    assert trial.design is not None
    recipe = Recipe.from_dict(trial.recipe) if trial.recipe else config.recipe
    return Finalist(trial.number, trial.design, recipe, identity(trial.design, trial.recipe))


def best(
    board: pd.DataFrame, records: Records, config: StudyConfig, rank_by: str, top: int
) -> list[Finalist]:
    """The first `top` designs of a leaderboard, by one of `trials.RANKS`; each once."""
    rows = trials.in_order(board, rank_by, None)
    return _each_once(finalist_of(records[number], config) for number in rows["trial"])[:top]


def _each_once(found: Iterable[Finalist]) -> list[Finalist]:
    """Two drivers may have trained one design: the first of its trials stands for it."""
    by_key: dict[str, Finalist] = {}
    for finalist in found:
        by_key.setdefault(finalist.key, finalist)
    return list(by_key.values())


def obstacle(tables: Mapping[str, pd.DataFrame], config: StudyConfig, folder: Path) -> str:
    """Why a study has no finalists, and what to do; nothing if it has."""
    if config.selected_on_test:
        return (
            "its designs were chosen by the test images (--protocol assignment), which therefore "
            "cannot confirm them; search with --protocol holdout and another --study"
        )
    if len(tables["leaderboard"]):
        return ""
    target = percent(config.rules.target)
    for row in trials.nearest(tables["trials"], top=1).to_dict("records"):
        return (
            f"no design passes {target}; the nearest is trial {row['trial']} with validation "
            f"{percent(row['validation_accuracy'])}, {row['parameters']:,} parameters. To confirm "
            f"it anyway: {shlex.join(['python', '-m', 'search.confirm', str(folder)])} "
            f"--trial {row['trial']}"
        )
    return f"no design passes {target}, and none was trained to its last epoch; search on first"


def of_trials(records: Records, config: StudyConfig, numbers: Sequence[int]) -> list[Finalist]:
    """The designs of these trials, passing or not; raises `UserError` where one cannot be had."""
    found: list[Finalist] = []
    for number in numbers:
        if number not in records:
            known = f"{min(records)} to {max(records)}" if records else "none yet"
            raise UserError(f"--trial {number}: no such trial; finished ones: {known}")
        record = records[number]
        if record.state not in CONFIRMABLE:
            reason = f" ({record.reason})" if record.reason else ""
            other = record.duplicate_of
            remedy = f"give --trial {other}" if other is not None else "give one that was trained"
            raise UserError(f"--trial {number}: its state is {record.state}{reason}; {remedy}")
        found.append(finalist_of(record, config))
    return _each_once(found)


def with_baseline(
    chosen: Sequence[Finalist], records: Records, config: StudyConfig
) -> tuple[list[Finalist], str]:
    """The finalists with the baseline at the end unless it is one, and a sentence about it."""
    record = baseline_of(records.values())
    if record is None:
        return list(chosen), (
            "No baseline beside them: no trial has trained the assignment's own design to its "
            "last epoch under this study's rules."
        )
    baseline = finalist_of(record, config)
    if any(finalist.key == baseline.key for finalist in chosen):
        return list(chosen), f"The baseline, trial {record.number}, is one of them."
    return [*chosen, baseline], f"The baseline, trial {record.number}, beside them."
