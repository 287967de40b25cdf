"""Confirmed: the weights that a study's confirmation left, as an export takes them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from mnist_arch.design import Design
from search.tables.files import WEIGHTS, StudyTables
from search.tables.trials import rows_of
from search.weights import read_metadata


@dataclass(frozen=True, slots=True)
class ConfirmedRun:
    """A final run whose weights a confirmation kept; `test_accuracy` is a share in [0, 1]."""

    path: Path
    seed: int
    epochs: int
    images: int
    test_accuracy: float


def confirmed_runs(study: StudyTables, design: Design) -> tuple[list[ConfirmedRun], list[Path]]:
    """A design's runs whose weights are this study's, by seed index; and files that are not.

    The files are `<fingerprint>-<seed index>.safetensors`; those of a searched recipe have
    another name and are not taken, for the name does not tell which recipe. A file is the
    study's by its metadata's `study`; files of earlier versions have none and must agree with a
    row of `confirmations.csv`. Raises `UserError` for a damaged file.
    """
    indices: dict[int, Path] = {}
    for path in (study.folder / WEIGHTS).glob(f"{design.fingerprint}-*.safetensors"):
        if match := re.fullmatch(r"[0-9a-f]+-(\d+)", path.stem):
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
