"""Which runs a race wants, run by run, with accuracies that are given."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from search.confirmation.finalists import finalist_of
from search.confirmation.racing import MOST_TRIES, Race
from search.final_run import Finalist, FinalRun, Order
from tests.search.studies import EASY, final_run, small, trial

TARGET = 0.994
A, B, C, D = (finalist_of(trial(n, small(n), 0.995), EASY) for n in (4, 6, 8, 10))
BASELINE = finalist_of(trial(12, small(12), 0.996), EASY)


def done(finalist: Finalist, index: int, accuracy: float | None, judge: str = "test") -> FinalRun:
    return final_run(
        finalist.trial, index, accuracy, design=finalist.design, judge=judge,
        misread=(),
    )  # fmt: skip


def race(*candidates: Finalist, seeds: int = 3, others: tuple[Finalist, ...] = ()) -> Race:
    return Race({"smallest": candidates}, others, (BASELINE,), seeds, TARGET)


def places(orders: list[Order]) -> list[tuple[int, int]]:
    return [(order.finalist.trial, order.index) for order in orders]


def run_all(
    of: Race, accuracy: Callable[[Order], float | None], most: int = 100
) -> list[tuple[int, int]]:
    """Do what a race wants, one run at a time; returns what was run."""
    runs: list[FinalRun] = []
    order_of_runs = []
    while (orders := of.wanted(runs)) and most:
        order, most = orders[0], most - 1
        runs.append(done(order.finalist, order.index, accuracy(order)))
        order_of_runs.append((order.finalist.trial, order.index))
    return order_of_runs


def test_wanted_goes_seed_by_seed_over_the_first_candidates_and_the_others() -> None:
    of = Race({"a": [A, B], "b": [B], "c": [A]}, (C,), (BASELINE,), 2, TARGET)
    assert places(of.wanted([])) == [(n, seed) for seed in (0, 1) for n in (4, 6, 8, 12)]
    kept = [done(A, 0, 0.995), done(B, 1, 0.995)]
    assert places(of.wanted(kept)) == [(6, 0), (8, 0), (12, 0), (4, 1), (8, 1), (12, 1)]


def test_a_confirmed_candidate_ends_the_race() -> None:
    ran = run_all(race(A, B, C), lambda _: 0.9941)
    assert {number for number, _ in ran} == {4, 12}
    assert len(ran) == 6


def test_the_next_is_tried_where_the_mean_is_below_the_target() -> None:
    accuracies = {4: 0.9938, 6: 0.9939, 8: 0.9940, 12: 0.996}  # near, so that none is dropped early
    ran = run_all(race(A, B, C, D), lambda order: accuracies[order.finalist.trial])
    assert [number for number, _ in ran if number != 12] == [4] * 3 + [6] * 3 + [8] * 3


def test_a_hopeless_candidate_is_dropped_after_one_seed() -> None:
    accuracies = {4: 0.9920, 6: 0.9945, 12: 0.996}
    ran = run_all(race(A, B), lambda order: accuracies[order.finalist.trial])
    assert [number for number, _ in ran if number != 12] == [4, 6, 6, 6]


def test_where_all_candidates_are_out_the_baseline_alone_runs() -> None:
    ran = run_all(race(A, B), lambda order: 0.98 if order.finalist != BASELINE else 0.996)
    assert sorted(ran) == [(4, 0), (6, 0), (12, 0), (12, 1), (12, 2)]


@pytest.mark.parametrize("chosen", [(), (A,)])
def test_designs_that_were_asked_for_run_all_seeds_however_poor(chosen: tuple[Finalist]) -> None:
    of = Race({}, chosen, (BASELINE,), 3, TARGET)
    assert len(run_all(of, lambda _: 0.5)) == 3 * (1 + len(chosen))


def test_a_failed_run_puts_a_candidate_out() -> None:
    of = race(A, B)
    assert places(of.wanted([done(A, 0, None)]))[0] == (6, 0)


def test_a_candidate_of_two_answers_is_run_once() -> None:
    of = Race({"a": [A], "b": [A]}, (), (), 1, TARGET)
    assert places(of.wanted([])) == [(4, 0)]
    assert of.tried([]) == [A]


def test_runs_by_another_judge_do_not_count() -> None:
    kept = [done(A, 0, 0.5, judge="folds")]
    assert places(race(A).wanted(kept))[0] == (4, 0)
    of = Race({"smallest": [A]}, (), (), 6, TARGET, "folds")
    assert places(of.wanted([])) == [(4, fold) for fold in range(6)]
    assert [order.judge for order in of.wanted([])] == ["folds"] * 6


def test_more_seeds_reopen_what_more_seeds_may_change() -> None:
    kept = [done(A, seed, 0.9938) for seed in range(3)]
    assert places(race(A, B).wanted(kept))[0] == (6, 0)
    assert places(race(A, B, seeds=10).wanted(kept))[0] == (12, 0)
    assert (4, 3) in places(race(A, B, seeds=10).wanted(kept))


def test_tried_are_the_chosen_that_have_runs_or_are_to_have_one() -> None:
    of = race(A, B, C, others=(D,))
    assert [f.trial for f in of.tried([])] == [4, 10]
    assert [f.trial for f in of.tried([done(A, 0, 0.9)])] == [4, 6, 10]


def test_tries_are_few() -> None:
    assert MOST_TRIES == 4
