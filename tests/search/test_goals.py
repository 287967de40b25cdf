from __future__ import annotations

import pytest

from mnist_arch.plan import plan
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejected, Rejection, Rules
from mnist_arch.training import EpochRecord
from search.goals import GOALS

ACCURACY = GOALS["accuracy"]


def epoch(accuracy: float) -> EpochRecord:
    return EpochRecord(1, 0.1, 0.5, 0.9, 0.4, accuracy, 1.0, 1.2, 1000.0)


def test_optuna_is_told_the_accuracy_after_the_last_epoch() -> None:
    assert ACCURACY.directions == ("maximize",)
    assert ACCURACY.values(plan(BASELINE), [epoch(0.999), epoch(0.99)]) == (0.99,)


def test_a_proposal_within_the_rules_is_feasible() -> None:
    assert ACCURACY.constraints([]) == {"parameters": 0.0, "structure": 0.0}


def test_a_proposal_that_breaks_rules_is_infeasible_by_how_much() -> None:
    with pytest.raises(Rejected) as refused:
        Rules(parameter_limit=10_000).check(BASELINE)
    found = ACCURACY.constraints(refused.value.rejections)
    assert found["parameters"] == pytest.approx((18_430 - 9_999) / 9_999)
    assert found["structure"] == 0
    nothing_left = [Rejection("feature map", 0, 1, "leaves nothing")]
    assert ACCURACY.constraints(nothing_left) == {"parameters": 0.0, "structure": 1.0}


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS.keys())
def test_every_order_ends_with_the_trials_number(goal: object) -> None:
    assert goal.order[-1] == ("trial", True)  # type: ignore[attr-defined]
