from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from search import statistics
from search.statistics import confidence

IMAGES, TARGET = 10_000, 0.994


def shared_test_runs(
    error: float, shared: float, studies: int, runs: int, generator: np.random.Generator
) -> np.ndarray:
    """Accuracies, [studies, runs], of equal designs that are judged on one test set a study.

    A share `shared` of the errors falls on images that every run gets wrong; the others are
    each run's own. Every run's true accuracy is 1 - error.
    """
    hard = error * shared
    common = generator.binomial(IMAGES, hard, (studies, 1))
    own = generator.binomial(IMAGES - common, (error - hard) / (1 - hard), (studies, runs))
    return np.asarray(1 - (common + own) / IMAGES)


def test_a_proof_needs_both_bounds() -> None:
    two_far_apart = [0.9960, 0.9975]
    found = statistics.verdict(two_far_apart, TARGET, IMAGES)
    assert (found.lower_bound or 0) > TARGET
    assert (found.lower_bound_seeds or 1) < TARGET
    assert not found.proven


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_fifty_equal_designs_below_the_target_yield_a_proof_in_5_percent_of_studies_at_most(
    shared: float,
) -> None:
    generator = np.random.default_rng(1)
    error, designs, studies = 0.0065, 50, 2_000
    validated = 1 - generator.binomial(IMAGES, error, (studies, designs)) / IMAGES
    best = np.argsort(-validated, axis=1)[:, :3]  # [studies, 3]
    passed = np.take_along_axis(validated, best, 1) >= TARGET
    runs = shared_test_runs(error, shared, studies, 15, generator).reshape(studies, 3, 5)
    proven = np.array(
        [[statistics.verdict(list(seeds), TARGET, IMAGES).proven for seeds in s] for s in runs]
    )
    assert passed.any(axis=1).mean() > 0.99  # a search alone finds a design that "passes"
    assert (proven & passed).any(axis=1).mean() <= 0.05


def test_a_verdict_worked_by_hand() -> None:
    found = statistics.verdict([0.994, 0.996, 0.993, 0.997], TARGET, IMAGES)
    assert (found.seeds, found.failed_seeds) == (4, 0)
    assert found.test_accuracy == pytest.approx(0.995)
    assert found.test_deviation == pytest.approx(math.sqrt((1 + 1 + 4 + 4) * 1e-6 / 3))
    assert found.test_minimum == 0.993
    assert found.pass_share == 0.75
    assert found.confirmed
    assert not found.proven
    assert statistics.verdict([0.9965, 0.9966, 0.9967], TARGET, IMAGES).proven


def test_one_seed_can_confirm_and_never_proves() -> None:
    found = statistics.verdict([1.0], TARGET, IMAGES)
    assert found.confirmed
    assert not found.proven
    assert found.test_deviation is found.lower_bound is found.lower_bound_seeds is None


def test_a_mean_at_the_target_confirms() -> None:
    assert statistics.verdict([TARGET, TARGET], TARGET, IMAGES).confirmed


@pytest.mark.parametrize("seeds", range(1, 41))
def test_equal_runs_at_exactly_the_target_are_confirmed_whatever_their_float_mean(
    seeds: int,
) -> None:
    assert statistics.verdict([TARGET] * seeds, TARGET, IMAGES).confirmed
    one_less = [TARGET] * (seeds - 1) + [TARGET - 1 / IMAGES]
    assert not statistics.verdict(one_less, TARGET, IMAGES).confirmed


def test_the_float_mean_of_six_such_runs_lies_below_the_target() -> None:
    assert float(np.mean([TARGET] * 6)) < TARGET  # what a comparison of floats would judge by


@given(st.lists(st.integers(0, 60), min_size=1, max_size=60), st.integers(9_900, 10_000))
def test_confirmation_is_a_comparison_of_whole_numbers(wrong: list[int], least: int) -> None:
    values = [(IMAGES - count) / IMAGES for count in wrong]
    right = sum(IMAGES - count for count in wrong)
    found = statistics.verdict(values, least / IMAGES, IMAGES)
    assert found.confirmed == (right >= least * len(wrong))


def test_a_verdict_by_folds_is_that_of_its_spread() -> None:
    values = [0.9950, 0.9944, 0.9958, 0.9947, 0.9951, 0.9950]
    found = statistics.verdict(values, TARGET, IMAGES, "folds")
    spread = confidence.on_folds(values, IMAGES)
    assert found.lower_bound == confidence.lower_bound(float(np.mean(values)), spread)
    assert found.seeds_error is not None
    assert found.images_error is not None
    assert found.images_error == pytest.approx(math.sqrt(0.995 * 0.005 / 60_000))
    both = math.hypot(found.seeds_error, found.images_error)
    assert both == pytest.approx(math.sqrt(spread(0.995)[0]))
    assert found.shared_errors is None


def test_the_causes_add_up_to_the_spread_that_is_judged_by() -> None:
    runs = [set(range(40)) | {100 + seed, 200 + seed} for seed in range(3)]
    found = statistics.verdict([0.9958] * 3, TARGET, IMAGES, misread=runs)
    variance, _ = confidence.on_test([0.9958] * 3, IMAGES, runs)(0.9958)
    assert found.seeds_error is not None
    assert found.images_error is not None
    assert math.hypot(found.seeds_error, found.images_error) == pytest.approx(math.sqrt(variance))


def test_verdicts_are_corrected_together() -> None:
    sure = statistics.verdict([0.9975, 0.9976, 0.9974], TARGET, IMAGES)
    near = statistics.verdict([0.9952, 0.9953, 0.9954], TARGET, IMAGES)
    failed = statistics.verdict([0.9975, None, 0.9976, 0.9974], TARGET, IMAGES)
    one = statistics.verdict([0.998], TARGET, IMAGES)
    assert sure.proven
    assert near.proven
    found = statistics.corrected([near, sure, failed, one])
    assert [v.proven for v in found] == [False, True, False, False]
    assert found[0].p_holm == pytest.approx(3 * (near.p_value or 0))
    assert found[1].p_holm == pytest.approx(4 * (sure.p_value or 0))
    assert found[3].p_holm is None
    assert statistics.corrected([near])[0] == near


def test_several_designs_at_the_target_yield_a_proof_in_5_percent_of_studies_at_most() -> None:
    generator = np.random.default_rng(5)
    runs = shared_test_runs(1 - TARGET, 0.5, 1_500, 20, generator).reshape(-1, 4, 5)
    wrong = [
        any(
            v.proven
            for v in statistics.corrected(
                [statistics.verdict(list(seeds), TARGET, IMAGES) for seeds in study]
            )
        )
        for study in runs
    ]
    assert np.mean(wrong) <= 0.05


@pytest.mark.parametrize(
    ("values", "seeds", "hopeless"),
    [
        ([], 3, False),
        ([0.9930], 3, False),  # 1.645 * 0.08 * sqrt(1 - 1/3) = 0.107 points below is the limit
        ([0.9929], 3, True),
        ([0.9935, 0.9935], 3, False),  # 1.645 * 0.08 * sqrt(1/2 - 1/3) = 0.054
        ([0.9934, 0.9934], 3, True),
        ([0.9939], 1, True),  # nothing is left to come
        ([0.9940], 1, False),
    ],
)
def test_hopeless_by_hand(values: list[float], seeds: int, hopeless: bool) -> None:
    assert statistics.is_hopeless(values, seeds, TARGET, IMAGES, "test") == hopeless


def test_by_folds_less_is_hopeless_because_images_differ_too() -> None:
    assert statistics.is_hopeless([0.9927], 6, TARGET, IMAGES, "test")
    assert not statistics.is_hopeless([0.9927], 6, TARGET, IMAGES, "folds")


def test_a_failed_run_is_not_passed_and_confirms_nothing() -> None:
    found = statistics.verdict([0.998, None, 0.998], TARGET, IMAGES)
    assert (found.seeds, found.failed_seeds) == (3, 1)
    assert found.pass_share == pytest.approx(2 / 3)
    assert found.test_accuracy == pytest.approx(0.998)
    assert not found.confirmed
    assert not found.proven
    nothing = statistics.verdict([None], TARGET, IMAGES)
    assert nothing.test_accuracy is nothing.test_minimum is None
    assert not nothing.confirmed


@pytest.mark.parametrize("count", [1, 2, 7, 50, 1_000])
def test_the_expected_maximum_is_its_integral(count: int) -> None:
    def moment(x: float) -> float:
        return float(x * count * stats.norm.pdf(x) * stats.norm.cdf(x) ** (count - 1))

    oracle, _ = integrate.quad(moment, -12, 12)
    assert statistics.expected_maximum(count) == pytest.approx(oracle, abs=1e-9)


def test_equal_designs_flatter_by_the_expected_maximum_of_their_noise() -> None:
    equal = [0.9934, 0.9935, 0.9936] * 10
    noise = math.sqrt(np.mean([a * (1 - a) for a in equal]) / IMAGES)
    expected = noise * statistics.expected_maximum(30)
    assert statistics.expected_optimism(equal, IMAGES) == pytest.approx(expected)


@pytest.mark.parametrize("spread", [0.0005, 0.001, 0.003])
def test_optimism_agrees_with_a_simulation_of_choosing_the_best(spread: float) -> None:
    generator = np.random.default_rng(2)
    true = generator.normal(0.99, spread, (20_000, 30))  # [studies, designs]
    observed = generator.normal(true, np.sqrt(0.99 * 0.01 / IMAGES))
    best = observed.argmax(axis=1, keepdims=True)
    measured = np.take_along_axis(observed - true, best, 1).mean()
    estimates = [statistics.expected_optimism(list(study), IMAGES) for study in observed[:300]]
    assert np.mean(np.array(estimates, float)) == pytest.approx(measured, rel=0.06)


def test_no_choice_no_optimism() -> None:
    assert statistics.expected_optimism([], IMAGES) is None
    assert statistics.expected_optimism([0.99], IMAGES) == 0
    assert statistics.expected_optimism([1.0, 1.0], IMAGES) == 0


def test_the_pareto_front_by_hand() -> None:
    points = [(-0.995, 100, 9), (-0.994, 50, 9), (-0.993, 60, 9), (-0.995, 100, 9), (-0.9, 99, 1)]
    assert statistics.pareto(points) == [True, True, False, True, True]
    assert statistics.pareto([]) == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_every_point_off_the_front_is_beaten_by_one_on_it(
    points: list[tuple[int, int, int]],
) -> None:
    on_front = statistics.pareto(points)
    front = [point for point, on in zip(points, on_front, strict=True) if on]
    for point, on in zip(points, on_front, strict=True):
        beaten = any(other != point and np.all(np.less_equal(other, point)) for other in front)
        assert on != beaten
