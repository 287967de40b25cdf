from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.filled import BLOCK, NAME, fill
from benchmarks.scale import Cost, growth, main, measure, opened
from benchmarks.simulated import Simulated, read_curves
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rules
from search import StudyConfig, open_study
from search.executors import EXECUTORS
from search.task import Budget, Task


def cost(trained: int, sampler: str, bookkeeping: float) -> Cost:
    return Cost(trained, "sqlite", 1, sampler, 0.0, bookkeeping + 5.0, 5.0, 1.0, 0.1, 0.1, 100.0)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two trained designs."""
    monkeypatch.setattr("benchmarks.filled.BLOCK", 2)


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_it_runs_in_small(capsys: pytest.CaptureFixture[str]) -> None:
    workers = ("--workers", "1", "2")
    assert main(["--marks", "3", "99", "--measured", "1", *workers, "--storages", "sqlite"]) == 0
    printed = capsys.readouterr().out
    assert "sqlite, 1 workers, random: bookkeeping a trial at 99 trials is " in printed
    assert "sqlite, 2 workers, random: bookkeeping a trial at " in printed
    assert "sqlite, 1 workers, tpe: bookkeeping a trial at " in printed


@pytest.mark.slow
@pytest.mark.usefixtures("small", "postgres")
def test_a_study_on_postgresql_is_filled_and_measured(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--marks", "3", "99", "--measured", "1", "--workers", "4", "--samplers", "random"]
    assert main([*few, "--storages", "postgresql"]) == 0
    printed = capsys.readouterr().out
    assert "postgresql, 4 workers, random: bookkeeping a trial at 99 trials is " in printed


def test_growth_is_of_the_bookkeeping_without_the_sampler() -> None:
    costs = [cost(100, "tpe", 20.0), cost(100, "random", 10.0), cost(10_000, "tpe", 30.0)]
    costs.append(cost(10_000, "random", 25.0))
    assert growth(costs).splitlines() == [
        f"sqlite, 1 workers, {sampler}: bookkeeping a trial at 10,000 trials is {times} times "
        "that at 100"
        for sampler, times in (("tpe", "1.50"), ("random", "2.50"))
    ]


@pytest.mark.slow
def test_a_study_is_filled_by_copies_that_are_designs_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curves = read_curves()
    monkeypatch.setitem(EXECUTORS, NAME, lambda _machine, _workers: Simulated(curves))
    monkeypatch.setattr("benchmarks.filled.BLOCK", 3)
    config = StudyConfig(seed=1, sampler="random")
    fill(tmp_path, config, 1)
    block = len(open_study(tmp_path / NAME).trials)
    fill(tmp_path, config, 2 * block + 1)
    with opened(tmp_path, config) as study:
        trials = open_study(tmp_path / NAME).trials
        assert measure(study, "random", 1).trials == 2 * block + 1
    assert len(trials) == 2 * block + 1
    assert (trials["state"] == "duplicate").sum() == 0
    first, second = trials[:block], trials[block : 2 * block]
    assert list(first["fingerprint"]) == list(second["fingerprint"])
    assert list(first["validation_accuracy"].dropna()) == list(
        second["validation_accuracy"].dropna()
    )
    assert BLOCK == 16


def test_a_simulated_training_repeats_and_is_stopped_where_it_is_told() -> None:
    task = Task(BASELINE, Rules(), StudyConfig().recipe, Budget(19, None, (3,)), seed=5)

    def trained(stop_after: int | None) -> tuple[str, int, float]:
        executor = Simulated(read_curves())
        executor.submit(7, task)
        assert executor.free == 0
        while True:
            (event,) = executor.events(0)
            assert event.key == 7
            if event.result is not None:
                assert executor.free == 1
                last = event.result.epochs[-1]
                return event.result.outcome, last.epoch, last.validation_accuracy
            if event.epoch is not None and event.epoch.epoch == stop_after:
                executor.answer(7, "enough")

    outcome, epochs, accuracy = trained(None)
    assert (outcome, epochs) == ("finished", 19)
    assert 0.9 < accuracy <= 1
    assert trained(None) == (outcome, epochs, accuracy)
    assert trained(3)[:2] == ("stopped", 3)
