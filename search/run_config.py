"""Run config: every choice of one run, one confirmation or one export. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mnist_arch.datasets import FOLDS
from mnist_arch.design import Design
from mnist_arch.errors import UserError
from mnist_arch.recipe import RECIPES, Judge, Recipe
from search.config import Machine, require_dataset, require_range
from search.files import RESULTS
from search.names import require_name

FINALISTS, SEEDS = 3, 3
"""Designs that are confirmed, and fresh seeds of each, where nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Every choice of one run of a study, which may differ from run to run.

    `trials` is how many designs the study ends with; `workers` None is one a core on a CPU and
    one on a GPU; `finalists` 0 means no confirmation, 3 the three answers unless there is a
    `rank_by`; `timeout_seconds` None means no limit. `executor` is a name in `search.executors`;
    `storage` a name or URL, see `search.storage.storage_url`. `report` says whether the page and
    its figures are made at the end, `dashboard` whether optuna-dashboard is served meanwhile.
    `warm_start` is the folder of the study that this one learns from, `designs` are the caller's
    own by the names that they were given as: they are tried first.
    """

    study: str = "mnist"
    results: Path = RESULTS
    trials: int = 50
    workers: int | None = None
    timeout_seconds: int | None = None
    finalists: int = FINALISTS
    seeds: int = SEEDS
    rank_by: str | None = None
    executor: str = "processes"
    machine: Machine = field(default_factory=Machine)
    quiet: bool = False
    storage: str = "sqlite"
    report: bool = True
    dashboard: bool = False
    warm_start: Path | None = None
    designs: Mapping[str, Design] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_name("--study", self.study)
        object.__setattr__(self, "results", Path(self.results))
        require_range("--trials", self.trials, 1, 100_000)
        require_range("--finalists", self.finalists, 0, 1_000)
        require_range("--seeds", self.seeds, 1, 1_000)
        if self.workers is not None:
            require_range("--workers", self.workers, 1, 1_000)

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.results / self.study

    def to_dict(self) -> dict[str, Any]:
        """The choices as plain JSON values."""
        values = asdict(self)
        values["machine"]["data"] = self.machine.data and str(self.machine.data)
        values["warm_start"] = self.warm_start and str(self.warm_start)
        values["designs"] = {name: each.fingerprint for name, each in self.designs.items()}
        return {**values, "results": str(self.results)}


@dataclass(frozen=True, slots=True)
class ConfirmConfig:
    """Every choice of one confirmation of the study in `folder`.

    The finalists are the designs of `trials` where that is given, else the first `top` that pass
    by `rank_by`, else the first `top` of the three answers and of the leaderboard; each gets
    `seeds` fresh seeds (None: `SEEDS`). Under the judge `folds` there are six trainings, one seed
    each. Raises `UserError` where the choices clash.
    """

    folder: Path
    top: int = FINALISTS
    trials: tuple[int, ...] | None = None
    rank_by: str | None = None
    seeds: int | None = None
    workers: int | None = None
    executor: str = "processes"
    machine: Machine = field(default_factory=Machine)
    quiet: bool = False
    storage: str = "sqlite"
    report: bool = True
    judge: Judge = "test"

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        require_range("--top", self.top, 1, 1_000)
        require_range("--seeds", self.runs, 1, 1_000)
        if self.judge == "folds" and self.seeds not in (None, FOLDS):
            raise UserError(
                f"--seeds {self.seeds}: --judge folds has {FOLDS} trainings, one seed each; leave "
                "--seeds out"
            )
        if self.workers is not None:
            require_range("--workers", self.workers, 1, 1_000)

    @property
    def runs(self) -> int:
        """Trainings of each design."""
        if self.seeds is not None:
            return self.seeds
        return FOLDS if self.judge == "folds" else SEEDS

    def to_dict(self) -> dict[str, Any]:
        """The choices as plain JSON values."""
        values = asdict(self)
        values["machine"]["data"] = self.machine.data and str(self.machine.data)
        return {**values, "folder": str(self.folder), "seeds": self.runs}


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """What to export and where to: a `study`'s design, by `trial` or else by `rank`, or a `design`.

    `name` says what the design was given as, `dataset` what it is trained on; a study has its own
    data set and recipe. `to` None is the study's folder `best`. `seed`,
    `epochs` and `train_images`, where one is given, ask for a training anew. Raises `UserError`
    where the choices clash.
    """

    study: Path | None = None
    rank: int = 1
    trial: int | None = None
    design: Design | None = None
    name: str = "a design"
    recipe: Recipe = RECIPES["default"]
    to: Path | None = None
    force: bool = False
    seed: int | None = None
    epochs: int | None = None
    train_images: int | None = None
    machine: Machine = field(default_factory=Machine)
    dataset: str = "mnist"

    def __post_init__(self) -> None:
        require_dataset(self.dataset)
        if (self.study is None) == (self.design is None):
            raise UserError("give either a study's folder or a design")
        if self.study is None and self.to is None:
            raise UserError("a design needs a folder to write; give one")

    @property
    def folder(self) -> Path:
        """The folder to write."""
        return self.to or Path(self.study or "") / "best"
