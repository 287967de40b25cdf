"""Statistics of confirmation: the verdict on a design's runs, and how much of a choice was luck.

Pure functions of numbers. Accuracies are shares in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import scipy

from mnist_arch.recipe import Judge
from search.statistics import confidence
from search.statistics.confidence import CONFIDENCE


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a design's runs on fresh seeds came to.

    `seeds` counts the runs, `failed_seeds` those without an accuracy (diverged, out of memory),
    which count as not passed and leave the design neither confirmed nor proven. The figures are
    None where there are too few runs for them. `seeds_error` and `images_error` are the parts of
    the mean's standard error; `shared_errors` the share of the variance of one answer that is the
    image's, the same in every run, where answers were kept. `confirmed`: the mean reaches the
    target. `proven`: `p_holm` is at most 0.05, which for a design alone means that both lower
    bounds reach the target.
    """

    seeds: int
    failed_seeds: int
    test_accuracy: float | None
    test_deviation: float | None
    test_minimum: float | None
    pass_share: float
    seeds_error: float | None
    images_error: float | None
    shared_errors: float | None
    lower_bound: float | None
    lower_bound_seeds: float | None
    p_value: float | None
    p_holm: float | None
    confirmed: bool
    proven: bool


def verdict(
    accuracies: Sequence[float | None],
    target: float,
    images: int,
    judge: Judge = "test",
    misread: Sequence[Collection[int]] | None = None,
) -> Verdict:
    """Judge a design by its runs' accuracies on `images` images each; None is a failed run.

    `misread` are the numbers of the images that each run misread, failed ones left out; None where
    answers were not kept. `p_holm` is that of the design alone: see `corrected`.
    """
    values = [value for value in accuracies if value is not None]
    whole = bool(values) and len(values) == len(accuracies)
    sure = _sureness(values, target, images, judge, misread)
    return Verdict(
        seeds=len(accuracies),
        failed_seeds=len(accuracies) - len(values),
        test_accuracy=float(np.mean(values)) if values else None,
        test_deviation=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        test_minimum=min(values, default=None),
        pass_share=sum(value >= target for value in values) / max(len(accuracies), 1),
        seeds_error=sure.seeds_error,
        images_error=sure.images_error,
        shared_errors=sure.shared_errors,
        lower_bound=sure.bound,
        lower_bound_seeds=sure.bound_seeds,
        p_value=sure.p_value,
        p_holm=sure.p_value,
        confirmed=whole and reaches(values, target, images),
        proven=whole and sure.p_value is not None and sure.p_value <= 1 - CONFIDENCE,
    )


def reaches(accuracies: Sequence[float], target: float, images: int) -> bool:
    """Whether the mean of accuracies on `images` images is at the target: counts, not floats."""
    right = sum(round(value * images) for value in accuracies)
    return bool(right >= Fraction(str(target)) * images * len(accuracies))


SEEDS_SPREAD = 0.0008
"""Standard deviation of a design's accuracy over seeds: the largest of our studies, for 99.4 %.

For a lower target it is taken to grow as an accuracy's own does: with sqrt(target (1 - target)).
"""


def is_hopeless(
    accuracies: Sequence[float], seeds: int, target: float, images: int, judge: Judge
) -> bool:
    """Whether a mean over `seeds` has a chance of less than 5 % to reach the target, by its first.

    By n of N runs the mean of all N is expected at the mean of the n, with the variance
    s^2 (1 / n - 1 / N); s is `SEEDS_SPREAD`, and under `folds` the sampling of images
    added.
    """
    if not accuracies:
        return False
    count = len(accuracies)
    spread = SEEDS_SPREAD * math.sqrt(max(1.0, target * (1 - target) / (0.994 * (1 - 0.994))))
    variance = spread**2 + (target * (1 - target) / images if judge == "folds" else 0.0)
    error = math.sqrt(variance * (1 / count - 1 / seeds))
    return bool(sum(accuracies) / count + scipy.special.ndtri(CONFIDENCE) * error < target)


def corrected(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The same verdicts with `p_holm` and `proven` corrected for how many there are.

    A design with a failed run, or a single one, has no proof but counts: it was tried.
    """
    proofs = [1.0 if v.p_value is None or v.failed_seeds else v.p_value for v in verdicts]
    found = zip(verdicts, confidence.holm(proofs), strict=True)
    return [
        replace(v, p_holm=None if v.p_value is None else p, proven=p <= 1 - CONFIDENCE)
        for v, p in found
    ]


@dataclass(frozen=True, slots=True)
class _Sureness:
    """How sure a mean is; fields as in `Verdict`, None for fewer than two runs."""

    bound: float | None = None
    bound_seeds: float | None = None
    p_value: float | None = None
    seeds_error: float | None = None
    images_error: float | None = None
    shared_errors: float | None = None


def _sureness(
    values: Sequence[float],
    target: float,
    images: int,
    judge: Judge,
    misread: Sequence[Collection[int]] | None,
) -> _Sureness:
    if len(values) < 2:
        return _Sureness()
    mean = float(np.mean(values))
    over_runs = confidence.over_runs(values)
    if judge == "folds":
        spread, shared = confidence.on_folds(values, images), None
        of_images = mean * (1 - mean) / images / len(values)
    else:
        spread = confidence.on_test(values, images, misread)
        shared = None if misread is None else confidence.shared_errors(misread, images)
        of_images = spread(mean)[0] - over_runs(mean)[0]
    return _Sureness(
        confidence.lower_bound(mean, spread), confidence.lower_bound(mean, over_runs),
        max(confidence.p_value(mean, each, target) for each in (spread, over_runs)),
        math.sqrt(max(0.0, spread(mean)[0] - of_images)), math.sqrt(of_images), shared,
    )  # fmt: skip


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
    """Expected maximum of `count` independent standard normal variables.

    The integral over x > 0 of 1 - F(x)^count - F(-x)^count, F being their distribution function
    (David and Nagaraja, Order Statistics, 2003, section 3.1). The trapezoidal rule is exact to
    rounding here, for the integrand is smooth, even and vanishes. scipy.stats has the same, and
    takes a second to import, which every search and every look at a study would pay.
    """
    x = np.linspace(0.0, 40.0, 2_561)
    below, above = scipy.special.ndtr(x) ** count, scipy.special.ndtr(-x) ** count
    return float(np.trapezoid(1 - below - above, x))


def pareto(points: Sequence[Sequence[float]]) -> list[bool]:
    """Which points no other beats: at least as low in every coordinate and lower in one."""
    table = np.asarray(points, float)  # [points, coordinates]
    return [
        not bool(((table <= point).all(axis=1) & (table < point).any(axis=1)).any())
        for point in table
    ]
