"""Candidates: the design to export, how it was chosen, and the weights its study kept of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_arch.design import Design, DesignError
from mnist_arch.errors import UserError
from mnist_arch.recipe import Recipe
from mnist_arch.rules import Rules
from search.formats import percent
from search.record import TO_THE_END
from search.tables.files import WEIGHTS, StudyTables, read_study
from search.tables.trials import nearest, rows_of
from search.weights import read_metadata


@dataclass(frozen=True, slots=True)
class Candidate:
    """A design with the training it is to have; `chosen` says in one sentence where it is from.

    `study` is None for a design without one.
    """

    design: Design
    rules: Rules
    recipe: Recipe
    epochs: int
    chosen: str
    study: StudyTables | None = None
    dataset: str = "mnist"


def ranked(folder: Path, rank: int) -> Candidate:
    """The design that stands at `rank`, from 1, in a study's leaderboard; raises `UserError`."""
    study = read_study(folder)
    board = rows_of(study.leaderboard)
    if not board:
        raise UserError(_nothing_passes(study))
    if rank > len(board):
        raise UserError(
            f"--rank {rank}: designs of the study in {folder} that pass: {len(board)}; "
            f"give a rank from 1 to {len(board)}"
        )
    row = next(row for row in board if row["rank"] == rank)
    return _candidate(
        study,
        row["trial"],
        f"trial {row['trial']} of study {study.name}: rank {rank} of {len(board)} passing "
        f"designs by {_accuracy(row, study)} after the last epoch",
    )


def numbered(folder: Path, trial: int) -> Candidate:
    """The design of one of a study's trials, whether it passed or not; raises `UserError`."""
    study = read_study(folder)
    row = _row(study, trial)
    end = {"passed": "passed", "missed": "missed the target"}
    chosen = f"trial {trial} of study {study.name}, chosen by its number; it "
    chosen += end.get(row["state"], f"was {row['state']}")
    if row["validation_accuracy"] is not None:
        chosen += f" with {_accuracy(row, study)}"
    return _candidate(study, trial, chosen)


def _row(study: StudyTables, trial: int) -> dict[str, Any]:
    rows = rows_of(study.trials[study.trials["trial"] == trial])
    if rows:
        return rows[0]
    numbers = study.trials["trial"]
    if numbers.empty:
        raise UserError(
            f"--trial {trial}: the study in {study.folder} has no trial yet; go on with it: "
            "python -m search.run"
        )
    raise UserError(
        f"--trial {trial}: the study in {study.folder} has no such trial; its finished ones are "
        f"between {numbers.min()} and {numbers.max()}"
    )


def _accuracy(row: Mapping[str, Any], study: StudyTables) -> str:
    on_test = study.config.selected_on_test
    which = "accuracy on the test images" if on_test else "validation accuracy"
    return f"{which} ({percent(row['validation_accuracy'])})"


def _nothing_passes(study: StudyTables) -> str:
    """Why a study has nothing to export, and the nearest that it has."""
    near = rows_of(nearest(study.trials, top=1))
    if not near:
        return (
            f"the study in {study.folder} has no design that was trained to its last epoch; go on "
            "with it with a larger --trials: python -m search.run"
        )
    trial = near[0]["trial"]
    return (
        f"no design of the study in {study.folder} passes {percent(study.config.rules.target)}; "
        f"the nearest is trial {trial} with {percent(near[0]['validation_accuracy'])}: "
        f"python -m search.export {study.folder} --trial {trial}"
    )


def _candidate(study: StudyTables, trial: int, chosen: str) -> Candidate:
    """Put together what the study says of a trial; raises `UserError` where it cannot be read."""
    row = _row(study, trial)
    try:
        design = Design.from_json(row.get("design") or "")
        if design.fingerprint != row["fingerprint"]:
            raise UserError(f"its fingerprint is {design.fingerprint}")
    except (DesignError, UserError) as error:
        raise UserError(
            f"trial {trial} in {study.folder / 'trials.csv'} does not hold the design of its "
            f"fingerprint {row['fingerprint']} ({error}); running the study again makes its files "
            "anew from study.db"
        ) from None
    config = study.config
    epochs = row["epochs"] if row["state"] in TO_THE_END else config.full_epochs
    recipe = _recipe(config.recipe, row)
    return Candidate(design, config.rules, recipe, epochs, chosen, study, config.dataset)


def _recipe(recipe: Recipe, row: Mapping[str, Any]) -> Recipe:
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


@dataclass(frozen=True, slots=True)
class ConfirmedRun:
    """A final run whose weights a confirmation kept; `test_accuracy` is a share in [0, 1]."""

    path: Path
    seed: int
    epochs: int
    images: int
    test_accuracy: float


def confirmed_runs(
    study: StudyTables, design: Design, epochs: int | None = None
) -> tuple[list[ConfirmedRun], list[Path]]:
    """A design's runs whose weights are this study's, by seed index; and files that are not.

    `epochs` is the length of its training (None: the study's). The files are
    `<fingerprint>-<seed index>.safetensors`, with `-e<epochs>` in it for another length than the
    study's; those of a searched recipe have another name and are not taken, for the name does not
    tell which recipe. A file is the study's by its metadata's `study`; files of earlier versions
    have none and must agree with a row of `confirmations.csv`. Raises `UserError` for a damaged
    file.
    """
    indices: dict[int, Path] = {}
    own = "" if epochs in (None, study.config.full_epochs) else f"-e{epochs}"
    for path in (study.folder / WEIGHTS).glob(f"{design.fingerprint}-*.safetensors"):
        if match := re.fullmatch(rf"[0-9a-f]+{own}-(\d+)", path.stem):
            indices[int(match[1])] = path
    runs, others = [], []
    for _, path in sorted(indices.items()):
        run = _run(study, design, path)
        if run is None:
            others.append(path)
        else:
            runs.append(run)
    return runs, others


def _run(study: StudyTables, design: Design, path: Path) -> ConfirmedRun | None:
    """The run that a file of weights is of, or None if it is not this study's."""
    metadata = read_metadata(path)
    try:
        seed, epochs, images = (int(metadata[name]) for name in ("seed", "epochs", "images"))
        run = ConfirmedRun(path, seed, epochs, images, float(metadata["test_accuracy"]))
    except (KeyError, ValueError):
        return None
    own = metadata.get("study")
    ours = own == study.identity if own else _is_in_table(study, design, run)
    return run if ours and metadata.get("fingerprint") == design.fingerprint else None


def _is_in_table(study: StudyTables, design: Design, run: ConfirmedRun) -> bool:
    """Whether `confirmations.csv` has the run."""
    if "confirmations" not in study.tables:
        return False
    table = study.tables["confirmations"]
    table = table[(table["fingerprint"] == design.fingerprint) & (table["state"] == "done")]
    return any(
        (row["seed"], row["epochs"]) == (run.seed, run.epochs)
        and math.isclose(row["test_accuracy"], run.test_accuracy, rel_tol=1e-9)
        for row in rows_of(table)
    )
