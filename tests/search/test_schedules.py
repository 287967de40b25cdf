from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.pruners import SuccessiveHalvingPruner

from search.config import StudyConfig
from search.goals import GOALS
from search.looks import Judged, Look
from search.schedules import SCHEDULES, Decision, Full, Halving, Looks, Standing
from search.task import Budget

CURVE = st.lists(st.integers(0, 10_000).map(lambda n: n / 10_000), min_size=19, max_size=19)


def standing(
    looks: Sequence[Look] = (),
    others: Sequence[Judged] = (),
    goal: str = "accuracy",
    epochs: int = 19,
) -> Standing:
    """A design of 6,000 parameters with these looks; the loss to expect is its last look's."""
    return Standing(Judged(6_000, epochs, tuple(looks)), others, [], GOALS[goal], last_loss)


def last_loss(design: Judged) -> float:
    assert design.longest is not None
    return design.longest.loss


def looked_at(length: float, *losses: float) -> list[Judged]:
    return [Judged(6_000, 19, (Look(length, loss, 0.9),)) for loss in losses]


def test_halving_trains_once_and_asks_at_its_rungs() -> None:
    assert Halving().next_budget(StudyConfig(), standing()) == Decision(Budget(19, None, (3, 9)))
    short = StudyConfig(epochs=3, train_images=100)
    assert Halving().next_budget(short, standing(epochs=3)) == Decision(Budget(3, 100, ()))


def test_without_looks_every_design_is_trained_in_full() -> None:
    assert Full().next_budget(StudyConfig(), standing()) == Decision(Budget(19, None, ()))
    assert Full().stop_reason(3, 0.0, [{3: 1.0}]) == ""
    assert set(SCHEDULES) == {"looks", "halving", "none"}


def test_the_first_look_is_a_quarter_of_an_epoch() -> None:
    budget = Budget(1, 12_500, (), look=0.25)
    assert Looks().next_budget(StudyConfig(), standing()) == Decision(budget)
    assert budget.length == 0.25
    fewer = StudyConfig(train_images=2_000)
    assert Looks().next_budget(fewer, standing()) == Decision(Budget(1, 500, (), look=0.25))


@pytest.mark.parametrize(
    ("seen", "then"),
    [
        ((0.25,), Budget(1, None, (), look=1.0)),
        ((0.25, 1.0), Budget(3, None, (), look=3.0)),
        ((0.25, 1.0, 3.0), Budget(19, None)),
    ],
)
def test_the_best_go_on_to_longer_looks_and_to_the_full_training(
    seen: tuple[float, ...], then: Budget
) -> None:
    looks = [Look(length, 0.1, 0.9) for length in seen]
    others = looked_at(seen[-1], *[0.2, 0.3, 0.4, 0.5] * 2)
    assert Looks().next_budget(StudyConfig(), standing(looks, others)) == Decision(then)


def test_the_share_that_goes_on() -> None:
    """One in four after a look shorter than an epoch, then one in three; the best always."""
    schedule = Looks()
    for length, others, rank, goes_on in [
        (0.25, 0, 0, True),
        (0.25, 2, 0, True),  # the best of 3
        (0.25, 2, 1, False),
        (0.25, 6, 1, False),
        (0.25, 7, 1, True),  # 2 of 8
        (1.0, 1, 0, True),
        (1.0, 1, 1, False),
        (1.0, 8, 2, True),  # 3 of 9
        (1.0, 8, 3, False),
        (3.0, 0, 0, True),  # nobody to be compared with
        (3.0, 4, 1, False),
        (3.0, 5, 1, True),  # 2 of 6
    ]:
        better = looked_at(length, *[0.1] * rank, *[0.9] * (others - rank))
        decision = schedule.next_budget(StudyConfig(), standing([Look(length, 0.5, 0.9)], better))
        assert (decision.budget is not None) == goes_on, (length, others, rank)


@pytest.mark.parametrize(
    ("length", "share", "most"), [(0.25, "25%", 1), (1.0, "33%", 2), (3.0, "33%", 2)]
)
def test_for_the_front_designs_are_compared_with_those_of_like_size(
    length: float, share: str, most: int
) -> None:
    """With the 8 nearest of them in the logarithm of parameters, `most` of which may be better."""
    look, far = Look(length, 0.5, 0.9), Look(length, 0.1, 0.9)
    for rank in range(9):
        near = looked_at(length, *[0.1] * rank, *[0.9] * (8 - rank))
        for parameters in (1_500, 20_000):
            better = [Judged(parameters, 19, (far,))] * 52
            for others in ([*better, *near], [*near, *better]):
                front = standing([look], others, goal="pareto")
                decision = Looks().next_budget(StudyConfig(), front)
                reason = f"not among the best {share} of its size after a look of"
                assert (decision.reason.startswith(reason)) == (rank > most), rank
                assert (decision.budget is None) == (rank > most), rank
                by_loss = standing([look], others, goal="accuracy")
                assert Looks().next_budget(StudyConfig(), by_loss).budget is None


def test_for_the_front_the_lowest_loss_of_all_goes_on_whatever_its_size() -> None:
    """At 6,000 parameters 0.5 is less, for its size, than 0.49 at 20,000."""
    others = looked_at(0.25, *[0.5] * 20)
    for loss, goes_on in ((0.49, True), (0.5, False)):
        large = Judged(20_000, 19, (Look(0.25, loss, 0.9),))
        front = replace(standing(others=others, goal="pareto"), design=large)
        decision = Looks().next_budget(StudyConfig(), front)
        assert (decision.budget is not None) == goes_on, loss


def test_who_does_not_go_on_is_told_why() -> None:
    decision = Looks().next_budget(
        StudyConfig(), standing([Look(1.0, 0.5, 0.9)], looked_at(1.0, 0.1, 0.2))
    )
    assert decision == Decision(None, "not among the best 33% after a look of 1 epoch")


def test_only_the_latest_of_the_same_length_are_compared() -> None:
    others = [*looked_at(0.25, *[0.01] * 100), *looked_at(1.0, *[0.01] * 100)]
    late = looked_at(0.25, *[0.9] * 60)
    decision = Looks().next_budget(
        StudyConfig(), standing([Look(0.25, 0.5, 0.9)], [*others, *late])
    )
    assert decision.budget is not None


@pytest.mark.parametrize(("length", "spared"), [(0.25, False), (1.0, False), (3.0, True)])
def test_for_the_front_a_long_look_spares_what_no_other_beats_in_loss_and_size(
    length: float, spared: bool
) -> None:
    """Of eight of like size all are better for their size, none of them is as small."""
    for parameters, loss, goes_on in [
        (6_001, 0.4, spared), (6_000, 0.4, False), (5_999, 0.49, False),
    ]:  # fmt: skip
        others = [Judged(parameters, 19, (Look(length, loss, 0.9),))] * 8
        front = standing([Look(length, 0.5, 0.9)], others, goal="pareto")
        decision = Looks().next_budget(StudyConfig(), front)
        assert (decision.budget is not None) == goes_on, (parameters, loss)


def test_a_design_that_the_goal_does_not_want_is_trained_no_further() -> None:
    config = StudyConfig(goal="smallest")
    far = standing([Look(1.0, 0.5, 0.9)], looked_at(1.0, 0.6, 0.7, 0.8), goal="smallest")
    assert Looks().next_budget(config, far).reason == "too far from the target"


def test_on_a_front_what_is_far_from_the_target_is_off_it() -> None:
    passed = [Judged(6_000, 19, full=Look(19, 0.02, 0.994))]
    for goal, off_front in (("pareto", True), ("smallest", False)):
        far = standing([Look(1.0, 0.5, 0.9)], looked_at(1.0, 0.6, 0.7, 0.8), goal=goal)
        far = replace(far, design=replace(far.design, parameters=5_000), passed=passed)
        decision = Looks().next_budget(StudyConfig(goal=goal), far)
        assert decision == Decision(None, "too far from the target", off_front)
    beaten = standing([Look(1.0, 0.5, 0.9)], looked_at(1.0, 0.1, 0.2), goal="pareto")
    assert not Looks().next_budget(StudyConfig(), beaten).off_front


def test_on_a_front_what_is_beaten_but_near_the_target_may_still_be_changed() -> None:
    passed = [Judged(6_000, 19, full=Look(19, 0.015, 0.996))]
    design = Judged(7_000, 19, (Look(3.0, 0.03, 0.99),))
    near = replace(
        standing(goal="pareto"), design=design, passed=passed,
        loss=lambda judged: 0.015 if judged.full else 0.02,
    )  # fmt: skip
    decision = Looks().next_budget(StudyConfig(), near)
    assert decision.reason.startswith("one that passes has 6,000 parameters")
    assert not decision.off_front


def test_a_lucky_design_beats_none_that_is_expected_to_be_as_good_as_it_is() -> None:
    """It measured 0.015, and another seed is expected to measure 0.021: so 0.02 is better."""
    passed = [Judged(6_000, 19, full=Look(19, 0.015, 0.996))]
    design = Judged(7_000, 19, (Look(3.0, 0.03, 0.99),))
    near = replace(
        standing(goal="pareto"), design=design, passed=passed,
        loss=lambda judged: 0.021 if judged.full else 0.02,
    )  # fmt: skip
    assert Looks().next_budget(StudyConfig(), near).budget is not None


def test_a_design_that_the_goal_cannot_want_is_not_even_looked_at() -> None:
    config, schedule = StudyConfig(goal="smallest"), Looks()
    fresh = standing(goal="smallest")
    assert schedule.next_budget(config, fresh).budget == Budget(1, 12_500, look=0.25)
    passed = [Judged(6_000, 19, full=Look(19, 0.02, 0.994))]
    late = replace(fresh, passed=passed)
    reason = "not smaller than one that passes (6,000 parameters)"
    assert schedule.next_budget(config, late) == Decision(None, reason)


def test_looks_are_shorter_than_the_design_s_own_training() -> None:
    looks = [Look(0.25, 0.02, 0.99), Look(1.0, 0.02, 0.99)]
    short = standing(looks, looked_at(1.0, 0.2, 0.3), goal="fastest", epochs=3)
    assert Looks().next_budget(StudyConfig(goal="fastest"), short) == Decision(Budget(3))


def test_what_is_compared_is_what_was_known_at_the_same_look() -> None:
    """A design that was poor after one epoch, but good after three, is compared by the one."""
    looks = (Look(1.0, 0.9, 0.9), Look(3.0, 0.01, 0.9))
    others = [Judged(6_000, 19, looks)] * 2
    decision = Looks().next_budget(StudyConfig(), standing([Look(1.0, 0.5, 0.9)], others))
    assert decision.budget == Budget(3, None, (), look=3.0)


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
    assert all(rung < epochs for rung in Halving().rungs(epochs))
