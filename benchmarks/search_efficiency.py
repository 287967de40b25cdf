"""Which way of judging designs finds good ones soonest: policies replayed on a table of trainings.

    python -m benchmarks.curves results/table                # makes the table
    python -m benchmarks.search_efficiency results/table     # replays, 100 tables of 10 orders

Each policy meets the table's designs in the same random orders until it has spent `--epochs` epochs
of training, and chooses the design whose full training (seed 1) was best. Printed, as means over
all orders: designs met; those trained in full; how many of these, for each 1,000 epochs, are among
the best tenth of the table; the regret: how far, in points, the chosen design's second seed lies
below the best second seed of the table, so that the luck of the first seed is not counted as skill;
and how many times as many good designs as without judging.

The intervals hold 95 % of what as many other designs would say: the designs are drawn `--tables`
times with replacement (the bootstrap of Efron 1979, Annals of Statistics 7:1), and each draw is met
in `--orders` orders.

A search meets hundreds of designs, the table has fewer. With `--like 1000` each draw is of so many
made-up designs that are like the table's: every figure has the distribution that it has there, and
the normal scores of all have the same correlations (a Gaussian copula: Nelsen, An Introduction to
Copulas, 2006, section 2.3). They have no curve over epochs, so only looks are compared.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import optuna
import pandas as pd
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.curves import FULL
from benchmarks.pruners import InUse
from mnist_arch.errors import UserError
from search.config import StudyConfig
from search.goals import GOALS
from search.looks import Judged, Look, Predictor
from search.schedules import Halving, Looks, Standing

LEAST_DESIGNS = 20


@dataclass(frozen=True, slots=True)
class Measured:
    """A design of the table: its looks, its curve with seed 1, its accuracy with seed 2."""

    parameters: int
    looks: tuple[Look, ...]
    curve: tuple[float, ...]
    full: Look
    second: float

    @property
    def accuracy(self) -> float:
        """After the full training with seed 1, a share in [0, 1]."""
        return self.full.accuracy


@dataclass(frozen=True, slots=True)
class Spent:
    """What one policy did with one design: epochs trained, and whether it was trained in full."""

    epochs: float
    is_full: bool


Policy = Callable[[Sequence[Measured]], Callable[[int], Spent]]
"""The designs in their order -> what is done with each, asked one after another."""


def whole(_: Sequence[Measured]) -> Callable[[int], Spent]:
    """Every design is trained in full."""
    return lambda _: Spent(FULL, True)


def pruned_by(make: Callable[[], BasePruner]) -> Policy:
    """A pruner in the middle of full trainings, told the validation accuracy of each epoch."""

    def policy(designs: Sequence[Measured]) -> Callable[[int], Spent]:
        study = optuna.create_study(direction="maximize", pruner=make(), study_name="replay")

        def spend(index: int) -> Spent:
            trial, curve = study.ask(), designs[index].curve
            for epoch, accuracy in enumerate(curve, 1):
                trial.report(accuracy, epoch)
                if epoch < len(curve) and trial.should_prune():
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    return Spent(epoch, False)
            study.tell(trial, curve[-1])
            return Spent(len(curve), True)

        return spend

    return policy


def looked_at(schedule: Looks) -> Policy:
    """The looks of the search, as far as the table has them."""

    def policy(designs: Sequence[Measured]) -> Callable[[int], Spent]:
        lengths = tuple(look.epochs for look in designs[0].looks)
        config = StudyConfig(goal="accuracy", looks=lengths)
        seen: list[Judged] = []

        def spend(index: int) -> Spent:
            design = designs[index]
            judged, epochs = Judged(design.parameters, int(FULL)), 0.0
            predict = Predictor([each for each in seen if each.full]).loss
            while True:
                standing = Standing(judged, list(seen), [], GOALS["accuracy"], predict)
                budget = schedule.next_budget(config, standing).budget
                if budget is None or budget.look is None:
                    break
                look = next(each for each in design.looks if each.epochs == budget.look)
                judged = replace(judged, looks=(*judged.looks, look))
                epochs += look.epochs
            if budget is None:
                seen.append(judged)
                return Spent(epochs, False)
            seen.append(replace(judged, full=design.full))
            return Spent(epochs + FULL, True)

        return spend

    return policy


BY_CURVE: dict[str, Policy] = {
    "halving after 3 and 9 epochs": pruned_by(lambda: InUse(Halving(), int(FULL))),
    "median, from epoch 3": pruned_by(lambda: MedianPruner(n_warmup_steps=3)),
    "Hyperband": pruned_by(lambda: HyperbandPruner(1, int(FULL), 3)),
}
"""Policies that judge in the middle of a full training."""

BY_LOOKS: dict[str, Policy] = {
    "no judging": whole,
    "looks: 1/4, then 1/3 (in use)": looked_at(Looks()),
    "looks: 1/16, then 1/4": looked_at(Looks(1 / 16, 1 / 4)),
    "looks: 1/8, then 1/4": looked_at(Looks(1 / 8, 1 / 4)),
    "looks: 1/8, then 1/3": looked_at(Looks(1 / 8, 1 / 3)),
    "looks: 1/8, then 1/2": looked_at(Looks(1 / 8, 1 / 2)),
    "looks: 1/4, then 1/4": looked_at(Looks(1 / 4, 1 / 4)),
    "looks: 1/2, then 1/2": looked_at(Looks(1 / 2, 1 / 2)),
}
"""Policies that judge complete trainings, by the shares that go on after 0.25 epochs and later."""

POLICIES = BY_LOOKS | BY_CURVE


def read_table(folder: Path) -> list[Measured]:
    """The designs of a table with all their trainings; raises `UserError` for too few."""
    try:
        designs = pd.read_csv(folder / "designs.csv", dtype={"design": "str"})
        trainings = pd.read_csv(folder / "trainings.csv", dtype={"design": "str"})
        epochs = pd.read_csv(folder / "epochs.csv", dtype={"design": "str"})
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} holds no table of python -m benchmarks.curves ({error})"
        ) from None
    curves = epochs[(epochs["budget_epochs"] == FULL) & (epochs["seed"] == 1)]
    found = [
        measured(int(row["parameters"]), trainings[trainings["design"] == row["design"]],
                 curves[curves["design"] == row["design"]])
        for _, row in designs.iterrows()
    ]  # fmt: skip
    complete = [each for each in found if each is not None]
    if len(complete) < LEAST_DESIGNS:
        raise UserError(
            f"{folder} has {len(complete)} designs with all their trainings, at least "
            f"{LEAST_DESIGNS} are needed; python -m benchmarks.curves {folder} goes on"
        )
    return complete


def measured(parameters: int, trainings: pd.DataFrame, curve: pd.DataFrame) -> Measured | None:
    """One design of the table; None where one of its trainings is missing or has failed."""
    done = trainings[trainings["outcome"] == "finished"].sort_values("budget_epochs")
    looks = {
        (float(row["budget_epochs"]), int(row["seed"])): Look(
            float(row["budget_epochs"]), float(row["validation_loss"]),
            float(row["validation_accuracy"]),
        )
        for _, row in done.iterrows()
    }  # fmt: skip
    if len(looks) < len(trainings) or not {(FULL, 1), (FULL, 2), (0.25, 1)} <= looks.keys():
        return None
    short = tuple(look for (epochs, _), look in looks.items() if epochs < FULL)
    accuracies = tuple(curve.sort_values("epoch")["validation_accuracy"].tolist())
    second = looks[FULL, 2].accuracy
    return Measured(parameters, short, accuracies, looks[FULL, 1], second)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a policy came to in one order."""

    met: int
    full: int
    good_for_1000_epochs: float
    regret_points: float


def replay(designs: Sequence[Measured], policy: Policy, epochs: float) -> Replayed:
    """Meet the designs in their order until so many epochs are spent."""
    spend = policy(designs)
    good = sorted((d.accuracy for d in designs), reverse=True)[max(0, len(designs) // 10 - 1)]
    spent, met, kept = 0.0, 0, []
    while met < len(designs) and spent < epochs:
        result = spend(met)
        spent += result.epochs
        if result.is_full:
            kept.append(designs[met])
        met += 1
    best = max(kept, key=lambda design: design.accuracy, default=None)
    regret = max(d.second for d in designs) - (best.second if best else 0.0)
    many = sum(design.accuracy >= good for design in kept)
    return Replayed(met, len(kept), 1_000 * many / spent, 100 * regret)


def alike(designs: Sequence[Measured], count: int, seed: int) -> list[Measured]:
    """Made-up designs whose figures have the distributions and rank correlations of these."""
    known = np.array([
        (d.parameters, *(look.loss for look in d.looks), d.full.loss, d.accuracy, d.second)
        for d in designs
    ])  # [designs, figures]  # fmt: skip
    ranks = stats.rankdata(known, axis=0) / (len(known) + 1)
    covariance = np.cov(stats.norm.ppf(ranks), rowvar=False)
    nothing, spread = np.zeros(len(covariance)), np.sqrt(np.diag(covariance))
    generator = np.random.default_rng(seed)
    scores = generator.multivariate_normal(nothing, covariance, count, check_valid="ignore")
    shares = stats.norm.cdf(scores / np.where(spread > 0, spread, 1.0))
    columns = [np.quantile(*each) for each in zip(known.T, shares.T, strict=True)]
    lengths = [look.epochs for look in designs[0].looks]
    made = []
    for parameters, *losses, loss, accuracy, second in np.column_stack(columns).tolist():
        looks = tuple(Look(*of, math.nan) for of in zip(lengths, losses, strict=True))
        full = Look(FULL, loss, accuracy)
        made.append(Measured(round(parameters), looks, (), full, second))
    return made


def compare(
    designs: list[Measured], tables: int, orders: int, epochs: float, seed: int, like: int = 0
) -> Table:
    """Replay every policy on the same draws of designs, in the same orders; one line a policy.

    With `like` each draw is of so many made-up designs that are like its own.
    """
    generator = random.Random(seed)
    drawn = [generator.choices(designs, k=len(designs)) for _ in range(tables)]
    if like:
        drawn = [alike(each, like, seed + number) for number, each in enumerate(drawn)]
    shuffled = [[generator.sample(each, len(each)) for _ in range(orders)] for each in drawn]
    found = {
        name: [[replay(order, policy, epochs) for order in each] for each in shuffled]
        for name, policy in (BY_LOOKS if like else POLICIES).items()
    }
    made = f", {like} made up like them" if like else ""
    many = f"{len(designs)} designs{made}, {tables} draws of {orders} orders"
    table = Table(title=f"{many}, {epochs:g} epochs to spend")
    table.add_column("policy", no_wrap=True)
    for heading in (
        "met",
        "in full",
        "good for 1,000 epochs",
        "regret, points",
        "times as many good",
    ):
        table.add_column(heading, justify="right")
    unjudged = _means(found["no judging"], "good_for_1000_epochs")
    for name, replayed in found.items():
        good = _means(replayed, "good_for_1000_epochs")
        table.add_row(
            name,
            f"{np.mean(_means(replayed, 'met')):.1f}", f"{np.mean(_means(replayed, 'full')):.1f}",
            _interval(good, 1), _interval(_means(replayed, "regret_points"), 3),
            _interval(_times(good, unjudged), 1, good.mean() / unjudged.mean()),
        )  # fmt: skip
    return table


Figures = npt.NDArray[np.float64]


def _means(replayed: Sequence[Sequence[Replayed]], figure: str) -> Figures:
    """The mean of a figure over the orders of each draw: [draws]."""
    return np.array([np.mean([getattr(each, figure) for each in draw]) for draw in replayed])


def _times(good: Figures, unjudged: Figures) -> Figures:
    """How many times as many, draw by draw; where both found none, as many."""
    endless = np.where(good > 0, np.inf, 1.0)
    return np.divide(good, unjudged, out=endless, where=unjudged > 0)


def _interval(values: Figures, digits: int, mean: float | None = None) -> str:
    low, high = np.percentile(values, (2.5, 97.5), method="nearest")
    middle = float(values.mean()) if mean is None else mean
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search_efficiency", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", type=int, default=100, help="draws (default %(default)s)")
    parser.add_argument("--orders", type=int, default=10, help="of each (default %(default)s)")
    parser.add_argument("--epochs", type=float, default=200, help="to spend (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument(
        "--like", type=int, default=0, metavar="N", help="made-up designs, N a draw"
    )
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        designs = read_table(options.folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    table = compare(
        designs, options.tables, options.orders, options.epochs, options.seed, options.like
    )
    Console(highlight=False, width=130).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
