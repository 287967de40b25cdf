"""Confidence: how sure a mean accuracy over a design's runs is, given what the runs share.

Pure functions of numbers. Accuracies are shares in [0, 1]. A run's misread images are a set of
their numbers. `python -m benchmarks.coverage` measures how often the bounds hold.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

CONFIDENCE = 0.95

Spread = Callable[[float], tuple[float, float]]
"""The variance of a mean accuracy, were the truth so high, and its degrees of freedom."""


@dataclass(frozen=True, slots=True)
class TwoWay:
    """The mean squares of a table of runs by images, one value a cell, and its mean.

    A value is a run's luck, plus an image's hardness, plus the rest; a mean square over runs
    expects `images` times the variance of the first, one over images `runs` times that of the
    second, each plus the variance of the rest (Searle, Casella and McCulloch, Variance
    Components, 1992, section 4.3).
    """

    runs: int
    images: int
    mean: float
    of_runs: float
    of_images: float
    rest: float

    @property
    def shared(self) -> float:
        """The share in [0, 1] of a value's variance that is the image's, the same in every run."""
        by_image = max(0.0, (self.of_images - self.rest) / self.runs)
        by_run = max(0.0, (self.of_runs - self.rest) / self.images)
        return by_image / ((by_image + by_run + self.rest) or 1.0)


def two_way(runs: Sequence[Mapping[int, int]], images: int) -> TwoWay:
    """Analyse at least two runs' values over `images` images; those not named in a run are 0."""
    count = len(runs)
    sums = np.array([sum(run.values()) for run in runs], float)  # [runs]
    by_image: Counter[int] = Counter()
    for run in runs:
        by_image.update(run)  # adds the values, negative ones too
    mean = float(sums.sum()) / (count * images)
    correction = count * images * mean**2
    everything = sum(value**2 for run in runs for value in run.values()) - correction
    over_images = sum(value**2 for value in by_image.values()) / count - correction
    over_runs = float((sums**2).sum()) / images - correction
    freedom = images - 1
    return TwoWay(
        count, images, mean, max(0.0, over_runs / (count - 1)), max(0.0, over_images / freedom),
        max(0.0, (everything - over_images - over_runs) / (freedom * (count - 1))),
    )  # fmt: skip


def on_test(
    accuracies: Sequence[float], images: int, misread: Sequence[Collection[int]] | None = None
) -> Spread:
    """The spread of a mean over at least two seeds that are judged on the same `images` images.

    Its variance at a truth b is s^2 / n + g b (1 - b) / images: the first is the seeds', the second
    the sampling of the images, taken at b itself as in the score interval of Wilson (1927, JASA
    22:209). g is the variance of the images' means over seeds, by the runs' answers, relative to
    p (1 - p); without answers it is 1, as if all seeds erred on the same images, the worst case.
    The rest of a two-way table is counted in both, which is safe by a little (as in Owen 2007,
    Annals of Applied Statistics 1:386). Degrees of freedom by Welch (1947, Biometrika 34:28) and
    Satterthwaite (1946, Biometrics 2:110).
    """
    of_seeds = float(np.var(accuracies, ddof=1)) / len(accuracies)
    share = 1.0 if misread is None else _images_share(misread, images)

    def spread(truth: float) -> tuple[float, float]:
        of_images = share * truth * (1 - truth) / images
        parts = of_seeds**2 / (len(accuracies) - 1) + of_images**2 / (images - 1)
        variance = of_seeds + of_images
        return variance, variance**2 / parts if parts else math.inf

    return spread


def shared_errors(misread: Sequence[Collection[int]], images: int) -> float:
    """The share of the variance of one answer that is the image's, by at least two runs' answers.

    0: each run errs on images of its own; 1: all err on the same ones.
    """
    return two_way([dict.fromkeys(run, 1) for run in misread], images).shared


def _images_share(misread: Sequence[Collection[int]], images: int) -> float:
    table = two_way([dict.fromkeys(run, 1) for run in misread], images)
    answer = table.mean * (1 - table.mean)
    return min(1.0, table.of_images / table.runs / answer) if answer else 1.0


def on_folds(accuracies: Sequence[float], images: int) -> Spread:
    """The spread of a mean over at least two parts of `images` images, each by its own training.

    With K parts and s^2 between their accuracies, its variance at a truth b is
    max(s^2, w) / K + max(0, s^2 - w) / K, with w = b (1 - b) / images what the sampling of a part's
    images alone gives. The second term stands for what K parts cannot show, the training sets that
    they share: Nadeau and Bengio (2003, Machine Learning 52:239) add the share judged / fitted,
    here 1 / K, of the variance; the images' own part is left out of it, for no image is judged
    twice. Student's t with K - 1 degrees of freedom.
    """
    parts, between = len(accuracies), float(np.var(accuracies, ddof=1))

    def spread(truth: float) -> tuple[float, float]:
        within = truth * (1 - truth) / images
        return (max(between, within) + max(0.0, between - within)) / parts, parts - 1

    return spread


def over_runs(accuracies: Sequence[float]) -> Spread:
    """The spread of a mean over at least two runs by Student's t, for the images at hand only."""
    variance = float(np.var(accuracies, ddof=1)) / len(accuracies)
    return lambda _: (variance, len(accuracies) - 1)


def lower_bound(mean: float, spread: Spread) -> float:
    """One-sided 95 % lower bound b of an accuracy: mean - b = t sqrt(variance at b); at least 0."""

    def excess(bound: float) -> float:
        variance, freedom = spread(bound)
        reach = float(scipy.special.stdtrit(freedom, CONFIDENCE)) * math.sqrt(variance)
        return mean - bound - reach

    if excess(0.0) <= 0:
        return 0.0
    top = min(mean, 1 - 1e-9)  # at 1 itself, images have no spread
    return mean if excess(top) >= 0 else float(scipy.optimize.brentq(excess, 0.0, top, xtol=1e-12))


def p_value(mean: float, spread: Spread, target: float) -> float:
    """How likely so high a mean is, at most, for a design whose accuracy is below the target.

    At most 0.05 exactly where the lower bound reaches the target.
    """
    variance, freedom = spread(target)
    if variance == 0:
        return 0.0 if mean >= target else 1.0
    return float(scipy.special.stdtr(freedom, (target - mean) / math.sqrt(variance)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6:65).

    If each that is at most 0.05 is called proven, the chance of a single wrong proof among all is
    at most 5 %, whatever the designs have in common.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p_values[index]))
        corrected[index] = largest
    return corrected


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two designs, paired: the mean difference (first less second) and its 95 % interval.

    `low`, `high` and `p_value` (two-sided) are None where there is no spread to judge by: fewer
    than two runs, or equal differences. `any_images` says whether they speak of any images, or only
    of those at hand.
    """

    seeds: int
    difference: float | None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    any_images: bool = False


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compare two designs by their accuracies over the same seeds: a paired t test.

    It speaks of the images at hand only.
    """
    gaps = np.subtract(first, second)
    if len(gaps) == 0:
        return Comparison(0, None)
    mean = float(gaps.mean())
    if len(gaps) < 2 or np.ptp(gaps) < 1e-12:
        return Comparison(len(gaps), mean)
    tested = scipy.stats.ttest_rel(first, second)
    low, high = tested.confidence_interval(CONFIDENCE)
    return Comparison(len(gaps), mean, float(low), float(high), float(tested.pvalue))


def compare_answers(
    first: Sequence[Collection[int]], second: Sequence[Collection[int]], images: int
) -> Comparison:
    """Compare two designs over the same seeds and the same `images` images, by what they misread.

    The variance of the mean difference is what the two-way table of differences says,
    (of_runs + of_images - rest) / (runs images), and at least that by runs or by images alone.
    """
    if len(first) < 2:
        gaps = [len(b) - len(a) for a, b in zip(first, second, strict=True)]
        return Comparison(len(gaps), gaps[0] / images if gaps else None)
    table = two_way([_gaps(a, b) for a, b in zip(first, second, strict=True)], images)
    sides = (table.of_runs, table.of_images)
    most = max(*sides, sum(sides) - table.rest)
    parts = table.of_runs**2 / (table.runs - 1) + table.of_images**2 / (images - 1)
    freedom = most**2 / parts if parts else 0.0
    return _interval(table.runs, table.mean, most / (table.runs * images), freedom)


def compare_folds(
    first: Sequence[Collection[int]], second: Sequence[Collection[int]], images: int
) -> Comparison:
    """Compare two designs over the same parts of `images` images each, by what they misread.

    The variance is that of `on_folds`, with the differences in place of accuracies.
    """
    gaps = [_gaps(a, b) for a, b in zip(first, second, strict=True)]
    if len(gaps) < 2:
        return compare_answers(first, second, images)
    means = [sum(gap.values()) / images for gap in gaps]
    mean, between = float(np.mean(means)), float(np.var(means, ddof=1))
    apart = sum(len(gap) for gap in gaps) / (len(gaps) * images)  # of answers, right in one only
    within = (apart - mean**2) / images
    variance = (max(between, within) + max(0.0, between - within)) / len(gaps)
    return _interval(len(gaps), mean, variance, len(gaps) - 1)


def _gaps(first: Collection[int], second: Collection[int]) -> dict[int, int]:
    """By image, 1 where only the second design misread it and -1 where only the first did."""
    better, worse = set(second) - set(first), set(first) - set(second)
    return dict.fromkeys(better, 1) | dict.fromkeys(worse, -1)


def _interval(runs: int, mean: float, variance: float, freedom: float) -> Comparison:
    if variance <= 0:
        return Comparison(runs, mean)
    error = math.sqrt(variance)
    reach = float(scipy.special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    p_value = 2 * float(scipy.special.stdtr(freedom, -abs(mean) / error))
    return Comparison(runs, mean, mean - reach, mean + reach, p_value, any_images=True)
