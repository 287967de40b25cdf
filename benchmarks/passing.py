"""Whole searches beside random designs that are all trained in full, for equal epochs.

    python -m benchmarks.passing results/STUDY [results/OTHER ...] --random results/table

How many designs that pass each search found for every 1,000 epochs that it trained, looks included,
and how accurate the one that it would choose is when it is trained again. What every study begins
with is left out, passing or not, and so are its epochs: a search is to be credited with what it
proposed itself. (It proposes changed copies of its best, so it owes something to what it began
with.) Beside them the random designs of a table (`benchmarks.curves`): each costs `FULL` epochs,
and the best of as many as the searches' mean epochs pay for is chosen.

All intervals hold 95 %: of the share of random designs that pass Jeffreys' (Brown, Cai and
DasGupta, 2001, Statistical Science 16:2); of the mean of the searches Student's, over them; of the
ratio and of what is chosen among random designs by drawing searches and designs with replacement
(Efron, 1979, Annals of Statistics 7:1). "Trained again" is, of a search, the mean of fresh seeds on
the test images; of a random design, its second seed on the validation images.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.curves import FULL
from benchmarks.fronts import epochs_of
from mnist_arch.errors import UserError
from search.loop.proposals import space_of
from search.pages.answers import full
from search.tables.answers import in_order_of
from search.tables.files import StudyTables, read_study

DRAWS = 10_000
TABLES, SEARCHES = 1_000, 100  # tables drawn from the random designs, searches of each
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search proposed itself and trained in full: `passing` designs, for `epochs`.

    `smallest`: the parameters of the smallest that passes, or None. `again`: the mean accuracy over
    fresh seeds, on the test images, of the most accurate by validation, or None.
    """

    study: str
    epochs: float
    passing: int
    smallest: int | None
    again: float | None

    @property
    def rate(self) -> float:
        """Passing designs for every 1,000 epochs."""
        return 1_000 * self.passing / self.epochs


def found(study: StudyTables) -> Found:
    """Count a search's own passing designs; raises `UserError` where it trained none of its own."""
    begun = len(space_of(study.config).starts()) + len(study.config.designs)
    epochs, whole = epochs_of(study), full(study)
    epochs, whole = epochs[epochs.index >= begun], whole[whole["trial"] >= begun]
    if epochs.empty:
        raise UserError(
            f"{study.folder} trained only the {begun} designs that it began with; give a study "
            "with a larger --trials"
        )
    passing = whole[whole["state"] == "passed"]
    sizes = passing["parameters"]
    return Found(
        study.name, float(epochs.sum()), len(passing),
        None if sizes.empty else int(sizes.min()), _again(study, whole),
    )  # fmt: skip


def _again(study: StudyTables, whole: pd.DataFrame) -> float | None:
    finalists = study.tables.get("finalists")
    if finalists is None or whole.empty:
        return None
    best = in_order_of(whole, "most accurate")["trial"].iloc[0]
    judged = finalists[finalists["trial"] == best]["test_accuracy"].dropna()
    return None if judged.empty else float(judged.iloc[0])


@dataclass(frozen=True, slots=True)
class Random:
    """Random designs, all trained in full: accuracies of both seeds, NaN without a second."""

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    passing: int

    @property
    def rate(self) -> float:
        """Passing designs for every 1,000 epochs."""
        return 1_000 / FULL * self.passing / len(self.first)

    def shares(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        """What share of such designs passes: draws from Jeffreys' distribution."""
        missed = len(self.first) - self.passing
        return generator.beta(self.passing + 0.5, missed + 0.5, size=draws)

    def chosen(self, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
        """The mean second accuracy of the best of `count` designs, by each of `TABLES` tables."""
        pairs = ~np.isnan(self.second)
        first, second = self.first[pairs], self.second[pairs]
        means = []
        for _ in range(TABLES):
            drawn = generator.integers(len(first), size=len(first))
            met = generator.choice(drawn, size=(SEARCHES, count))
            best = np.take_along_axis(met, first[met].argmax(axis=1)[:, None], axis=1)
            means.append(float(second[best].mean()))
        return np.array(means)


def read_random(folder: Path, target: float) -> Random:
    """The designs of a table that were trained in full; raises `UserError` where it has none."""
    try:
        trainings = pd.read_csv(folder / "trainings.csv", dtype={"design": "str"})
    except OSError as error:
        raise UserError(
            f"--random {folder}: {error.strerror}; give a folder that benchmarks.curves made"
        ) from error
    whole = trainings[(trainings["budget_epochs"] == FULL) & (trainings["recipe"] == "default")]
    seeds = whole.pivot(index="design", columns="seed", values="validation_accuracy")
    seeds = seeds.reindex(columns=[1, 2]).dropna(subset=[1])
    if seeds[2].notna().sum() < 2:
        raise UserError(
            f"--random {folder}: fewer than 2 of its designs were trained in full by two seeds; "
            f"train more with  python -m benchmarks.curves {folder}"
        )
    first = seeds[1].to_numpy(dtype=float)
    return Random(first, seeds[2].to_numpy(dtype=float), int((first >= target).sum()))


def mean_interval(values: Sequence[float]) -> Interval:
    """Of a mean, by Student's t; infinite for one value."""
    if len(values) < 2:
        return -math.inf, math.inf
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(np.mean(values) - half), float(np.mean(values) + half)


def ratio_interval(
    searches: Sequence[Found], beside: Random, generator: np.random.Generator
) -> Interval:
    """How many times as many designs pass, by other searches and other random designs."""
    rates = np.array([each.rate for each in searches])
    means = generator.choice(rates, size=(DRAWS, len(rates))).mean(axis=1)
    shares = beside.shares(DRAWS, generator)
    low, high = np.percentile(means / (1_000 / FULL * shares), [2.5, 97.5])
    return float(low), float(high)


def table(searches: Sequence[Found], beside: Random) -> Table:
    """A line a search, their mean, the random designs, and the ratio."""
    generator = np.random.default_rng(0)
    made = Table(title="designs that pass, without those that every study begins with")
    made.add_column("search", no_wrap=True)
    for heading in ("epochs", "passing", "each 1,000 epochs", "smallest", "best, trained again, %"):
        made.add_column(heading, justify="right")
    for each in searches:
        smallest = "-" if each.smallest is None else f"{each.smallest:,}"
        again = "-" if each.again is None else f"{100 * each.again:.3f}"
        made.add_row(
            each.study,
            f"{each.epochs:,.0f}",
            f"{each.passing}",
            f"{each.rate:.1f}",
            smallest,
            again,
        )
    made.add_section()
    rates = [each.rate for each in searches]
    mean_epochs = float(np.mean([each.epochs for each in searches]))
    agains = [100 * each.again for each in searches if each.again is not None]
    made.add_row(
        "mean", f"{mean_epochs:,.0f}", f"{np.mean([each.passing for each in searches]):.1f}",
        _told(float(np.mean(rates)), mean_interval(rates), 1), "",
        _told(float(np.mean(agains)), mean_interval(agains), 3) if agains else "-",
    )  # fmt: skip
    shares = np.percentile(beside.shares(DRAWS, generator), [2.5, 97.5]) * 1_000 / FULL
    count = max(1, int(mean_epochs // FULL))
    chosen = 100 * beside.chosen(count, generator)
    low, high = np.percentile(chosen, [2.5, 97.5])
    made.add_row(
        f"{len(beside.first)} random, in full", f"{FULL * len(beside.first):,.0f}",
        f"{beside.passing}", _told(beside.rate, (shares[0], shares[1]), 1), "",
        _told(float(np.mean(chosen)), (low, high), 3),
    )  # fmt: skip
    made.add_section()
    ratio = float(np.mean(rates)) / beside.rate if beside.passing else math.inf
    times = _told(ratio, ratio_interval(searches, beside, generator), 1)
    made.add_row("", "", "times", times, "", "")
    return made


def _told(value: float, interval: Interval, digits: int) -> str:
    return f"{value:.{digits}f} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.passing", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folders", type=Path, nargs="+", metavar="results/STUDY")
    parser.add_argument("--random", type=Path, required=True, metavar="results/TABLE")
    options = parser.parse_args(arguments)
    try:
        studies = [read_study(folder) for folder in options.folders]
        targets = sorted({study.config.rules.target for study in studies})
        if len(targets) > 1:
            raise UserError(
                f"these studies have the targets {', '.join(f'{target:g}' for target in targets)}; "
                "give studies of one target"
            )
        beside = read_random(options.random, targets[0])
        searches = [found(study) for study in studies]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    Console(highlight=False, width=120).print(table(searches, beside))
    return 0


if __name__ == "__main__":
    sys.exit(main())
