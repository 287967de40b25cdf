from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from mnist_arch.rules import Rules
from search import study
from search import workers as workers_module
from search.objective import Objective
from search.record import TrialRecord
from search.settings import Settings
from search.workers import Assignment, Event, Workers

QUICK = Settings(seed=7, epochs=1, train_images=200)


@pytest.fixture
def opened(tmp_path: Path) -> optuna.Study:
    return study.start_study(study.open_storage(study.sqlite_url(tmp_path)), "test", QUICK)


def assignment(folder: Path, worker: str = "0", data: Path | None = None) -> Assignment:
    return Assignment(study.sqlite_url(folder), "test", QUICK, "torch", "cpu", data, 1, worker)


def events_until_idle(workers: Workers) -> list[Event]:
    found: list[Event] = []
    while workers.busy:
        found += workers.events(0.5)
    return found


def trained(opened: optuna.Study) -> list[TrialRecord]:
    return [record for record in study.records(opened) if record.state == "missed"]


def test_a_space_with_nothing_more_to_offer_ends(
    opened: optuna.Study, objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "PROPOSALS_IN_A_ROW", 5)
    settings = replace(QUICK, rules=Rules(parameter_limit=300))
    narrow = replace(objective, settings=settings)
    assert workers_module._train_one(opened, narrow) == "exhausted"
    assert study.count_states(opened)["rejected"] == 5


@pytest.mark.slow
def test_workers_train_as_many_designs_as_ordered(tmp_path: Path, opened: optuna.Study) -> None:
    with Workers([assignment(tmp_path, "0"), assignment(tmp_path, "1")]) as workers:
        workers.order(5)
        assert workers.busy == 2
        assert {event.kind for event in events_until_idle(workers)} == {"trained"}
        workers.order(1)
        assert workers.busy == 1
        events_until_idle(workers)
    assert study.count_trained(opened) == 3
    assert {record.worker for record in trained(opened)} == {"0", "1"}


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_design_trained_after_all(
    tmp_path: Path, opened: optuna.Study
) -> None:
    with Workers([assignment(tmp_path)]) as workers:
        workers.order(1)
        while not any("design" in trial.user_attrs for trial in study.running_trials(opened)):
            assert workers.events(0.02) == []
        os.kill(workers._workers[0].process.pid or 0, signal.SIGKILL)
        died = events_until_idle(workers)
        assert [(event.kind, event.text) for event in died] == [("died", "exit status -9")]
        assert study.clear_interrupted(opened, "0") == 1
        workers.order(1)
        assert [event.kind for event in events_until_idle(workers)] == ["trained"]
    assert [record.state for record in study.records(opened)] == ["interrupted", "missed"]
    assert study.records(opened)[1].design == study.records(opened)[0].design


@pytest.mark.slow
def test_a_workers_mistake_reaches_the_parent(tmp_path: Path, opened: optuna.Study) -> None:
    assert study.count_trained(opened) == 0
    with Workers([assignment(tmp_path, data=tmp_path / "nothing here")]) as workers:
        workers.order(1)
        events = events_until_idle(workers)
    assert events[0].kind == "mistake"
    assert "train-images-idx3-ubyte" in events[0].text
