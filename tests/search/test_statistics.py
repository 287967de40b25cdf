from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from search import statistics

IMAGES, TARGET = 10_000, 0.994
RUNS = [0.9951, 0.9957, 0.9946, 0.9953, 0.9949]

accuracies = st.lists(
    st.integers(0, IMAGES).map(lambda right: right / IMAGES), min_size=2, max_size=8
)
"""Accuracies of a few runs."""


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


def test_the_bound_over_seeds_is_scipys() -> None:
    oracle = stats.ttest_1samp(RUNS, 0.5, alternative="greater").confidence_interval(0.95).low
    assert statistics.seeds_lower_bound(RUNS) == pytest.approx(oracle, abs=1e-12)
    low, _ = stats.t.interval(0.90, 4, np.mean(RUNS), stats.sem(RUNS))
    assert statistics.seeds_lower_bound(RUNS) == pytest.approx(low, abs=1e-12)


@pytest.mark.parametrize("values", [[], [0.995]])
def test_fewer_than_two_seeds_have_no_bound(values: list[float]) -> None:
    assert statistics.seeds_lower_bound(values) is None
    assert statistics.lower_bound(values, IMAGES) is None


@pytest.mark.parametrize("accuracy", [0.2, 0.9, 0.9953, 1.0])
def test_equal_seeds_leave_wilsons_bound_of_one_run(accuracy: float) -> None:
    bound = statistics.lower_bound([accuracy] * 5, IMAGES)
    oracle = stats.binomtest(round(accuracy * IMAGES), IMAGES).proportion_ci(0.90, "wilson").low
    assert bound == pytest.approx(oracle, abs=2e-6)  # Student's t on 9,999 degrees, not normal


def test_many_images_leave_the_bound_over_seeds() -> None:
    assert statistics.lower_bound(RUNS, 10**15) == pytest.approx(
        statistics.seeds_lower_bound(RUNS), abs=1e-9
    )


def test_the_bound_solves_its_equation() -> None:
    bound = statistics.lower_bound(RUNS, IMAGES)
    assert bound is not None
    seeds, images = np.var(RUNS, ddof=1) / 5, bound * (1 - bound) / IMAGES
    freedom = (seeds + images) ** 2 / (seeds**2 / 4 + images**2 / (IMAGES - 1))
    distance = stats.t.ppf(0.95, freedom) * math.sqrt(seeds + images)
    assert np.mean(RUNS) - bound == pytest.approx(distance, abs=1e-10)


@given(accuracies)
def test_the_bound_lies_between_nothing_and_the_mean(values: list[float]) -> None:
    bound = statistics.lower_bound(values, IMAGES)
    assert bound is not None
    assert 0 <= bound <= np.mean(values) + 1e-9


def test_fewer_images_prove_less() -> None:
    bounds = [statistics.lower_bound(RUNS, images) or 0 for images in (100, 1_000, 10_000)]
    assert bounds == sorted(bounds)


def test_a_proof_needs_both_bounds() -> None:
    two_far_apart = [0.9960, 0.9975]
    assert (statistics.lower_bound(two_far_apart, IMAGES) or 0) > TARGET
    assert (statistics.seeds_lower_bound(two_far_apart) or 1) < TARGET
    assert not statistics.verdict(two_far_apart, TARGET, IMAGES).proven


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_the_bound_exceeds_a_truth_at_the_target_in_5_percent_at_most(
    seeds: int, shared: float
) -> None:
    generator = np.random.default_rng(seeds)
    studies = shared_test_runs(1 - TARGET, shared, 4_000, seeds, generator)
    exceeding = np.mean([(statistics.lower_bound(runs, IMAGES) or 0) > TARGET for runs in studies])
    assert exceeding <= 0.055


def test_the_bound_over_seeds_alone_would_exceed_the_truth_too_often() -> None:
    studies = shared_test_runs(1 - TARGET, 0.5, 4_000, 5, np.random.default_rng(0))
    bounds = [statistics.seeds_lower_bound(runs) or 0 for runs in studies]
    assert np.mean(np.array(bounds) > TARGET) > 0.15


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


def test_a_comparison_is_scipys_paired_t_test() -> None:
    first, second = RUNS, [0.9948, 0.9950, 0.9947, 0.9944, 0.9946]
    found = statistics.compare(first, second)
    gaps = np.subtract(first, second)
    low, high = stats.t.interval(0.95, 4, gaps.mean(), stats.sem(gaps))
    assert found.seeds == 5
    assert found.difference == pytest.approx(gaps.mean())
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)
    assert found.p_value == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue)


@pytest.mark.parametrize("gap", [0.0, 0.001])
def test_equal_differences_have_no_interval(gap: float) -> None:
    found = statistics.compare(RUNS, np.subtract(RUNS, gap).tolist())
    assert found.difference == pytest.approx(gap)
    assert found.low is found.high is found.p_value is None


def test_a_comparison_needs_two_seeds() -> None:
    assert statistics.compare([], []) == statistics.Comparison(0, None)
    one = statistics.compare([0.995], [0.994])
    assert one.difference == pytest.approx(0.001)
    assert one.low is one.high is one.p_value is None


@pytest.mark.parametrize("count", [1, 2, 7, 50])
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
