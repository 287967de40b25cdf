"""Bounds, comparisons and corrections, against SciPy, by hand, and by simulation near 99.4 %."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks import coverage
from benchmarks.coverage import Images, accuracies_of
from search.statistics import confidence

IMAGES, TARGET = 10_000, 0.994
RUNS = [0.9951, 0.9957, 0.9946, 0.9953, 0.9949]

accuracies = st.lists(
    st.integers(0, IMAGES).map(lambda right: right / IMAGES), min_size=2, max_size=8
)
"""Accuracies of a few runs."""


def bound(values: list[float], images: int = IMAGES) -> float:
    """The bound over seeds and images, without answers."""
    return confidence.lower_bound(float(np.mean(values)), confidence.on_test(values, images))


def seeds_bound(values: list[float]) -> float:
    return confidence.lower_bound(float(np.mean(values)), confidence.over_runs(values))


def test_the_bound_over_seeds_is_scipys() -> None:
    oracle = stats.ttest_1samp(RUNS, 0.5, alternative="greater").confidence_interval(0.95).low
    assert seeds_bound(RUNS) == pytest.approx(oracle, abs=1e-11)


def test_the_p_value_over_seeds_is_scipys() -> None:
    oracle = stats.ttest_1samp(RUNS, TARGET, alternative="greater").pvalue
    spread = confidence.over_runs(RUNS)
    assert confidence.p_value(float(np.mean(RUNS)), spread, TARGET) == pytest.approx(oracle)


@pytest.mark.parametrize("accuracy", [0.2, 0.9, 0.9953, 1.0])
@pytest.mark.parametrize("answers", [False, True])
def test_equal_seeds_leave_wilsons_bound_of_one_run(accuracy: float, answers: bool) -> None:
    wrong = set(range(round((1 - accuracy) * IMAGES)))
    spread = confidence.on_test([accuracy] * 5, IMAGES, [wrong] * 5 if answers else None)
    oracle = stats.binomtest(round(accuracy * IMAGES), IMAGES).proportion_ci(0.90, "wilson").low
    found = confidence.lower_bound(accuracy, spread)
    assert found == pytest.approx(oracle, abs=2e-6)  # Student's t on 9,999 degrees, not normal


def test_many_images_leave_the_bound_over_seeds() -> None:
    assert bound(RUNS, 10**15) == pytest.approx(seeds_bound(RUNS), abs=1e-9)


def test_the_bound_solves_its_equation() -> None:
    found = bound(RUNS)
    seeds, images = np.var(RUNS, ddof=1) / 5, found * (1 - found) / IMAGES
    freedom = (seeds + images) ** 2 / (seeds**2 / 4 + images**2 / (IMAGES - 1))
    distance = stats.t.ppf(0.95, freedom) * math.sqrt(seeds + images)
    assert np.mean(RUNS) - found == pytest.approx(distance, abs=1e-10)


@given(accuracies)
def test_the_bound_lies_between_nothing_and_the_mean(values: list[float]) -> None:
    assert 0 <= bound(values) <= np.mean(values) + 1e-9


@given(accuracies, st.floats(0.5, 1 - 1e-4))
def test_a_p_value_is_below_5_percent_where_the_bound_is_above_the_target(
    values: list[float], target: float
) -> None:
    spread, mean = confidence.on_test(values, IMAGES), float(np.mean(values))
    found = confidence.lower_bound(mean, spread)
    if abs(found - target) > 1e-9:
        assert (confidence.p_value(mean, spread, target) < 0.05) == (found > target)


def test_without_any_spread_a_mean_speaks_for_itself() -> None:
    nothing = confidence.over_runs([0.995, 0.995])
    assert confidence.lower_bound(0.995, nothing) == 0.995
    assert confidence.p_value(0.995, nothing, 0.994) == 0
    assert confidence.p_value(0.993, nothing, 0.994) == 1


def test_fewer_images_prove_less() -> None:
    bounds = [bound(RUNS, images) for images in (100, 1_000, 10_000)]
    assert bounds == sorted(bounds)


def test_a_two_way_table_by_hand() -> None:
    """Two runs, three images: 1 0 0 and 1 1 0; means 1/3, 2/3 and 1, 1/2, 0; of all 1/2."""
    table = confidence.two_way([{7: 1}, {7: 1, 9: 1}], 3)
    assert table.mean == pytest.approx(1 / 2)
    assert table.of_runs == pytest.approx(3 * 2 * (1 / 6) ** 2)
    assert table.of_images == pytest.approx(2 * (1 / 4 + 0 + 1 / 4) / 2)
    assert table.rest == pytest.approx((3 / 2 - 1 / 6 - 1) / 2)


@given(
    st.integers(2, 5).flatmap(
        lambda runs: st.lists(
            st.lists(st.integers(-1, 1), min_size=6, max_size=6), min_size=runs, max_size=runs
        )
    )
)
def test_a_two_way_table_is_the_analysis_of_variance(values: list[list[int]]) -> None:
    cells = np.array(values, float)  # [runs, images]
    named = [{image: value for image, value in enumerate(run) if value} for run in values]
    table = confidence.two_way(named, 6)
    by_run, by_image = cells.mean(1, keepdims=True), cells.mean(0, keepdims=True)
    rest = cells - by_run - by_image + cells.mean()
    assert table.mean == pytest.approx(cells.mean())
    assert table.of_runs == pytest.approx(6 * by_run.var(ddof=1), abs=1e-9)
    assert table.of_images == pytest.approx(len(cells) * by_image.var(ddof=1), abs=1e-9)
    assert table.rest == pytest.approx((rest**2).sum() / (5 * (len(cells) - 1)), abs=1e-9)


@pytest.mark.parametrize("shared", [0.2, 0.55, 0.9])
def test_the_shared_part_of_errors_is_found(shared: float) -> None:
    generator = np.random.default_rng(0)
    studies = coverage.on_test(Images(shared=shared), 0.0, 5, 100, generator)
    found = [confidence.shared_errors(runs, IMAGES) for runs in studies]
    assert np.mean(found) == pytest.approx(shared, abs=0.03)


def test_what_all_seeds_misread_is_shared_and_what_each_misreads_alone_is_not() -> None:
    assert confidence.shared_errors([{1, 2, 3}] * 4, IMAGES) == pytest.approx(1)
    assert confidence.shared_errors([{1, 2}, {3, 4}, {5, 6}], IMAGES) == 0


def test_answers_prove_more_than_the_worst_case() -> None:
    runs = [set(range(40)) | set(range(1_000 * seed, 1_000 * seed + 10)) for seed in range(1, 6)]
    values = accuracies_of(runs)
    with_answers = confidence.on_test(values, IMAGES, runs)
    assert with_answers(TARGET)[0] < confidence.on_test(values, IMAGES)(TARGET)[0]


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize(("shared", "luck"), [(0.2, 0.1), (0.55, 0.1), (0.9, 0.0)])
def test_a_design_at_the_target_is_proven_in_5_percent_of_studies_at_most(
    seeds: int, shared: float, luck: float
) -> None:
    generator = np.random.default_rng(seeds)
    images = Images(1 - TARGET, shared)
    truth, wrong = images.accuracy(luck, generator), 0
    for runs in coverage.on_test(images, luck, seeds, 800, generator):
        values = accuracies_of(runs)
        mean = float(np.mean(values))
        spreads = confidence.on_test(values, IMAGES, runs), confidence.over_runs(values)
        wrong += all(confidence.p_value(mean, each, truth) <= 0.05 for each in spreads)
    assert wrong <= stats.binom.ppf(0.99, 800, 0.055)


def test_the_bound_over_seeds_alone_would_exceed_the_truth_too_often() -> None:
    studies = coverage.on_test(Images(1 - TARGET), 0.0, 5, 500, np.random.default_rng(0))
    bounds = [seeds_bound(accuracies_of(runs)) for runs in studies]
    assert np.mean(np.array(bounds) > TARGET) > 0.15


def test_the_spread_of_folds_by_hand() -> None:
    values = [0.995, 0.994, 0.996, 0.994]  # variance 11/12 e-6
    between = 11 / 12 * 1e-6
    variance, freedom = confidence.on_folds(values, IMAGES)(0.995)
    within = 0.995 * 0.005 / IMAGES
    assert freedom == 3
    assert variance == pytest.approx((between + between - within) / 4)
    few, _ = confidence.on_folds(values, 100)(0.995)
    assert few == pytest.approx(0.995 * 0.005 / 100 / 4)  # the images say it all


@pytest.mark.parametrize("luck", [0.0, 0.0005, 0.001])
@pytest.mark.parametrize("of_sets", [0.0, 0.0002])
def test_folds_prove_a_design_at_the_target_in_5_percent_of_studies_at_most(
    luck: float, of_sets: float
) -> None:
    studies = coverage.on_folds(TARGET, luck, of_sets, 3_000, np.random.default_rng(1))
    wrong = [
        confidence.p_value(values.mean(), confidence.on_folds(values, IMAGES), TARGET) <= 0.05
        for values in studies
    ]
    assert np.mean(wrong) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 3_000)


def test_folds_reach_closer_than_the_same_number_of_seeds_on_one_test_set() -> None:
    generator = np.random.default_rng(2)
    runs = next(coverage.on_test(Images(0.005), 0.1, 6, 1, generator))
    values = accuracies_of(runs)
    on_folds = confidence.on_folds(values, IMAGES)(0.995)[0]
    assert on_folds < confidence.on_test(values, IMAGES, runs)(0.995)[0]


def test_holm_by_hand() -> None:
    assert confidence.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert confidence.holm([0.02]) == [0.02]
    assert confidence.holm([0.9, 0.8]) == [1.0, 1.0]
    assert confidence.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_calls_proven_what_its_steps_do(values: list[float]) -> None:
    proven: set[int] = set()
    for place, index in enumerate(np.argsort(values, kind="stable")):
        if values[index] * (len(values) - place) > 0.05:
            break
        proven.add(int(index))
    found = {index for index, p in enumerate(confidence.holm(values)) if p <= 0.05}
    assert found == proven


def test_a_comparison_over_seeds_is_scipys_paired_t_test() -> None:
    first, second = RUNS, [0.9948, 0.9950, 0.9947, 0.9944, 0.9946]
    found = confidence.compare(first, second)
    gaps = np.subtract(first, second)
    low, high = stats.t.interval(0.95, 4, gaps.mean(), stats.sem(gaps))
    assert found.seeds == 5
    assert found.difference == pytest.approx(gaps.mean())
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)
    assert found.p_value == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue)


@pytest.mark.parametrize("gap", [0.0, 0.001])
def test_equal_differences_have_no_interval(gap: float) -> None:
    found = confidence.compare(RUNS, np.subtract(RUNS, gap).tolist())
    assert found.difference == pytest.approx(gap)
    assert found.low is found.high is found.p_value is None


def test_a_comparison_needs_two_seeds() -> None:
    assert confidence.compare([], []) == confidence.Comparison(0, None)
    one = confidence.compare([0.995], [0.994])
    assert one.difference == pytest.approx(0.001)
    assert one.low is one.high is one.p_value is None
    for how in (confidence.compare_answers, confidence.compare_folds):
        assert how([], [], IMAGES) == confidence.Comparison(0, None)
        assert how([{1}], [{1, 2, 3}], IMAGES) == confidence.Comparison(1, 2 / IMAGES)


def test_equal_answers_have_no_interval() -> None:
    runs = [{1, 2}, {1, 3}]
    for how in (confidence.compare_answers, confidence.compare_folds):
        assert how(runs, runs, IMAGES) == confidence.Comparison(2, 0.0)


def test_a_comparison_of_one_seeds_answers_many_times_is_mcnemars() -> None:
    """Each run the same: only the images vary, and the variance is that of discordant pairs."""
    first, second = set(range(30)), set(range(20, 65))
    found = confidence.compare_answers([first] * 4, [second] * 4, IMAGES)
    better, worse = 35, 20
    assert found.difference == pytest.approx((better - worse) / IMAGES)
    score = (better - worse) / math.sqrt(better + worse - (better - worse) ** 2 / IMAGES)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(score), rel=0.01)
    assert found.any_images
    assert found.low is not None
    assert found.low < 15 / IMAGES


def test_swapped_designs_differ_by_the_opposite() -> None:
    pair = next(coverage.two_designs(Images(), 0.1, 1.0, 4, 1, np.random.default_rng(3)))
    for how in (confidence.compare_answers, confidence.compare_folds):
        one, other = how(*pair, IMAGES), how(*pair[::-1], IMAGES)
        assert one.difference is not None
        assert one.low is not None
        assert other.difference == pytest.approx(-one.difference)
        assert other.high == pytest.approx(-one.low)
        assert other.p_value == pytest.approx(one.p_value)


@pytest.mark.parametrize("seeds", [2, 5])
@pytest.mark.parametrize("apart", [0.5, 2.0])
def test_equal_designs_are_told_apart_in_5_percent_of_studies(seeds: int, apart: float) -> None:
    generator = np.random.default_rng(seeds)
    wrong = 0
    for pair in coverage.two_designs(Images(), 0.1, apart, seeds, 500, generator):
        found = confidence.compare_answers(*pair, IMAGES)
        wrong += found.p_value is not None and found.p_value < 0.05
    assert wrong <= stats.binom.ppf(0.99, 500, 0.05)


def test_equal_designs_are_told_apart_by_folds_in_5_percent_of_studies() -> None:
    generator = np.random.default_rng(4)
    wrong = 0
    for _ in range(500):
        parts = [next(coverage.two_designs(Images(), 0.1, 1.0, 1, 1, generator)) for _ in range(6)]
        first, second = ([pair[side][0] for pair in parts] for side in (0, 1))
        found = confidence.compare_folds(first, second, IMAGES)
        wrong += found.p_value is not None and found.p_value < 0.05
    assert wrong <= stats.binom.ppf(0.99, 500, 0.05)
