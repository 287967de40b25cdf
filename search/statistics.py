"""Statistics of confirmation: how sure a mean over seeds is, and how much of a choice was luck.

Pure functions of numbers. Accuracies are shares in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy import optimize, special, stats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a design's runs on fresh seeds came to.

    `seeds` counts the runs, `failed_seeds` those without an accuracy (diverged, out of memory),
    which count as not passed and leave the design neither confirmed nor proven. The figures are
    None where there are too few runs for them. `confirmed`: the mean reaches the target;
    `proven`: both lower bounds do.
    """

    seeds: int
    failed_seeds: int
    test_accuracy: float | None
    test_deviation: float | None
    test_minimum: float | None
    pass_share: float
    lower_bound: float | None
    lower_bound_seeds: float | None
    confirmed: bool
    proven: bool


def verdict(accuracies: Sequence[float | None], target: float, images: int) -> Verdict:
    """Judge a design by its runs' accuracies on `images` test images; None is a failed run."""
    values = [value for value in accuracies if value is not None]
    whole = bool(values) and len(values) == len(accuracies)
    right = sum(round(value * images) for value in values)
    reached = right >= Fraction(str(target)) * images * len(values)  # exact, unlike a float mean
    mean = float(np.mean(values)) if values else None
    bound, seeds_bound = lower_bound(values, images), seeds_lower_bound(values)
    proven = bound is not None and seeds_bound is not None and min(bound, seeds_bound) >= target
    return Verdict(
        seeds=len(accuracies),
        failed_seeds=len(accuracies) - len(values),
        test_accuracy=mean,
        test_deviation=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        test_minimum=min(values, default=None),
        pass_share=sum(value >= target for value in values) / max(len(accuracies), 1),
        lower_bound=bound,
        lower_bound_seeds=seeds_bound,
        confirmed=whole and reached,
        proven=whole and proven,
    )


def seeds_lower_bound(values: Sequence[float]) -> float | None:
    """One-sided 95 % Student-t lower bound of the mean over seeds; None for fewer than two.

    It speaks of the test images at hand only: every seed is judged on the same ones.
    """
    if len(values) < 2:
        return None
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(np.mean(values)) - float(special.stdtrit(len(values) - 1, CONFIDENCE)) * error


def lower_bound(values: Sequence[float], images: int) -> float | None:
    """One-sided 95 % lower bound b of the mean accuracy on any images; None for fewer than two.

    All seeds share the test images, so both are sampled: b solves mean - b = t * error with
    error^2 = s^2 / n + b (1 - b) / images. The second term, at the bound itself as in the score
    interval of Wilson (1927, JASA 22:209), is the variance if all seeds erred on the same images,
    which is the worst case; t has the degrees of freedom of Welch (1947, Biometrika 34:28) and
    Satterthwaite (1946, Biometrics 2:110).
    """
    if len(values) < 2:
        return None
    mean = float(np.mean(values))
    between_seeds = float(np.var(values, ddof=1)) / len(values)

    def excess(bound: float) -> float:
        between_images = bound * (1 - bound) / images
        variance = between_seeds + between_images
        if variance == 0:
            return mean - bound
        freedom = variance**2 / (
            between_seeds**2 / (len(values) - 1) + between_images**2 / (images - 1)
        )
        return mean - bound - float(special.stdtrit(freedom, CONFIDENCE)) * math.sqrt(variance)

    if excess(0.0) <= 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, min(mean, 1 - 1e-9), xtol=1e-12))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two designs, paired over seeds: the mean difference (first less second), its 95 % interval.

    `low`, `high` and `p_value` (two-sided paired t test) are None where there is no spread to
    judge by: fewer than two seeds, or equal differences.
    """

    seeds: int
    difference: float | None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compare two designs by their accuracies over the same seeds, in the same order.

    It speaks of the test images at hand only.
    """
    gaps = np.subtract(first, second)
    if len(gaps) == 0:
        return Comparison(0, None)
    if len(gaps) < 2 or np.ptp(gaps) < 1e-12:
        return Comparison(len(gaps), float(gaps.mean()))
    tested = stats.ttest_rel(first, second)
    low, high = tested.confidence_interval(CONFIDENCE)
    return Comparison(len(gaps), float(gaps.mean()), float(low), float(high), float(tested.pvalue))


def expected_optimism(accuracies: Sequence[float], images: int) -> float | None:
    """How much the best of these accuracies is expected to exceed what its design is worth.

    The optimizer's curse (Smith and Winkler 2006, Management Science 52:311), with the spread of
    true accuracies estimated from the observed one (empirical Bayes): observed = true + noise,
    both normal; the noise variance v is binomial on `images` images, the observed variance w is
    the sample's, and at least v. Given an observation x, the expected noise is v / w times its
    distance from the mean, and the largest of N lies sqrt(w) E_N above it, where E_N is the
    expected maximum of N standard normal variables: v / sqrt(w) * E_N in all. An estimate: noise
    that designs share (hard images) cancels in a choice, which makes it too high; designs that
    were pruned on the same images are not among the N, which makes it too low. None for no
    accuracy.
    """
    if not accuracies:
        return None
    values = np.asarray(accuracies, float)
    noise = float(np.mean(values * (1 - values))) / images
    if len(values) == 1 or noise == 0:
        return 0.0
    observed = max(float(np.var(values, ddof=1)), noise)
    return noise / math.sqrt(observed) * expected_maximum(len(values))


def expected_maximum(count: int) -> float:
    """Expected maximum of `count` independent standard normal variables."""
    largest = stats.order_statistic(stats.Normal(), n=count, r=count)
    return float(largest.mean())


def pareto(points: Sequence[Sequence[float]]) -> list[bool]:
    """Which points no other beats: at least as low in every coordinate and lower in one."""
    table = np.asarray(points, float)  # [points, coordinates]
    return [
        not bool(((table <= point).all(axis=1) & (table < point).any(axis=1)).any())
        for point in table
    ]
