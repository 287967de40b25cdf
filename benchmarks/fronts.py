"""Whether the goal pareto finds, size by size, what the goals with one answer find.

    python -m search.run --study STUDY --goal GOAL --trials 50 --finalists 0    # each goal
    python -m benchmarks.fronts results/STUDY results/OTHER ...

For each study, how many epochs it trained, and for each size the best validation accuracy of the
designs of at most so many parameters that it trained in full, with their size. A study is cut where
it has trained as many epochs as the one that trained fewest. The last row says how far the front of
pareto lies above the best of the other goals, in points: a goal with several studies (`--seed`)
stands there with their mean, and the difference has a standard error where both have several.
Each accuracy is one run on 10,000 images: 0.08 points.
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
from rich.console import Console
from rich.table import Table

from mnist_arch.errors import UserError
from search.pages.answers import full
from search.tables.files import StudyTables, read_study

SIZES = (2_500, 4_000, 6_000, 10_000, 20_000)
"""Parameters at which fronts are compared."""


@dataclass(frozen=True, slots=True)
class Front:
    """What a study found: its best design of each size that it has one for, as (accuracy, size).

    `epochs` were trained, looks included; accuracies are shares in [0, 1].
    """

    study: str
    goal: str
    epochs: float
    best: dict[int, tuple[float, int]]


def epochs_of(study: StudyTables) -> pd.Series:
    """The epochs that each trial trained, by its number, in the order in which trials ended.

    A look of less than an epoch is one row of `epochs.csv`, and costs its length. Raises
    `UserError` for a study of an earlier version, whose tables do not say when trials ended.
    """
    epochs, trials = study.tables["epochs"], study.trials
    if "look" not in epochs or "ended" not in trials:
        raise UserError(
            f"{study.folder} is a study of an earlier version, whose tables do not say what was "
            "trained when; give studies that were searched since, or search it anew"
        )
    paid = epochs["look"].fillna(1.0).clip(upper=1.0).groupby(epochs["trial"]).sum()
    ended = trials.sort_values("ended")["trial"]
    return paid.reindex(ended[ended.isin(paid.index)])


def front(study: StudyTables, sizes: Sequence[int], budget: float) -> Front:
    """What a study had found when it had trained `budget` epochs."""
    spent = epochs_of(study).cumsum()
    met = spent[spent <= budget]
    whole = full(study)
    whole = whole[whole["trial"].isin(met.index)]
    best = {}
    for size in sizes:
        small = whole[whole["parameters"] <= size]
        if not small.empty:
            accuracy = float(small["validation_accuracy"].max())
            reached = small[small["validation_accuracy"] == accuracy]
            best[size] = accuracy, int(reached["parameters"].min())
    return Front(study.name, study.config.goal, float(met.max()) if len(met) else 0.0, best)


def fronts(studies: Sequence[StudyTables], sizes: Sequence[int]) -> list[Front]:
    """The fronts of studies at equal epochs; raises `UserError` where goals are missing."""
    goals = {study.config.goal for study in studies}
    if "pareto" not in goals or len(goals) < 2:
        raise UserError(
            f"these studies have the goals {', '.join(sorted(goals))}; give at least one of goal "
            "pareto and one of another goal"
        )
    budget = min(float(epochs_of(study).sum()) for study in studies)
    return [front(study, sizes, budget) for study in studies]


@dataclass(frozen=True, slots=True)
class Difference:
    """How far the mean front of pareto lies above that of the best other goal, in points.

    `error` is the standard error, NaN where either has a single study; `studies` of pareto and of
    the other goal have a design of that size.
    """

    points: float
    error: float
    studies: tuple[int, int]


def difference(found: Sequence[Front], size: int) -> Difference | None:
    """The difference at a size; None where pareto or every other goal has no design of it."""
    reached: dict[str, list[float]] = {}
    for each in found:
        if size in each.best:
            reached.setdefault(each.goal, []).append(100 * each.best[size][0])
    own = reached.pop("pareto", [])
    if not own or not reached:
        return None
    other = max(reached.values(), key=lambda accuracies: float(np.mean(accuracies)))
    points = float(np.mean(own) - np.mean(other))
    return Difference(points, math.hypot(_error(own), _error(other)), (len(own), len(other)))


def _error(values: Sequence[float]) -> float:
    """The standard error of a mean."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def table(found: Sequence[Front], sizes: Sequence[int]) -> Table:
    """The comparison: a line a study, and the difference."""
    made = Table(title="best validation accuracy, % (parameters), of designs trained in full")
    for heading in ("study", "goal"):
        made.add_column(heading, no_wrap=True)
    for heading in ("epochs", *(f"at most {size:,}" for size in sizes)):
        made.add_column(heading, justify="right")
    for each in found:
        made.add_row(
            each.study, each.goal, f"{each.epochs:,.0f}", *(_cell(each.best.get(n)) for n in sizes)
        )
    made.add_section()
    made.add_row("pareto, above the best", "", "", *(_difference(found, n) for n in sizes))
    return made


def _cell(best: tuple[float, int] | None) -> str:
    return "none" if best is None else f"{best[0] * 100:.2f} ({best[1]:,})"


def _difference(found: Sequence[Front], size: int) -> str:
    between = difference(found, size)
    if between is None:
        return "-"
    spread = "" if math.isnan(between.error) else f" ± {between.error:.3f}"
    return f"{between.points:+.3f}{spread}, n {between.studies[0]}, {between.studies[1]}"


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fronts", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folders", type=Path, nargs="+", metavar="results/STUDY")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="parameters")
    options = parser.parse_args(arguments)
    try:
        found = fronts([read_study(folder) for folder in options.folders], options.sizes)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    Console(highlight=False, width=160).print(table(found, options.sizes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
