"""Finalists: which designs of a study are confirmed, and why a study may have none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_arch.errors import UserError
from search import tables
from search.confirmation.runs import CONFIRMABLE, Finalist, finalist_of
from search.formats import percent
from search.record import TrialRecord, baseline_of
from search.settings import Settings


def best(
    records: Sequence[TrialRecord], settings: Settings, rank_by: str, top: int
) -> list[Finalist]:
    """The first `top` designs that pass, by a rule of `options.RANKS`; ties as on leaderboards."""
    trials = tables.trials_frame(records, settings.rules.target, settings.selected_on_test)
    board = tables.in_order(tables.leaderboard(trials), rank_by, top)
    by_number = {record.number: record for record in records}
    return [finalist_of(by_number[number], settings) for number in board["trial"]]


def obstacle(records: Sequence[TrialRecord], settings: Settings, folder: Path) -> str:
    """Why a study has no finalists, and what to do; nothing if it has."""
    if settings.selected_on_test:
        return (
            "its designs were chosen by the test images (--protocol assignment), which therefore "
            "cannot confirm them; search with --protocol holdout and another --study"
        )
    if any(record.state == "passed" for record in records):
        return ""
    target = percent(settings.rules.target)
    trials = tables.trials_frame(records, settings.rules.target, selected_on_test=False)
    for row in tables.nearest(trials, top=1).to_dict("records"):
        return (
            f"no design passes {target}; the nearest is trial {row['trial']} with validation "
            f"{percent(row['validation_accuracy'])}, {row['parameters']:,} parameters. To confirm "
            f"it anyway: python -m search.confirm {folder} --trial {row['trial']}"
        )
    return f"no design passes {target}, and none was trained to its last epoch; search on first"


def of_trials(
    records: Sequence[TrialRecord], settings: Settings, numbers: Sequence[int]
) -> list[Finalist]:
    """The designs of these trials, passing or not; raises `UserError` where one cannot be had."""
    by_number = {record.number: record for record in records}
    found = []
    for number in dict.fromkeys(numbers):
        if number not in by_number:
            known = f"{min(by_number)} to {max(by_number)}" if by_number else "none yet"
            raise UserError(f"--trial {number}: no such trial; finished ones: {known}")
        record = by_number[number]
        if record.state not in CONFIRMABLE:
            reason = f" ({record.reason})" if record.reason else ""
            other = record.repeat_of
            remedy = f"give --trial {other}" if other is not None else "give one that was trained"
            raise UserError(f"--trial {number}: its state is {record.state}{reason}; {remedy}")
        found.append(finalist_of(record, settings))
    return found


def with_baseline(
    chosen: Sequence[Finalist], records: Sequence[TrialRecord], settings: Settings
) -> tuple[list[Finalist], str]:
    """The finalists with the baseline at the end unless it is one, and a sentence about it."""
    record = baseline_of(records)
    if record is None:
        return list(chosen), (
            "No baseline beside them: no trial has trained the assignment's own design to its "
            "last epoch under this study's rules."
        )
    if any(finalist.trial == record.number for finalist in chosen):
        return list(chosen), f"The baseline, trial {record.number}, is one of them."
    return (
        [*chosen, finalist_of(record, settings)],
        f"The baseline, trial {record.number}, beside them.",
    )
