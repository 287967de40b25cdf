"""Whether the goal pareto finds, size by size, what the goals with one answer find.

    python -m search.run --study STUDY --goal GOAL --trials 50 --finalists 0    # each goal
    python -m benchmarks.fronts results/STUDY results/OTHER ...

For each study, how many epochs it trained, and for each size the best validation accuracy of the
designs of at most so many parameters that it trained in full, with their size. A study is cut where
it has trained as many epochs as the one that trained fewest; `--whole` cuts none, for who asks what
`--trials 50` of each goal brings, whatever it costs. The last row says how far the front of
pareto lies above the best of the other goals, in points: a goal with several studies (`--seed`)
stands there with their mean, and the difference has a standard error where both have several.
Each accuracy is one run on 10,000 images: 0.08 points. Therefore

    python -m benchmarks.fronts results/STUDY ... --seeds 5 --to results/fronts

trains every design of these fronts anew, on all 60,000 training images and with the same fresh
seeds, and compares the means of what the test images said once, after the last epoch: designs are
chosen on validation images and compared on others. Rows go to `trainings.csv` as trainings end, and
the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.curves import FULL
from benchmarks.trainings import Training, train_all
from mnist_arch.design import Design
from mnist_arch.errors import UserError
from mnist_arch.recipe import RECIPES
from search.formats import counted
from search.pages.answers import full
from search.seeds import confirmation_seed
from search.statistics.confidence import Comparison, compare
from search.tables.files import StudyTables, read_study

SIZES = (2_500, 4_000, 6_000, 10_000, 20_000)
"""Parameters at which fronts are compared."""


@dataclass(frozen=True, slots=True)
class Best:
    """A study's best design of a size: its validation accuracy, a share in [0, 1], and JSON."""

    accuracy: float
    parameters: int
    json: str

    @property
    def design(self) -> Design:
        """The design itself."""
        return Design.from_dict(json.loads(self.json))


@dataclass(frozen=True, slots=True)
class Front:
    """What a study found: its best design of each size that it has one for.

    `epochs` were trained, looks included.
    """

    study: str
    goal: str
    epochs: float
    best: dict[int, Best]


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
            found = small.sort_values(
                ["validation_accuracy", "parameters"], ascending=[False, True]
            ).iloc[0]
            best[size] = Best(
                float(found["validation_accuracy"]), int(found["parameters"]), found["design"]
            )
    return Front(study.name, study.config.goal, float(met.max()) if len(met) else 0.0, best)


def fronts(
    studies: Sequence[StudyTables], sizes: Sequence[int], whole: bool = False
) -> list[Front]:
    """The fronts of studies at equal epochs, or whole; `UserError` where goals are missing."""
    goals = {study.config.goal for study in studies}
    if "pareto" not in goals or len(goals) < 2:
        raise UserError(
            f"these studies have the goals {', '.join(sorted(goals))}; give at least one of goal "
            "pareto and one of another goal"
        )
    budget = math.inf if whole else min(float(epochs_of(study).sum()) for study in studies)
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
            reached.setdefault(each.goal, []).append(100 * each.best[size].accuracy)
    own = reached.pop("pareto", [])
    if not own or not reached:
        return None
    other = max(reached.values(), key=lambda accuracies: float(np.mean(accuracies)))
    points = float(np.mean(own) - np.mean(other))
    return Difference(points, math.hypot(_error(own), _error(other)), (len(own), len(other)))


def _error(values: Sequence[float]) -> float:
    """The standard error of a mean."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def trainings(found: Sequence[Front], seeds: int) -> list[Training]:
    """Every design of these fronts once, with each of so many fresh seeds, seed by seed."""
    designs = {
        best.design.fingerprint: best.design for each in found for best in each.best.values()
    }
    return [
        Training(
            name, design, "default", RECIPES["default"], FULL, confirmation_seed(0, index),
            protocol="assignment",
        )
        for index in range(seeds)
        for name, design in designs.items()
    ]  # fmt: skip


Runs = Mapping[str, Sequence[float]]
"""A design's test accuracies by its fingerprint, one for each seed, all in the same order."""


def read_runs(folder: Path, found: Sequence[Front]) -> Runs:
    """The runs of the designs of these fronts, of the seeds with which all of them finished."""
    wanted = {best.design.fingerprint for each in found for best in each.best.values()}
    table = pd.read_csv(folder / "trainings.csv", dtype={"design": "str"})
    by_seed = table[table["design"].isin(wanted)].pivot(
        index="seed", columns="design", values="test_accuracy"
    )
    return {str(name): values.tolist() for name, values in by_seed.dropna().items()}


def fresh_difference(found: Sequence[Front], size: int, runs: Runs) -> Comparison | None:
    """How far the mean front of pareto lies above that of the best other goal, on fresh seeds.

    Paired over seeds, in shares; None where pareto or every other goal has no design of that size.
    The best goal is that with the highest mean over these runs, which is strict on pareto.
    """
    reached: dict[str, list[Sequence[float]]] = {}
    for each in found:
        if size in each.best:
            reached.setdefault(each.goal, []).append(runs[each.best[size].design.fingerprint])
    means = {goal: np.mean(found, axis=0) for goal, found in reached.items()}  # [seeds]
    own = means.pop("pareto", None)
    if own is None or not means:
        return None
    return compare(own, max(means.values(), key=np.mean))


def table(found: Sequence[Front], sizes: Sequence[int], runs: Runs | None = None) -> Table:
    """The comparison: a line a study, and the difference; on fresh seeds where `runs` are given."""
    judged = "best validation accuracy, % (parameters), of designs trained in full"
    if runs:
        seeds = counted(len(next(iter(runs.values()))), "fresh seed")
        judged = f"the same designs on {seeds}: mean test accuracy, % (parameters)"
    made = Table(title=judged)
    for heading in ("study", "goal"):
        made.add_column(heading, no_wrap=True)
    for heading in ("epochs", *(f"at most {size:,}" for size in sizes)):
        made.add_column(heading, justify="right")
    for each in found:
        cells = [_cell(each.best.get(size), runs) for size in sizes]
        made.add_row(each.study, each.goal, f"{each.epochs:,.0f}", *cells)
    made.add_section()
    last = [_fresh(found, n, runs) if runs else _difference(found, n) for n in sizes]
    made.add_row("pareto, above the best", "", "", *last)
    return made


def _cell(best: Best | None, runs: Runs | None) -> str:
    if best is None:
        return "none"
    if runs:
        return f"{np.mean(runs[best.design.fingerprint]) * 100:.3f} ({best.parameters:,})"
    return f"{best.accuracy * 100:.2f} ({best.parameters:,})"


def _difference(found: Sequence[Front], size: int) -> str:
    between = difference(found, size)
    if between is None:
        return "-"
    spread = "" if math.isnan(between.error) else f" ± {between.error:.3f}"
    return f"{between.points:+.3f}{spread}, n {between.studies[0]}, {between.studies[1]}"


def _fresh(found: Sequence[Front], size: int, runs: Runs) -> str:
    between = fresh_difference(found, size, runs)
    if between is None or between.difference is None:
        return "-"
    told = f"{between.difference * 100:+.3f}"
    if between.low is None or between.high is None:
        return told
    return f"{told} ({between.low * 100:+.3f} to {between.high * 100:+.3f})"


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fronts", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folders", type=Path, nargs="+", metavar="results/STUDY")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="parameters")
    parser.add_argument(
        "--whole", action="store_true", help="cut no study: they may have cost unlike many epochs"
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="fresh ones, the same for each design"
    )
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where their trainings are kept")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="default %(default)s")
    options = parser.parse_args(arguments)
    if (options.seeds is None) != (options.to is None):
        parser.error("--seeds and --to go together")
    try:
        studies = [read_study(folder) for folder in options.folders]
        found = fronts(studies, options.sizes, options.whole)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    console = Console(highlight=False, width=160)
    console.print(table(found, options.sizes))
    if options.seeds:
        train_all(trainings(found, options.seeds), options.to, options.workers)
        console.print(table(found, options.sizes, read_runs(options.to, found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
