"""Compare pruners on whole learning curves: what each would have saved, what it would have lost.

    python -m search.run --study curves --trials 24 --no-pruning --train-images 20000
    python -m benchmarks.pruners results/curves

replays the study's validation accuracies, epoch by epoch, through the schedule in use and Optuna's
pruners, with the designs in `--orders` random orders, and prints for each: epochs trained as a
share of all;
how often the best design (after its last epoch) was trained to its end; how many of the five best
were; and what is lost, in points: the best accuracy minus that of the best design kept.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from rich.console import Console
from rich.table import Table

from mnist_arch.errors import UserError
from search import schedules

Curve = list[float]
"""Validation accuracy after each epoch, shares in [0, 1]."""

BEST = 5


class InUse(BasePruner):
    """A schedule of the search in the place of a pruner: asked at its rungs alone."""

    def __init__(self, schedule: schedules.Halving, epochs: int) -> None:
        self._schedule, self._rungs = schedule, schedule.rungs(epochs)

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether the schedule stops the trial after its last epoch."""
        epoch = trial.last_step
        if epoch not in self._rungs:
            return False
        others = [
            other.intermediate_values
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number
        ]
        reason = self._schedule.stop_reason(epoch, trial.intermediate_values[epoch], others)
        return bool(reason)


PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "none": lambda _: NopPruner(),
    "in use: halving, first rung 3, third": lambda epochs: InUse(schedules.Halving(), epochs),
    "halving, first rung 1, third": lambda _: SuccessiveHalvingPruner(1, 3),
    "halving, first rung 2, third": lambda _: SuccessiveHalvingPruner(2, 3),
    "halving, first rung 3, half": lambda _: SuccessiveHalvingPruner(3, 2),
    "halving, first rung 5, half": lambda _: SuccessiveHalvingPruner(5, 2),
    "Hyperband, from 1, third": lambda epochs: HyperbandPruner(1, epochs, 3),
    "median, from epoch 3": lambda _: MedianPruner(n_startup_trials=5, n_warmup_steps=3),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one replay came to: epochs trained, indices of the designs trained to the end."""

    epochs: int
    kept: frozenset[int]


def read_curves(folder: Path) -> list[Curve]:
    """Read the whole learning curves of a study; raises `UserError` unless there are enough."""
    curves: dict[str, Curve] = defaultdict(list)
    try:
        with (folder / "epochs.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                curves[row["trial"]].append(float(row["validation_accuracy"]))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{folder} holds no study with an epochs.csv ({error})") from None
    longest = max(map(len, curves.values()), default=0)
    whole = [curve for curve in curves.values() if len(curve) == longest]
    if len(whole) < 2 * BEST or len(whole) < len(curves):
        raise UserError(
            f"{folder} must hold at least {2 * BEST} designs, all of them trained to the end "
            f"(python -m search.run --no-pruning); found {len(whole)} of {len(curves)}"
        )
    return whole


def replay(curves: list[Curve], order: list[int], pruner: BasePruner) -> Outcome:
    """Show the designs to a pruner one after another, each until it is stopped or ends."""
    name = "-".join(map(str, order))  # Hyperband assigns its brackets by the study's name
    study = optuna.create_study(direction="maximize", pruner=pruner, study_name=name)
    epochs, kept = 0, set()
    for index in order:
        trial = study.ask()
        for epoch, accuracy in enumerate(curves[index], 1):
            epochs += 1
            trial.report(accuracy, epoch)
            if epoch < len(curves[index]) and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            kept.add(index)
            study.tell(trial, curves[index][-1])
    return Outcome(epochs, frozenset(kept))


def compare(curves: list[Curve], orders: int, seed: int) -> Table:
    """Replay every pruner on the same random orders; one line a pruner."""
    generator = random.Random(seed)
    shuffled = [generator.sample(range(len(curves)), len(curves)) for _ in range(orders)]
    finals = [curve[-1] for curve in curves]
    best = sorted(range(len(curves)), key=lambda index: -finals[index])[:BEST]
    table = Table(title=f"{len(curves)} designs of {len(curves[0])} epochs, {orders} orders")
    table.add_column("pruner")
    for heading in ("epochs", "best kept", f"of best {BEST}", "lost"):
        table.add_column(heading, justify="right")
    for name, make in PRUNERS.items():
        outcomes = [replay(curves, order, make(len(curves[0]))) for order in shuffled]
        spent = fmean(outcome.epochs for outcome in outcomes) / sum(map(len, curves))
        top = fmean(best[0] in outcome.kept for outcome in outcomes)
        several = fmean(len(outcome.kept.intersection(best)) for outcome in outcomes)
        lost = fmean(
            finals[best[0]] - max((finals[index] for index in outcome.kept), default=0)
            for outcome in outcomes
        )
        table.add_row(name, f"{spent:.0%}", f"{top:.0%}", f"{several:.1f}", f"{100 * lost:.3f}")
    return table


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pruners", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path, help="a study made with --no-pruning")
    parser.add_argument("--orders", type=int, default=50, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        curves = read_curves(options.folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    Console(highlight=False).print(compare(curves, options.orders, options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
