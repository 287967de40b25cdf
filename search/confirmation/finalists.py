"""Finalists: which designs of a study are confirmed, and why a study may have none."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from mnist_arch.errors import UserError
from mnist_arch.recipe import Recipe
from search.config import StudyConfig
from search.confirmation.racing import MOST_TRIES, Race
from search.final_run import CONFIRMABLE, Finalist
from search.formats import percent
from search.record import TO_THE_END, TrialRecord, baseline_of, identity
from search.run_config import ConfirmConfig
from search.tables import trials
from search.tables.answers import ANSWERS, candidates

Records = Mapping[int, TrialRecord]
"""A study's finished trials by their numbers."""


def finalist_of(trial: TrialRecord, config: StudyConfig) -> Finalist:
    """The finalist that a trial found: with the study's recipe, or its own where searched.

    It is trained as long as its trial proposed, or was trained to its last epoch.
    """
    assert trial.design is not None
    recipe = Recipe.from_dict(trial.recipe) if trial.recipe else config.recipe
    last = trial.epochs[-1].epoch if trial.state in TO_THE_END else config.full_epochs
    epochs = trial.full_epochs or last
    own = identity(trial.design, trial.recipe)
    return Finalist(trial.number, trial.design, recipe, own, epochs, config.full_epochs)


def best(
    board: pd.DataFrame, records: Records, config: StudyConfig, rank_by: str, top: int
) -> list[Finalist]:
    """The first `top` designs of a leaderboard, by one of `trials.RANKS`; each once."""
    rows = trials.in_order(board, rank_by, None)
    return _each_once(finalist_of(records[number], config) for number in rows["trial"])[:top]


def by_answer(
    tables: Mapping[str, pd.DataFrame], records: Records, config: StudyConfig, top: int
) -> tuple[dict[str, list[Finalist]], list[Finalist]]:
    """The candidates of the first `top` answers, and further designs if `top` is more than three.

    Three are the three answers, however many designs those are; more are filled up to so many
    designs by the leaderboard's order. Narrow misses are tried, too, see `answers.candidates`.
    """
    board = tables["leaderboard"]
    near = trials.near_misses(tables["trials"], config.rules.target)
    ordered = {
        answer: _each_once(finalist_of(records[number], config) for number in numbers)[:MOST_TRIES]
        for answer, numbers in list(candidates(board, near, MOST_TRIES).items())[:top]
        if numbers
    }
    met = {candidates[0].key for candidates in ordered.values()}
    ranked = _each_once(finalist_of(records[number], config) for number in board["trial"])
    further = [finalist for finalist in ranked if finalist.key not in met]
    return ordered, further[: max(0, top - len(met))] if top > len(ANSWERS) else []


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
    near = trials.near_misses(tables["trials"], config.rules.target)
    if len(tables["leaderboard"]) or len(near):
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


def race(
    tables: Mapping[str, pd.DataFrame],
    records: Records,
    config: StudyConfig,
    choices: ConfirmConfig,
) -> tuple[Race, str]:
    """What a confirmation is to run, the baseline among it, and a sentence about the baseline.

    `tables` are the study's. Raises `UserError` for trials that cannot be confirmed.
    """
    answers: dict[str, list[Finalist]] = {}
    if choices.trials is not None:
        others = of_trials(records, config, choices.trials)
    elif choices.rank_by is not None:
        board = tables["leaderboard"]
        others = best(board, records, config, choices.rank_by, choices.top)
    else:
        answers, others = by_answer(tables, records, config, choices.top)
    chosen = [*(candidates[0] for candidates in answers.values()), *others]
    beside, about_baseline = baseline_beside(chosen, records, config)
    target = config.rules.target
    return Race(answers, others, beside, choices.runs, target, choices.judge), about_baseline


def baseline_beside(
    chosen: Sequence[Finalist], records: Records, config: StudyConfig
) -> tuple[list[Finalist], str]:
    """The baseline to run beside the chosen, none if it is one of them, and a sentence about it."""
    record = baseline_of(records.values())
    if record is None:
        return [], (
            "No baseline beside them: no trial has trained the assignment's own design to its "
            "last epoch under this study's rules."
        )
    baseline = finalist_of(record, config)
    if any(finalist.key == baseline.key for finalist in chosen):
        return [], f"The baseline, trial {record.number}, is one of them."
    return [baseline], f"The baseline, trial {record.number}, beside them."
