from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejected, Rejection, Rules
from search.goals import GOALS, Goal
from search.goals.goal import typical_loss
from search.looks import Judged, Look

each_goal = pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS.keys())


def test_accuracy_is_judged_by_the_loss_alone() -> None:
    goal = GOALS["accuracy"]
    assert goal.directions == ("minimize",)
    assert goal.values(Judged(2_000, 19), 0.02) == goal.values(Judged(20_000, 3), 0.02)
    assert goal.values(Judged(2_000, 19), 0.02) == (math.log(0.02),)


def test_the_front_has_the_loss_and_the_parameters() -> None:
    goal = GOALS["pareto"]
    assert goal.directions == ("minimize", "minimize")
    assert goal.values(Judged(2_000, 19), 0.02) == (math.log(0.02), math.log(2_000))


def test_a_small_design_may_have_a_higher_loss_where_size_counts() -> None:
    small, large = Judged(2_000, 19), Judged(16_000, 19)
    for name in ("smallest", "pareto"):
        assert GOALS[name].merit(small, 0.030) < GOALS[name].merit(large, 0.020)
        assert GOALS[name].merit(small, 0.050) > GOALS[name].merit(large, 0.020)
    assert GOALS["accuracy"].merit(small, 0.030) > GOALS["accuracy"].merit(large, 0.020)


def test_a_short_training_may_have_a_higher_loss_where_length_counts() -> None:
    short, long = Judged(18_000, 3), Judged(18_000, 8)
    assert GOALS["fastest"].merit(short, 0.025) < GOALS["fastest"].merit(long, 0.020)
    assert GOALS["fastest"].lengths == (2, 8)


def test_smallest_trains_only_what_is_smaller_than_what_passes_and_near_the_target() -> None:
    goal, passed = GOALS["smallest"], [Judged(5_000, 19), Judged(4_000, 19)]
    assert goal.why_unwanted(Judged(3_999, 19), 0.02, passed, 0.994) == ""
    assert goal.why_unwanted(Judged(4_000, 19), 0.02, passed, 0.994) == (
        "not smaller than one that passes (4,000 parameters)"
    )
    shortly, longer = (Judged(3_000, 19, (Look(length, 0.9, 0.8),)) for length in (0.25, 1.0))
    assert goal.why_unwanted(longer, 0.2, [], 0.994) == "too far from the target"
    assert goal.why_unwanted(shortly, 0.2, [], 0.994) == ""  # such a look cannot tell


def test_fastest_trains_only_what_is_not_longer_than_what_passes() -> None:
    goal, passed = GOALS["fastest"], [Judged(18_000, 5)]
    assert goal.why_unwanted(Judged(18_000, 5), 0.02, passed, 0.994) == ""
    assert goal.why_unwanted(Judged(18_000, 6), 0.02, passed, 0.994) == (
        "longer than one that passes (5 epochs)"
    )


def test_accuracy_wants_every_design() -> None:
    goal = GOALS["accuracy"]
    assert goal.why_unwanted(Judged(19_000, 19), 9.0, [Judged(2, 1)], 0.994) == ""


def test_the_front_wants_no_design_that_one_which_passes_beats() -> None:
    goal = GOALS["pareto"]
    passed = [Judged(5_000, 19, full=Look(19, 0.02, 0.994))]
    assert goal.why_unwanted(Judged(4_999, 19), 0.03, passed, 0.994) == ""
    assert goal.why_unwanted(Judged(6_000, 19), 0.022, passed, 0.994) == ""  # it may err
    assert goal.why_unwanted(Judged(6_000, 19), 0.023, passed, 0.994) == (
        "one that passes has 5,000 parameters and a lower loss than is expected of it"
    )


def test_the_front_ends_far_from_the_target_once_a_design_passes() -> None:
    """Far is three quarters more than a design at the target has: 1.75 x 3.4 x 0.006 = 0.0357."""
    goal = GOALS["pareto"]
    passed = [Judged(18_000, 19, full=Look(19, 0.02, 0.994))]
    looked = Judged(2_000, 19, (Look(1.0, 0.1, 0.97),))
    assert goal.why_unwanted(looked, 0.035, passed, 0.994) == ""
    assert goal.why_unwanted(looked, 0.036, passed, 0.994) == "too far from the target"
    assert goal.why_unwanted(looked, 0.041, [], 0.994) == ""
    short = replace(looked, looks=(Look(0.25, 0.5, 0.8),))
    assert goal.why_unwanted(short, 0.041, passed, 0.994) == ""


def test_the_front_doubts_no_longer_what_a_look_of_3_epochs_says() -> None:
    """The full training is next: it must be expected to be better, and within 0.0204 x 4 / 3."""
    goal = GOALS["pareto"]
    passed = [Judged(5_000, 19, full=Look(19, 0.02, 0.994))]
    large, small = (Judged(size, 19, (Look(3.0, 0.03, 0.99),)) for size in (6_000, 3_000))
    assert goal.why_unwanted(large, 0.0199, passed, 0.994) == ""
    assert goal.why_unwanted(large, 0.0201, passed, 0.994) == (
        "one that passes has 5,000 parameters and a lower loss than is expected of it"
    )
    assert goal.why_unwanted(small, 0.0271, passed, 0.994) == ""
    assert goal.why_unwanted(small, 0.0273, passed, 0.994) == "too far from the target"


def test_typical_losses_are_those_that_good_designs_had() -> None:
    """The lowest of their size in `results`: 0.0279 of 2,505, 0.0168 of 9,676 parameters, 0.60."""
    assert typical_loss(9_676) / typical_loss(2_505) == pytest.approx(0.0168 / 0.0279, abs=0.1)
    assert typical_loss(2_000) == pytest.approx(1.85)
    assert typical_loss(10**9) == pytest.approx(1.0)


@each_goal
@given(st.floats(1e-6, 5), st.floats(1e-6, 5), st.integers(300, 20_000), st.integers(1, 19))
def test_a_lower_loss_is_never_worse(
    goal: Goal, one: float, other: float, parameters: int, epochs: int
) -> None:
    design = Judged(parameters, epochs)
    lower, higher = sorted((one, other))
    assert goal.merit(design, lower) <= goal.merit(design, higher)
    assert goal.values(design, lower) <= goal.values(design, higher)
    assert len(goal.values(design, lower)) == len(goal.directions)


@each_goal
def test_a_proposal_within_the_rules_is_feasible(goal: Goal) -> None:
    assert goal.constraints([]) == {"parameters": 0.0, "structure": 0.0}


def test_a_proposal_that_breaks_rules_is_infeasible_by_how_much() -> None:
    with pytest.raises(Rejected) as refused:
        Rules(parameter_limit=10_000).check(BASELINE)
    found = GOALS["accuracy"].constraints(refused.value.rejections)
    assert found["parameters"] == pytest.approx((18_430 - 9_999) / 9_999)
    assert found["structure"] == 0
    nothing_left = [Rejection("feature map", 0, 1, "leaves nothing")]
    assert GOALS["accuracy"].constraints(nothing_left) == {"parameters": 0.0, "structure": 1.0}


@each_goal
def test_every_order_ends_with_the_trials_number(goal: Goal) -> None:
    assert goal.order[-1] == ("trial", True)
