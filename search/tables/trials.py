"""Trials: records of trials -> rows -> pandas frames. Pure functions.

Frames come in an order that does not depend on who finished first, so that equal studies give
equal files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from mnist_arch.datasets import VALIDATION_IMAGES
from mnist_arch.epochs import EpochRecord
from mnist_arch.references import BASELINE
from search.goals import Goal
from search.record import TRAINED, TrialRecord
from search.tables.describe import design_cells

Row = dict[str, Any]

TIME_COLUMNS = ("started", "ended", "seconds", "seconds_per_epoch", "images_per_second")
"""Columns that differ between two runs of the same study."""

DESIGN_COLUMNS = (
    "fingerprint", "parameters", "macs", "receptive_field", "widths", "dropout", "head",
)  # fmt: skip

TRIAL_COLUMNS = (
    "trial", "state", *DESIGN_COLUMNS, "epochs", "validation_accuracy",
    "best_validation_accuracy", "first_pass_epoch", "train_accuracy", "train_loss",
    "validation_loss", *TIME_COLUMNS, "learning_rate", "weight_decay", "augmentation_degrees",
    "seed", "device", "engine", "worker", "selected_on_test", "reason", "design", "proposal",
    "study",
)  # fmt: skip

LEADERBOARD_COLUMNS = (
    "rank", "trial", "validation_accuracy", *DESIGN_COLUMNS, "epochs", "first_pass_epoch",
    "best_validation_accuracy", "train_accuracy", "seconds", "seed", "selected_on_test", "study",
)  # fmt: skip

EPOCH_COLUMNS = (
    "trial", "look", "epoch", "learning_rate", "train_loss", "train_accuracy", "validation_loss",
    "validation_accuracy", "train_seconds", "seconds", "images_per_second", "study",
)  # fmt: skip

REJECTION_COLUMNS = ("trial", "limit", "counted", "allowed", "message", "study")

LOOKED_AT = (*TRAINED, "screened")
"""States of trials of which something was measured."""

_TIME_DIGITS = {"train_seconds": 3, "seconds": 3, "images_per_second": 1}

COUNT_COLUMNS = (
    "trial", "from_trial", "parameters", "macs", "receptive_field", "epochs", "first_pass_epoch",
    "seed", "seeds", "failed_seeds", "seed_index", "train_images", "judged_images", "misread",
    "image", "truth", "answer",
)  # fmt: skip
"""Whole numbers that may be missing."""

RANKS = ("accuracy", "parameters", "macs", "epochs", "seconds")
"""Orders by which finalists can be chosen among the designs that pass."""

_SORT_COLUMNS = {"accuracy": "rank"}


def look_columns(lengths: Sequence[float]) -> list[str]:
    """The columns that a study with looks of these lengths adds to `trials.csv`."""
    if not lengths:
        return []
    figures = [f"look_{length:g}_{name}" for length in lengths for name in ("loss", "accuracy")]
    return [*figures, "predicted_loss"]


def trial_columns(looks: Sequence[float] = (), is_warm: bool = False) -> list[str]:
    """The columns of `trials.csv`, see `trials_frame`."""
    more = [*look_columns(looks), *["from_trial"] * is_warm]
    return [*TRIAL_COLUMNS[:-1], *more, TRIAL_COLUMNS[-1]]


def trial_row(record: TrialRecord, target: float) -> Row:
    """A trial's row of `trials.csv`; `target` is the share in [0, 1] that counts as a pass."""
    row: Row = {
        "trial": record.number,
        "state": record.state,
        "from_trial": record.from_trial,
        "seed": record.seed,
        "device": record.device,
        "engine": record.engine,
        "worker": record.worker,
        "reason": record.reason,
        "started": record.started or None,
        "ended": record.ended or None,
        **_recipe_cells(record),
    }
    if record.design is not None:
        row |= design_cells(record.design)
        row["design"] = json.dumps(record.design.to_dict(), separators=(",", ":"))
    if record.proposal and record.state in TRAINED:
        row["proposal"] = json.dumps(dict(record.proposal), separators=(",", ":"))
    if record.last_epochs and record.state in LOOKED_AT:
        row |= _epoch_cells(record, target)
    for each in record.looks:
        name, look = f"look_{each.length:g}", each.look
        row |= {f"{name}_loss": look.loss, f"{name}_accuracy": look.accuracy}
    if record.predicted_loss is not None:
        row["predicted_loss"] = round(record.predicted_loss, 6)
    return row


def _recipe_cells(record: TrialRecord) -> Row:
    if record.recipe is None:
        return {}
    return {
        "learning_rate": record.recipe["learning_rate"],
        "weight_decay": record.recipe["weight_decay"],
        "augmentation_degrees": record.recipe["augmentation"]["degrees"],
    }


def _epoch_cells(record: TrialRecord, target: float) -> Row:
    """What a trial's last training came to; accuracy is after the last epoch, never a chosen one.

    `seconds` are those of all its trainings.
    """
    epochs = record.last_epochs
    last = epochs[-1]
    seconds = sum(epoch.seconds for epoch in epochs)
    train_seconds = sum(epoch.train_seconds for epoch in epochs)
    images = sum(epoch.images_per_second * epoch.train_seconds for epoch in epochs)
    passes = [e.epoch for e in record.epochs if e.validation_accuracy >= target]
    return {
        "epochs": last.epoch,
        "validation_accuracy": last.validation_accuracy,
        "best_validation_accuracy": max(e.validation_accuracy for e in epochs),
        "first_pass_epoch": passes[0] if passes else None,
        "train_accuracy": last.train_accuracy,
        "train_loss": last.train_loss,
        "validation_loss": last.validation_loss,
        "seconds": round(record.seconds, 2),
        "seconds_per_epoch": round(seconds / len(epochs), 3),
        "images_per_second": round(images / train_seconds, 1),
    }


def epoch_rows(record: TrialRecord) -> list[Row]:
    """A trial's rows of `epochs.csv`, shorter trainings first."""
    if record.state not in LOOKED_AT:
        return []
    trainings = [(each.length, each.epochs) for each in record.looks]
    trainings += [(float(len(record.epochs)), record.epochs)] if record.epochs else []
    return [
        {"trial": record.number, "look": look, **asdict(epoch)} | _short_times(epoch)
        for look, epochs in sorted(trainings, key=lambda training: training[0])
        for epoch in epochs
    ]


def _short_times(epoch: EpochRecord) -> Row:
    return {name: round(getattr(epoch, name), digits) for name, digits in _TIME_DIGITS.items()}


def rejection_rows(record: TrialRecord) -> list[Row]:
    """A trial's rows of `rejections.csv`, one a broken limit, by its name."""
    broken = sorted(record.rejections, key=lambda rejection: rejection.limit)
    return [{"trial": record.number, **asdict(each)} for each in broken]


def trials_frame(
    rows: Iterable[Row],
    study: str,
    selected_on_test: bool,
    looks: Sequence[float] = (),
    is_warm: bool = False,
) -> pd.DataFrame:
    """Trials' rows as a frame, in order of their numbers; `study` is the study's identity.

    `looks` are the lengths of the study's looks, in epochs; a study that learns from an earlier
    one, `is_warm`, has the column `from_trial`.
    """
    columns = trial_columns(looks, is_warm)
    frame = pd.DataFrame(list(rows), columns=columns).sort_values("trial")
    frame["selected_on_test"], frame["study"] = selected_on_test, study
    return whole_numbers(frame)


def epochs_frame(rows: Iterable[Row], study: str) -> pd.DataFrame:
    """Epochs' rows as a frame, in order of trials and epochs."""
    frame = pd.DataFrame(list(rows), columns=list(EPOCH_COLUMNS)).sort_values(
        ["trial", "look", "epoch"], kind="stable"
    )
    return frame.assign(study=study).reset_index(drop=True)


def rejections_frame(rows: Iterable[Row], study: str) -> pd.DataFrame:
    """Broken limits' rows as a frame, in order of trials and limits."""
    frame = pd.DataFrame(list(rows), columns=list(REJECTION_COLUMNS))
    return frame.assign(study=study).sort_values(["trial", "limit"]).reset_index(drop=True)


def whole_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """The same frame with the columns that count as whole numbers, its rows numbered from 0."""
    columns = [column for column in COUNT_COLUMNS if column in frame]
    return frame.astype(dict.fromkeys(columns, "Int64")).reset_index(drop=True)


def log_frame(epochs: Sequence[EpochRecord]) -> pd.DataFrame:
    """One row an epoch of a single training."""
    return pd.DataFrame([asdict(epoch) for epoch in epochs]).round(_TIME_DIGITS)


def leaderboard(trials: pd.DataFrame, goal: Goal) -> pd.DataFrame:
    """Rank the passing trials as the goal orders them, best first.

    Ties go by the goal's further columns, the last of them the trial's number, so that the same
    trials give the same file in any input order.
    """
    ranked = _ordered(trials[trials["state"] == "passed"], goal)
    ranked = ranked.assign(rank=range(1, len(ranked) + 1))
    columns = [*LEADERBOARD_COLUMNS[:-1], "from_trial", LEADERBOARD_COLUMNS[-1]]
    return ranked[[name for name in columns if name in ranked]].reset_index(drop=True)


def nearest(trials: pd.DataFrame, top: int = 3) -> pd.DataFrame:
    """The trials that missed the target by least, best first."""
    missed = trials[trials["state"] == "missed"]
    by = ["validation_accuracy", "parameters", "trial"]
    return missed.sort_values(by, ascending=[False, True, True]).head(top)


def near_misses(trials: pd.DataFrame, target: float) -> pd.DataFrame:
    """The trials that missed the target by no more than the standard error of their accuracy.

    That of the binomial distribution over the 10,000 validation images: a fresh training, judged
    by other images, may well reach the target.
    """
    margin = math.sqrt(target * (1 - target) / VALIDATION_IMAGES)
    missed = trials[trials["state"] == "missed"]
    return missed[missed["validation_accuracy"] >= target - margin]


def _ordered(trials: pd.DataFrame, goal: Goal) -> pd.DataFrame:
    columns, ascending = zip(*goal.order, strict=True)
    return trials.sort_values(list(columns), ascending=list(ascending))


def in_order(ranked: pd.DataFrame, sort: str, top: int | None) -> pd.DataFrame:
    """A leaderboard by one of `RANKS` or by `trial`, ties by rank; only the first `top` if given.

    `epochs` are those of the whole training: when a design passed first is a fact, never used to
    choose.
    """
    rows = ranked.sort_values([_SORT_COLUMNS.get(sort, sort), "rank"])
    return rows if top is None else rows.head(top)


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


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows by column name, with None for what is missing."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def counts_in_words(states: Mapping[Any, int], names: Sequence[str]) -> str:
    """How many trials are in each state, as `7 passed, 3 missed`."""
    return ", ".join(f"{states.get(name, 0)} {name}" for name in names)
