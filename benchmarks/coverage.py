"""Coverage: how often the bounds of a confirmation hold, by simulation near 99.4 %.

    python -m benchmarks.coverage --studies 4000 --to results/coverage

A study draws its images and its runs' luck anew; a one-sided 95 % lower bound should lie above
the truth in 5 % of studies at most, a 95 % interval beside it in 5 %. A model of images: a few are
hard, each with its own odds of being misread, the others never are; a seed multiplies all odds. By
our own runs (7,982 parameters, five seeds, test images) 55 % of the variance of one answer is the
image's, and accuracies have a standard deviation of 0.06 points over seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from mnist_arch.datasets import FOLDS
from search.statistics import confidence

IMAGES = 10_000

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Images:
    """A population of images: the mean `error` of a design, and how much of it images share.

    Hard images are misread with a probability from a beta distribution; `shared` is the share of
    the variance of one answer that is the image's, in [0, 1).
    """

    error: float = 0.006
    shared: float = 0.55

    @property
    def shape(self) -> tuple[float, float]:
        """Parameters of the beta distribution: the more shared, the closer it is to 0 or 1."""
        first = 0.3
        return first, (1 + first) * (1 / self.shared - 1)

    def odds(self, count: int, generator: Generator) -> np.ndarray:
        """The odds that each of `count` hard images is misread."""
        chance = generator.beta(*self.shape, count).clip(1e-12, 1 - 1e-12)
        return np.asarray(chance / (1 - chance))

    def hard(self, generator: Generator) -> np.ndarray:
        """The odds of the hard images among `IMAGES` that are drawn."""
        first, second = self.shape
        share = self.error * (first + second) / first
        return self.odds(generator.binomial(IMAGES, share), generator)

    def accuracy(self, luck: float, generator: Generator) -> float:
        """The accuracy that designs have on average over seeds and images, by 10**6 draws."""
        first, second = self.shape
        odds = self.odds(10**6, generator) * np.exp(generator.normal(0, luck, 10**6))
        return float(1 - self.error * (first + second) / first * (odds / (1 + odds)).mean())


def misread(odds: np.ndarray, luck: np.ndarray, generator: Generator) -> list[set[int]]:
    """What runs misread, by image, given the odds [images] and the logarithm of each run's luck."""
    by_run = odds * np.exp(luck)[:, None]  # [runs, images]
    wrong = generator.random(by_run.shape) < by_run / (1 + by_run)
    return [set(np.flatnonzero(run).tolist()) for run in wrong]


def accuracies_of(runs: Sequence[set[int]]) -> list[float]:
    """The accuracies of runs by what they misread of `IMAGES` images."""
    return [1 - len(run) / IMAGES for run in runs]


def on_test(
    images: Images, luck: float, seeds: int, studies: int, generator: Generator
) -> Iterator[list[set[int]]]:
    """Studies of one design, judged by `seeds` seeds on one draw of test images."""
    for _ in range(studies):
        yield misread(images.hard(generator), generator.normal(0, luck, seeds), generator)


def on_folds(
    accuracy: float, luck: float, of_sets: float, studies: int, generator: Generator
) -> np.ndarray:
    """Accuracies, [studies, FOLDS], of one training each on images that it never saw.

    `luck` is the standard deviation of the true accuracy over seeds, `of_sets` that over training
    sets; two of these share 50,000 of 60,000 images, and so correlate by 5 / 6.
    """
    overlap = np.full((FOLDS, FOLDS), 5 / 6)
    np.fill_diagonal(overlap, 1)
    sets = generator.normal(0, of_sets, (studies, FOLDS)) @ np.linalg.cholesky(overlap).T
    true = accuracy + sets + generator.normal(0, luck, (studies, FOLDS))
    return np.asarray(1 - generator.binomial(IMAGES, 1 - true.clip(0, 1)) / IMAGES)


def two_designs(
    images: Images, luck: float, apart: float, seeds: int, studies: int, generator: Generator
) -> Iterator[tuple[list[set[int]], list[set[int]]]]:
    """Studies of two equally good designs on the same images, which each finds hard in its own way.

    `apart` is the standard deviation of the logarithm of a design's own factor of an image's odds.
    """
    for _ in range(studies):
        odds = images.hard(generator)
        own = np.exp(generator.normal(0, apart, (2, len(odds))))
        first, second = (
            misread(odds * factor, generator.normal(0, luck, seeds), generator) for factor in own
        )
        yield first, second


def test_rows(studies: int, generator: Generator) -> Iterator[dict[str, object]]:
    """Bounds over seeds and test images, with and without the runs' answers."""
    for shared, luck, seeds in product((0.2, 0.55, 0.9), (0.0, 0.1, 0.2), (2, 3, 5, 10)):
        images = Images(shared=shared)
        truth = images.accuracy(luck, generator)
        too_high, reach, spread = np.zeros((studies, 3)), np.zeros((studies, 2)), 0.0
        for study, runs in enumerate(on_test(images, luck, seeds, studies, generator)):
            values = accuracies_of(runs)
            mean = float(np.mean(values))
            spreads = [
                confidence.on_test(values, IMAGES, runs), confidence.on_test(values, IMAGES),
                confidence.over_runs(values),
            ]  # fmt: skip
            proofs = [confidence.p_value(mean, each, truth) for each in spreads]
            proofs = [max(proofs[0], proofs[2]), max(proofs[1], proofs[2]), proofs[2]]
            too_high[study] = np.less(proofs, 0.05)
            reach[study] = [mean - confidence.lower_bound(mean, each) for each in spreads[:2]]
            spread += float(np.std(values, ddof=1)) / studies
        names = ("wrong", "wrong_without_answers", "wrong_seeds_alone")
        yield {
            "judge": "test", "runs": seeds, "shared": shared, "deviation": spread,
            **dict(zip(names, too_high.mean(0), strict=True)),
            "reach": reach[:, 0].mean(), "reach_without_answers": reach[:, 1].mean(),
        }  # fmt: skip


def folds_rows(studies: int, generator: Generator) -> Iterator[dict[str, object]]:
    """Bounds over folds: ours, and Student's t, which knows nothing of shared training sets."""
    for luck, of_sets in product((0.0, 0.0005, 0.001), (0.0, 0.0001, 0.0002, 0.0003, 0.0005)):
        found = []
        for values in on_folds(0.994, luck, of_sets, studies, generator):
            mean = float(values.mean())
            ours, plain = confidence.on_folds(values, IMAGES), confidence.over_runs(values)
            proofs = [confidence.p_value(mean, each, 0.994) < 0.05 for each in (ours, plain)]
            found.append((*proofs, mean - confidence.lower_bound(mean, ours)))
        wrong, wrong_plain, reach = np.mean(found, axis=0)
        yield {
            "judge": "folds", "runs": FOLDS, "deviation": luck, "of_sets": of_sets,
            "wrong": wrong, "wrong_seeds_alone": wrong_plain, "reach": reach,
        }  # fmt: skip


def comparison_rows(studies: int, generator: Generator) -> Iterator[dict[str, object]]:
    """Intervals for the difference of two equal designs: over seeds and images, and over seeds."""
    for apart, luck, seeds in product((0.5, 2.0), (0.0, 0.1), (2, 3, 5, 10)):
        found = []
        for pair in two_designs(Images(), luck, apart, seeds, studies, generator):
            both = confidence.compare_answers(*pair, IMAGES)
            alone = confidence.compare(*(accuracies_of(runs) for runs in pair))
            found.append(
                [each.p_value is not None and each.p_value < 0.05 for each in (both, alone)]
            )
        wrong, wrong_plain = np.mean(found, axis=0)
        yield {
            "judge": "comparison", "runs": seeds, "shared": 0.55, "apart": apart,
            "deviation": luck, "wrong": wrong, "wrong_seeds_alone": wrong_plain,
        }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Simulate, print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--studies", type=int, default=4_000, help="a row (default %(default)s)")
    parser.add_argument("--to", type=Path, help="also write coverage.csv into this folder")
    options = parser.parse_args(arguments)
    generator = np.random.default_rng(0)
    rows = [
        row
        for make in (test_rows, folds_rows, comparison_rows)
        for row in make(options.studies, generator)
    ]
    table = pd.DataFrame(rows).round(6)
    print(table.to_string(index=False, na_rep=""))
    if options.to:
        options.to.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.to / "coverage.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
