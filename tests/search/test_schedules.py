from __future__ import annotations

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.pruners import SuccessiveHalvingPruner

from search.config import StudyConfig
from search.evaluate import Budget, Result
from search.schedules import SCHEDULES, Full, Halving

CURVE = st.lists(st.integers(0, 10_000).map(lambda n: n / 10_000), min_size=19, max_size=19)


def test_halving_trains_once_and_asks_at_its_rungs() -> None:
    assert Halving().next_budget(StudyConfig(), []) == Budget(19, None, (3, 9))
    short = StudyConfig(epochs=3, train_images=100)
    assert Halving().next_budget(short, []) == Budget(3, 100, ())
    assert Halving().next_budget(StudyConfig(), [Result("finished")]) is None


def test_without_pruning_nothing_is_asked() -> None:
    assert Full().next_budget(StudyConfig(), []) == Budget(19, None, ())
    assert Full().next_budget(StudyConfig(), [Result("finished")]) is None
    assert Full().stop_reason(3, 0.0, [{3: 1.0}]) == ""
    assert set(SCHEDULES) == {"halving", "none"}


def test_the_best_third_goes_on() -> None:
    others = [{3: value} for value in (0.95, 0.96, 0.97, 0.90, 0.91)]
    assert Halving().stop_reason(3, 0.98, others) == ""
    assert Halving().stop_reason(3, 0.96, others) == ""
    assert Halving().stop_reason(3, 0.95, others) == "below the best third after 3 epochs"
    assert Halving(3, 2).stop_reason(3, 0.5, others) == "below the best half after 3 epochs"
    assert Halving(3, 4).stop_reason(3, 0.5, others) == "below the best 1/4 after 3 epochs"


def test_the_first_and_the_best_so_far_go_on() -> None:
    assert Halving().stop_reason(3, 0.1, []) == ""
    assert Halving().stop_reason(3, 0.1, [{1: 0.9, 2: 0.9}]) == ""  # not there yet
    assert Halving().stop_reason(3, 0.9, [{3: 0.9}]) == ""


@settings(max_examples=30, deadline=None)
@given(st.lists(CURVE, min_size=1, max_size=12))
def test_it_decides_as_optunas_successive_halving(curves: list[list[float]]) -> None:
    oracle = optuna.create_study(
        direction="maximize", pruner=SuccessiveHalvingPruner(min_resource=3, reduction_factor=3)
    )
    seen: list[dict[int, float]] = []
    for curve in curves:
        trial = oracle.ask()
        mine: dict[int, float] = {}
        for epoch, accuracy in enumerate(curve, 1):
            mine[epoch] = accuracy
            trial.report(accuracy, epoch)
            stopped = epoch in (3, 9) and bool(Halving().stop_reason(epoch, accuracy, seen))
            if epoch < 19:
                assert trial.should_prune() == stopped
            if stopped:
                break
        oracle.tell(trial, state=optuna.trial.TrialState.PRUNED)
        seen.append(mine)


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 9, 10, 19, 60])
def test_rungs_lie_before_the_last_epoch(epochs: int) -> None:
    config = StudyConfig.from_dict({"epochs": epochs, "rules.epoch_limit": None})
    budget = Halving().next_budget(config, [])
    assert budget is not None
    assert all(rung < epochs for rung in budget.checkpoints)
