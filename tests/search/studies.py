"""Studies for tests of the confirmation: trials whose accuracies are given, and final runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from mnist_arch.design import AveragePool, Conv, Design, MaxPool
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rules
from mnist_arch.training import EpochRecord
from search import study
from search.confirmation.runs import FinalRun
from search.record import TrialRecord, write_epoch, write_proposal, write_state
from search.settings import Settings

EASY = Settings(seed=7, epochs=1, train_images=100, rules=Rules(target=0.01))
"""A try-out study in which every design passes."""

HARD = replace(EASY, rules=Rules(target=1.0))
"""One in which none does."""


def small(width: int) -> Design:
    """A design of few parameters."""
    head = Conv(10, 1, 0, batch_norm=False, relu=False)
    return Design((Conv(width, padding=0), MaxPool(), Conv(width), AveragePool(), head))


def started(folder: Path, settings: Settings = EASY) -> optuna.Study:
    """A study without trials in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    storage = study.open_storage(study.sqlite_url(folder))
    opened = study.start_study(storage, "test", settings)
    opened.tell(opened.ask(), state=TrialState.FAIL)  # the queued baseline: trial 0, interrupted
    return opened


def add(opened: optuna.Study, record: TrialRecord) -> None:
    """Add a trial like that to a study."""
    asked = opened.ask()
    assert record.design is not None
    write_proposal(asked, record.design, record.recipe)
    write_epoch(asked, record.epochs[0])
    write_state(asked, record.state)
    opened.tell(asked, record.epochs[0].validation_accuracy)


def trial(
    number: int,
    design: Design,
    accuracy: float,
    state: str = "passed",
    recipe: dict[str, Any] | None = None,
    seconds: float = 1.0,
) -> TrialRecord:
    """The record of a trial that reached an accuracy, without a study."""
    epoch = EpochRecord(1, 0.1, 0.5, 0.9, 0.4, accuracy, 1, seconds, 1_000)
    return TrialRecord(
        number=number, state=state, design=design, epochs=(epoch,), rejections=(), reason="",
        repeat_of=None, seed=number, engine="torch", device="cpu", worker="0", recipe=recipe,
    )  # fmt: skip


THREE = [trial(1, BASELINE, 0.5), trial(2, small(8), 0.6), trial(3, small(4), 0.7)]
"""The trials that `three_designs` adds."""


def three_designs(folder: Path, settings: Settings = EASY, state: str = "passed") -> optuna.Study:
    """A study with the baseline as trial 1, a wide design as 2 and a narrow one, the best, as 3."""
    opened = started(folder, settings)
    for record in THREE:
        add(opened, replace(record, state=state))
    return opened


def final_run(trial: int, index: int, accuracy: float | None, reason: str = "") -> FinalRun:
    """A final run that came to an accuracy, or failed for a reason."""
    figure = None if accuracy is None else 0.1
    return FinalRun(
        trial=trial, fingerprint="59aea58c103e", index=index, seed=index, epochs=19,
        state="failed" if accuracy is None else "done", reason=reason, train_images=60_000,
        train_loss=figure, train_accuracy=figure, test_loss=figure, test_accuracy=accuracy,
        seconds=figure, engine="lanes", device="cpu", worker="0", commit="unknown", weights="",
    )  # fmt: skip
