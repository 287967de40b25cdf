"""Studies for tests: trials whose accuracies are given, and final runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from mnist_arch.design import AveragePool, Conv, Design, MaxPool
from mnist_arch.epochs import EpochRecord
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rules
from search import StudyConfig
from search.final_run import Finalist, FinalRun
from search.record import TrialRecord, identity, write_proposal, write_result, write_state
from search.storage import opened_storage, sqlite_url
from search.storage.starting import start_study
from search.tables.files import StudyFiles
from search.task import Result
from tests.search.commands import ROOT

EASY = StudyConfig(seed=7, epochs=1, train_images=100, rules=Rules(target=0.01))
"""A try-out study in which every design passes."""

HARD = replace(EASY, rules=Rules(target=1.0))
"""One in which none does."""


def small(width: int) -> Design:
    """A design of few parameters."""
    head = Conv(10, 1, 0, batch_norm=False, relu=False)
    return Design((Conv(width, padding=0), MaxPool(), Conv(width), AveragePool(), head))


@contextmanager
def started(folder: Path, config: StudyConfig = EASY, name: str = "test") -> Iterator[optuna.Study]:
    """A study that has just been started in a folder; its storage is closed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    with opened_storage(sqlite_url(folder)) as storage:
        yield start_study(storage, name, config, ("maximize",), RandomSampler(0), [{}])


def ask(study: optuna.Study) -> optuna.Trial:
    """The study's next trial, outside of a driver."""
    return study.ask()


def add(study: optuna.Study, record: TrialRecord) -> None:
    """Add a trial like that to a study; its number is the study's next."""
    asked = ask(study)
    assert record.design is not None
    write_proposal(asked, record.design, record.recipe)
    result = Result("finished", record.epochs, engine=record.engine, device=record.device)
    write_result(asked, result, record.seed or 0, record.worker)
    write_state(asked, record.state)
    study.tell(asked, record.epochs[-1].validation_accuracy)


def trial(
    number: int,
    design: Design | None,
    accuracy: float,
    state: str = "passed",
    recipe: dict[str, Any] | None = None,
    seconds: float = 1.0,
) -> TrialRecord:
    """The record of a trial that reached an accuracy in one epoch, without a study."""
    epoch = EpochRecord(1, 0.1, 0.5, 0.9, 0.4, accuracy, 1, seconds, 1_000)
    return TrialRecord(
        number=number, state=state, design=design, epochs=(epoch,), rejections=(), reason="",
        duplicate_of=None, seed=number, engine="torch", device="cpu", worker="0", recipe=recipe,
    )  # fmt: skip


THREE = [trial(1, BASELINE, 0.5), trial(2, small(8), 0.6), trial(3, small(4), 0.7)]
"""The trials that `three_designs` adds."""


def three_designs(folder: Path, config: StudyConfig = EASY, state: str = "passed") -> None:
    """Make a study: the baseline as trial 1, a wide design as 2, a narrow one, the best, as 3.

    Trial 0 was interrupted.
    """
    with started(folder, config) as study:
        study.tell(ask(study), state=TrialState.FAIL)
        for record in THREE:
            add(study, replace(record, state=state))


def final_run(
    trial: int,
    index: int,
    accuracy: float | None,
    reason: str = "",
    design: Design | None = None,
    **more: Any,
) -> FinalRun:
    """A final run that came to an accuracy, or failed for a reason; of a design of its trial's."""
    figure = None if accuracy is None else 0.1
    of_trials = {record.number: record.design for record in THREE}
    design = design or of_trials.get(trial) or small(trial)
    key = Finalist(trial, design, EASY.recipe, identity(design, None), 19, 19).key
    return FinalRun(
        trial=trial, fingerprint=design.fingerprint, index=index, seed=index, epochs=19,
        state="failed" if accuracy is None else "done", reason=reason, train_images=60_000,
        train_loss=figure, train_accuracy=figure, test_loss=figure, test_accuracy=accuracy,
        seconds=figure, engine="lanes", device="cpu", worker="0", commit="unknown", weights="",
        finalist=key, **more,
    )  # fmt: skip


def folds_alone(folder: Path) -> Path:
    """A copy of `results/class-proof` as it was before the test images judged its design, too."""
    without = shutil.ignore_patterns("*.db*", "weights")  # what is there on our machines only
    shutil.copytree(ROOT / "results" / "class-proof", folder, ignore=without)
    tables = {path.stem: pd.read_csv(path, dtype=str) for path in folder.glob("*.csv")}
    for name in ("finalists", "confirmations", "errors"):
        tables[name] = tables[name][tables[name]["judge"] == "folds"]
    shared = tables["leaderboard"].columns.intersection(tables["finalists"].columns)
    tables["leaderboard"][shared] = tables["finalists"][shared].to_numpy()
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


def study_files(
    folder: Path,
    config: StudyConfig = EASY,
    runs: Sequence[FinalRun] = (),
    name: str = "test",
) -> StudyFiles:
    """What writes the files of a study without a database."""
    document = {"study": name, "settings": config.to_dict(), "seconds": 1.0, "runs": []}
    return StudyFiles(folder, config.identity(name), config, lambda: document, list(runs))
