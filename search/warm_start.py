"""Warm start: what an earlier study found, read from its tables, for a new study to begin with.

The earlier study's best designs become the new study's first proposals, right after those of every
study: trained anew under the new study's seeds, judged as any other, trials of
the new study. So it works with every sampler, which learns from them as from its own trials, and
no figure of the earlier study stands in a table of the new one. What the earlier study's looks
said of its full trainings also goes to the predictor (`search.looks`).

The tables suffice; no database is needed. All that is taken is written into the new study when it
is started, so that it repeats whatever becomes of the earlier one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import optuna

from mnist_arch.design import Design
from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from search.config import StudyConfig
from search.files import DATABASE
from search.goals import GOALS
from search.looks import SMALLEST_LOSS, Judged, Look
from search.loop.proposals import space_of
from search.record import TO_THE_END
from search.samplers.mutation import beaten_by
from search.space import Space
from search.storage.starting import EARLIER, changes
from search.tables.files import StudyTables, read_study
from search.tables.trials import Row, rows_of

MOST_DESIGNS = 20
"""Most designs that are taken: those that fewest others beat in validation loss and parameters."""

MOST_PAIRS = 200
"""Most designs, the latest, whose looks and full training the predictor is given."""

_OWN_CHOICES = frozenset({"seed", "goal", "sampler", "schedule", "looks", "warm_start", "designs"})
"""Choices in which a study may differ from the one that it learns from."""


@dataclass(frozen=True, slots=True)
class WarmStart:
    """What is taken from the study `name`, see `StudyConfig.warm_start`.

    `proposals` are the choices of its best designs by the numbers of their trials, `pairs` designs
    that had looks and a full training.
    """

    name: str
    proposals: Mapping[int, Mapping[str, Any]]
    pairs: Sequence[Judged]

    def to_dict(self) -> dict[str, Any]:
        """It as plain JSON values, which the new study keeps; `pairs_of` reads the pairs back."""
        proposals = [{"trial": trial, "params": each} for trial, each in self.proposals.items()]
        return {"proposals": proposals, "pairs": msgspec.to_builtins(self.pairs)}


def pairs_of(study: optuna.Study) -> list[Judged]:
    """The looks and full trainings that a study took from an earlier one; none without that."""
    return msgspec.convert(study.user_attrs.get(EARLIER, {}).get("pairs", []), list[Judged])


def learn(folder: Path, config: StudyConfig, own: Path) -> WarmStart:
    """What the study in `folder` has for one of the choices `config` in the folder `own`.

    Raises `UserError` where it is no other study of the same data, rules, recipe and space, or has
    no designs to give.
    """

    def refused(why: str) -> UserError:
        return UserError(f"--warm-start {folder}: {why}")

    if folder.resolve() == own.resolve():
        raise refused("a study cannot learn from itself; give another study's folder, or --study")
    try:
        study = read_study(folder)
    except UserError as error:
        raise refused(str(error)) from None
    why_not = _clash(study, config)
    if why_not:
        raise refused(why_not)
    rows = [row for row in rows_of(study.trials) if row["state"] in TO_THE_END]
    space = space_of(config)
    others = [row for row in rows if row["fingerprint"] not in _starts(space)]
    if not others:
        raise refused(
            "none of its designs but those that every study begins with was trained to the last "
            "epoch; search there with more --trials first, or give another study"
        )
    proposals = {row["trial"]: _proposal(row, space) for row in _best(others)}
    found = {trial: params for trial, params in proposals.items() if params}
    if not found:
        raise refused(
            "its trials.csv does not say what was proposed, as this version writes it; where its "
            f"{DATABASE} is, run its own command again, which writes its tables anew, or give "
            "another study"
        )
    pairs = [_judged(row, study.config.look_lengths) for row in rows]
    pairs = [pair for pair in pairs if pair.looks][-MOST_PAIRS:]
    return WarmStart(f"{study.name} {study.identity}", found, pairs)


def _starts(space: Space) -> set[str]:
    """Fingerprints of the designs that every study begins with."""
    fixed = [optuna.trial.FixedTrial(params) for params in space.starts()]
    designs = [space.suggest_design(trial) for trial in fixed]  # type: ignore[arg-type]
    return {BASELINE.fingerprint, *(design.fingerprint for design in designs)}


def _clash(study: StudyTables, config: StudyConfig) -> str:
    """Why a study cannot be learnt from under these choices; nothing if it can."""
    settings = study.document["settings"]
    changed = [
        change for change in changes(settings, config) if change.split()[0] not in _OWN_CHOICES
    ]
    if changed:
        return (
            "it was searched in another space, on other data or under other settings: "
            f"{'; '.join(changed)}. Give the settings it was searched with, or another study"
        )
    theirs = study.config
    if theirs.goal not in GOALS or space_of(theirs) != space_of(config):
        return (
            f"its goal is {theirs.goal}, this one's is {config.goal}: of the two only one proposes "
            "how long a design is trained; give its --goal, or another study"
        )
    if theirs.seed == config.seed:
        return (
            f"it has the same --seed {config.seed}, by which its proposals would be made again and "
            "its designs not be trained anew; give another --seed"
        )
    return ""


def _best(rows: Sequence[Row]) -> list[Row]:
    """The designs that fewest others beat; ties go to the lower loss, then to the earlier trial."""
    beaten = beaten_by(np.array([[row["validation_loss"], row["parameters"]] for row in rows]))
    ranked = sorted(
        zip(beaten.tolist(), rows, strict=True),
        key=lambda each: (each[0], each[1]["validation_loss"], each[1]["trial"]),
    )
    return [row for _, row in ranked[:MOST_DESIGNS]]


def _proposal(row: Row, space: Space) -> dict[str, Any]:
    """What was proposed; nothing where that is not known, or is not what gave the design."""
    try:
        params: dict[str, Any] = json.loads(row.get("proposal") or "{}")
        design = space.suggest_design(optuna.trial.FixedTrial(params))  # type: ignore[arg-type]
        return params if design == Design.from_json(row["design"]) else {}
    except (ValueError, TypeError):
        return {}


def _judged(row: Row, lengths: Sequence[float]) -> Judged:
    """A trial that ran to its end as the predictor sees it."""
    looks = tuple(
        Look(length, row[f"look_{length:g}_loss"], row[f"look_{length:g}_accuracy"])
        for length in lengths
        if row.get(f"look_{length:g}_loss") is not None
    )
    loss = max(row["validation_loss"], SMALLEST_LOSS)
    full = Look(float(row["epochs"]), loss, row["validation_accuracy"])
    return Judged(row["parameters"], row["epochs"], looks, full)
