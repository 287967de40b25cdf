"""Tables: a study's trials -> pandas frames -> CSV files; only tables and screens use pandas.

Frames are pure functions of the records, in an order that does not depend on who finished
first, so that equal studies give equal files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_arch.references import BASELINE
from mnist_arch.training import EpochRecord
from search.describe import design_cells
from search.files import write_text
from search.record import TRAINED, TrialRecord

TIME_COLUMNS = ("seconds", "seconds_per_epoch", "images_per_second")
"""Columns that differ between two runs of the same study."""

DESIGN_COLUMNS = (
    "fingerprint", "parameters", "macs", "receptive_field", "widths", "dropout", "head",
)  # fmt: skip

TRIAL_COLUMNS = (
    "trial", "state", *DESIGN_COLUMNS, "epochs", "validation_accuracy",
    "best_validation_accuracy", "first_pass_epoch", "train_accuracy", "train_loss",
    "validation_loss", *TIME_COLUMNS, "learning_rate", "weight_decay", "augmentation_degrees",
    "seed", "device", "engine", "worker", "selected_on_test", "reason",
)  # fmt: skip

LEADERBOARD_COLUMNS = (
    "rank", "trial", "validation_accuracy", *DESIGN_COLUMNS, "epochs", "first_pass_epoch",
    "best_validation_accuracy", "train_accuracy", "seconds", "seed", "selected_on_test",
)  # fmt: skip

EPOCH_COLUMNS = (
    "trial", "epoch", "learning_rate", "train_loss", "train_accuracy", "validation_loss",
    "validation_accuracy", "train_seconds", "seconds", "images_per_second",
)  # fmt: skip

REJECTION_COLUMNS = ("trial", "limit", "counted", "allowed", "message")

_TIME_DIGITS = {"train_seconds": 3, "seconds": 3, "images_per_second": 1}

COUNT_COLUMNS = (
    "trial", "parameters", "macs", "receptive_field", "epochs", "first_pass_epoch", "seed",
    "seeds", "failed_seeds", "seed_index", "train_images",
)  # fmt: skip
"""Whole numbers that may be missing."""


def trials_frame(
    records: Sequence[TrialRecord], target: float, selected_on_test: bool
) -> pd.DataFrame:
    """One row a finished trial, in order of trial numbers.

    `target` is the share in [0, 1] that counts as a pass in `first_pass_epoch`.
    """
    rows = [_trial_row(record, target) for record in records if record.state != "running"]
    frame = pd.DataFrame(rows, columns=list(TRIAL_COLUMNS)).sort_values("trial")
    frame["selected_on_test"] = selected_on_test
    return whole_numbers(frame)


def whole_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """The same frame with the columns that count as whole numbers, its rows numbered from 0."""
    columns = [column for column in COUNT_COLUMNS if column in frame]
    return frame.astype(dict.fromkeys(columns, "Int64")).reset_index(drop=True)


def _trial_row(record: TrialRecord, target: float) -> dict[str, object]:
    row: dict[str, object] = {
        "trial": record.number,
        "state": record.state,
        "seed": record.seed,
        "device": record.device,
        "engine": record.engine,
        "worker": record.worker,
        "reason": record.reason,
        **_recipe_cells(record),
    }
    if record.design is not None:
        row |= design_cells(record.design)
    if record.epochs and record.state in TRAINED:
        row |= _epoch_cells(record, target)
    return row


def _recipe_cells(record: TrialRecord) -> dict[str, object]:
    if record.recipe is None:
        return {}
    return {
        "learning_rate": record.recipe["learning_rate"],
        "weight_decay": record.recipe["weight_decay"],
        "augmentation_degrees": record.recipe["augmentation"]["degrees"],
    }


def _epoch_cells(record: TrialRecord, target: float) -> dict[str, object]:
    """What a trial's epochs come to; accuracy is that of the last epoch, never of a chosen one."""
    last = record.epochs[-1]
    seconds = sum(epoch.seconds for epoch in record.epochs)
    train_seconds = sum(epoch.train_seconds for epoch in record.epochs)
    images = sum(epoch.images_per_second * epoch.train_seconds for epoch in record.epochs)
    passes = [e.epoch for e in record.epochs if e.validation_accuracy >= target]
    return {
        "epochs": last.epoch,
        "validation_accuracy": last.validation_accuracy,
        "best_validation_accuracy": max(e.validation_accuracy for e in record.epochs),
        "first_pass_epoch": passes[0] if passes else None,
        "train_accuracy": last.train_accuracy,
        "train_loss": last.train_loss,
        "validation_loss": last.validation_loss,
        "seconds": round(seconds, 2),
        "seconds_per_epoch": round(seconds / len(record.epochs), 3),
        "images_per_second": round(images / train_seconds, 1),
    }


def epochs_frame(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """One row an epoch of each finished trial, in order of trials and epochs."""
    rows = [
        {"trial": record.number, **{name: getattr(epoch, name) for name in EPOCH_COLUMNS[1:]}}
        for record in records
        if record.state in TRAINED
        for epoch in record.epochs
    ]
    frame = pd.DataFrame(rows, columns=list(EPOCH_COLUMNS)).sort_values(["trial", "epoch"])
    return frame.round(_TIME_DIGITS).reset_index(drop=True)


def log_frame(epochs: Sequence[EpochRecord]) -> pd.DataFrame:
    """One row an epoch of a single training."""
    return pd.DataFrame([asdict(epoch) for epoch in epochs]).round(_TIME_DIGITS)


def rejections_frame(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """One row a broken limit of each rejected trial."""
    rows = [
        {"trial": record.number, **{n: getattr(broken, n) for n in REJECTION_COLUMNS[1:]}}
        for record in records
        for broken in record.rejections
    ]
    frame = pd.DataFrame(rows, columns=list(REJECTION_COLUMNS))
    return frame.sort_values(["trial", "limit"]).reset_index(drop=True)


def leaderboard(trials: pd.DataFrame) -> pd.DataFrame:
    """Rank the passing trials by validation accuracy after the last epoch, best first.

    Ties go to fewer parameters, then to the earlier trial, so that the same trials give the
    same file in any input order.
    """
    passing = trials[trials["state"] == "passed"]
    ranked = passing.sort_values(
        ["validation_accuracy", "parameters", "trial"], ascending=[False, True, True]
    )
    return ranked.assign(rank=range(1, len(ranked) + 1))[list(LEADERBOARD_COLUMNS)].reset_index(
        drop=True
    )


SORT_COLUMNS = {
    "accuracy": ["rank"],
    "parameters": ["parameters", "rank"],
    "macs": ["macs", "rank"],
    "epochs": ["first_pass_epoch", "rank"],
    "seconds": ["seconds", "rank"],
    "trial": ["trial"],
}
"""Orders in which a leaderboard can be shown."""


def in_order(ranked: pd.DataFrame, sort: str, top: int | None) -> pd.DataFrame:
    """A leaderboard in one of the orders of `SORT_COLUMNS`; only the first `top` rows if given."""
    rows = ranked.sort_values(SORT_COLUMNS[sort])
    return rows if top is None else rows.head(top)


def nearest(trials: pd.DataFrame, top: int = 3) -> pd.DataFrame:
    """The trials that missed by least, best first."""
    missed = trials[trials["state"] == "missed"]
    return missed.sort_values(
        ["validation_accuracy", "parameters", "trial"], ascending=[False, True, True]
    ).head(top)


def baseline(trials: pd.DataFrame) -> pd.DataFrame:
    """The row that trained the assignment's own design; none if no trial did."""
    trained = trials["state"].isin(TRAINED) & trials["validation_accuracy"].notna()
    return trials[trained & (trials["fingerprint"] == BASELINE.fingerprint)].head(1)


def refusals(rejections: pd.DataFrame) -> pd.DataFrame:
    """One row a limit: how many proposals broke it, and by how much."""
    grouped = rejections.groupby("limit")
    frame = grouped.agg(
        proposals=("trial", "nunique"),
        allowed=("allowed", "first"),
        median=("counted", "median"),
        largest=("counted", "max"),
    )
    return frame.reset_index()


def frames_of(
    records: Sequence[TrialRecord], target: float, selected_on_test: bool
) -> dict[str, pd.DataFrame]:
    """A study's tables by name."""
    trials = trials_frame(records, target, selected_on_test)
    return {
        "trials": trials,
        "epochs": epochs_frame(records),
        "rejections": rejections_frame(records),
        "leaderboard": leaderboard(trials),
    }


def write_tables(folder: Path, frames: Mapping[str, pd.DataFrame]) -> None:
    """Write each table as a CSV file, all or nothing; raises `UserError` where it cannot."""
    for name, frame in frames.items():
        write_text(folder / f"{name}.csv", to_csv(frame))


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows by column name, with None for what is missing."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def to_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV text; nothing is written as an empty field."""
    return str(frame.to_csv(index=False, lineterminator="\n"))


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file back as `write_tables` wrote it."""
    return whole_numbers(pd.read_csv(path))
