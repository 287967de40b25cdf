"""Candidates: the design that is to be exported, and how it was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_arch.design import Design
from mnist_arch.errors import UserError
from mnist_arch.recipe import Recipe
from mnist_arch.rules import Rules
from search import tables
from search.exports.cells import design_of
from search.formats import percent
from search.reading import read_study
from search.settings import Settings


@dataclass(frozen=True, slots=True)
class Candidate:
    """A design with the training it is to have; `chosen` says in one sentence where it is from.

    `study` is the study's folder, None for a design without one.
    """

    design: Design
    rules: Rules
    recipe: Recipe
    epochs: int
    chosen: str
    study: Path | None = None


def ranked(folder: Path, rank: int) -> Candidate:
    """The design that stands at `rank`, from 1, in a study's leaderboard; raises `UserError`."""
    document, frames = read_study(folder)
    board = frames["leaderboard"]
    if board.empty:
        raise UserError(_nothing_passes(folder, document, frames["trials"]))
    if rank > len(board):
        raise UserError(
            f"--rank {rank}: designs of the study in {folder} that pass: {len(board)}; "
            f"give a rank from 1 to {len(board)}"
        )
    row = board[board["rank"] == rank].to_dict("records")[0]
    chosen = (
        f"trial {row['trial']} of study {document['study']}: rank {rank} of {len(board)} passing "
        f"designs by {_accuracy(row, document)} after the last epoch"
    )
    return _candidate(folder, document, frames["trials"], int(row["trial"]), chosen)


def numbered(folder: Path, trial: int) -> Candidate:
    """The design of one of a study's trials, whether it passed or not; raises `UserError`."""
    document, frames = read_study(folder)
    trials = frames["trials"]
    rows = trials[trials["trial"] == trial].to_dict("records")
    if not rows:
        raise UserError(f"--trial {trial}: {_what_there_is(folder, trials)}")
    chosen = f"trial {trial} of study {document['study']}, chosen by its number; it {_end(rows[0])}"
    if pd.notna(rows[0]["validation_accuracy"]):
        chosen += f" with {_accuracy(rows[0], document)}"
    return _candidate(folder, document, trials, trial, chosen)


def _what_there_is(folder: Path, trials: pd.DataFrame) -> str:
    if trials.empty:
        return f"the study in {folder} has no trial yet; go on with it: python -m search.run"
    return (
        f"the study in {folder} has no such trial; its finished ones are between "
        f"{trials['trial'].min()} and {trials['trial'].max()}"
    )


def _end(row: Mapping[Any, Any]) -> str:
    return {"passed": "passed", "missed": "missed the target"}.get(
        str(row["state"]), f"was {row['state']}"
    )


def _accuracy(row: Mapping[Any, Any], document: dict[str, Any]) -> str:
    on_test = document["settings"]["protocol"] == "assignment"
    which = "accuracy on the test images" if on_test else "validation accuracy"
    return f"{which} ({percent(row['validation_accuracy'])})"


def _nothing_passes(folder: Path, document: dict[str, Any], trials: pd.DataFrame) -> str:
    """Why a study has nothing to export, and the nearest that it has."""
    target = document["settings"]["rules.target"]
    near = tables.nearest(trials, top=1).to_dict("records")
    if not near:
        return (
            f"the study in {folder} has no design that was trained to its last epoch; go on with "
            "it with a larger --trials: python -m search.run"
        )
    trial = near[0]["trial"]
    return (
        f"no design of the study in {folder} passes {percent(target)}; the nearest is trial "
        f"{trial} with {percent(near[0]['validation_accuracy'])}: "
        f"python -m search.export {folder} --trial {trial}"
    )


def _candidate(
    folder: Path, document: dict[str, Any], trials: pd.DataFrame, trial: int, chosen: str
) -> Candidate:
    """Put together what the study says of a trial; raises `UserError` where it cannot be read."""
    row = trials[trials["trial"] == trial].to_dict("records")[0]
    design = design_of(row)
    try:
        settings = Settings.from_dict(document["settings"])
        recipe = _recipe(settings.recipe, row)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder / 'study.json'} does not hold a study's settings ({error}); running the "
            "study again makes its files anew from study.db"
        ) from None
    if design is None:
        raise UserError(
            f"trial {trial} in {folder / 'trials.csv'} does not describe the design of its "
            f"fingerprint {row['fingerprint']}; running the study again makes its files anew "
            "from study.db"
        )
    return Candidate(design, settings.rules, recipe, settings.epochs, chosen, folder)


def _recipe(recipe: Recipe, row: Mapping[Any, Any]) -> Recipe:
    """The study's recipe, or the trial's own where recipes were searched."""
    if pd.isna(row["learning_rate"]):
        return recipe
    searched = replace(
        recipe,
        learning_rate=float(row["learning_rate"]),
        weight_decay=float(row["weight_decay"]),
    )
    degrees = recipe.augmentation.degrees
    strength = float(row["augmentation_degrees"]) / degrees if degrees else 1.0
    return searched.with_augmentation_strength(strength)
