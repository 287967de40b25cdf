"""Predictions: what a look says of the full training, over all designs that were trained.

    python -m benchmarks.predictions results/*/

Reads the trials of studies by looks, and the tables of `benchmarks.curves`; other folders are left
out. The first table that it prints has a regression for each step of `search.looks`: of the log
loss of the longer training on log(1 + loss / middling loss) of the shorter one, and on 6,000 /
parameters. From such lines come the figures there. *Left over* is the root mean square of the rest,
each study predicted by the lines of the others. The second says how full trainings of 19 epochs
were predicted from looks of 3, in per cent of the loss: by each study when it ran; by the search as
it is now, which learns from the study's own full trainings as they end; and, so that nothing is
judged by what it was made from, by the line of the others alone. *Too low* is how far losses lay
above what was expected, on average; the error is the root mean square. Last comes how much a full
training counts against what its look of 3 epochs led to expect, for what another seed shows: by
regressions of the log loss of the second seed of a table, and of the mean test loss of the fresh
seeds of a confirmation, on the logs of both.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.curves import FULL
from search.looks import STEPS, TYPICAL, Judged, Look, Predictor, expected_log_loss
from search.record import TO_THE_END
from search.tables.trials import rows_of

LARGE = 10_000
"""Parameters of a design from which on it counts as large."""

LAST = (3.0, FULL)
"""The step that a search takes before a full training."""

LEAST_SHOWN = 10
"""Pairs of seeds with which a weight is told."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seen:
    """A design of a folder: its looks and full training, and what its study expected of it."""

    folder: str
    design: Judged
    expected: float | None = None
    is_random: bool = False

    def look(self, epochs: float) -> Look | None:
        """Its complete training of that length, if it had one."""
        if epochs == FULL:
            return self.design.full
        return next((look for look in self.design.looks if look.epochs == epochs), None)

    def log_loss(self, epochs: float) -> float:
        """The log of its validation loss after that training, which it must have had."""
        look = self.look(epochs)
        assert look is not None
        return math.log(look.loss)


def read(folders: Sequence[Path]) -> list[Seen]:
    """The designs that were looked at, in the order in which each study ended its trials.

    Full trainings that were not of 19 epochs are left out.
    """
    found = []
    for folder in folders:
        if (folder / "designs.csv").is_file():
            found += _of_table(folder)
        elif (folder / "trials.csv").is_file():
            trials = pd.read_csv(folder / "trials.csv")
            if "look_1_loss" in trials and "ended" in trials:
                found += [_of_study(folder.name, row) for row in rows_of(_ended(trials))]
    return [each for each in found if each.design.looks]


def _ended(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that have a design, in the order in which they ended."""
    return trials[trials["parameters"].notna()].sort_values("ended", kind="stable")


def _of_study(folder: str, row: dict[str, Any]) -> Seen:
    losses = {length: row.get(f"look_{length:g}_loss") for length in TYPICAL if length < FULL}
    if row["state"] in TO_THE_END and row["epochs"] == FULL:
        losses[FULL] = row["validation_loss"]
    design = _judged(int(row["parameters"]), losses)
    return Seen(folder, design, row.get("predicted_loss"))


def _of_table(folder: Path) -> list[Seen]:
    """Each design of a table with its trainings of the first seed."""
    sizes = pd.read_csv(folder / "designs.csv", dtype={"design": "str"}).set_index("design")
    trainings = pd.read_csv(folder / "trainings.csv", dtype={"design": "str"})
    first = trainings[(trainings["outcome"] == "finished") & (trainings["seed"] == 1)]
    found = []
    for name, rows in first.groupby("design"):
        losses = dict(zip(rows["budget_epochs"], rows["validation_loss"], strict=True))
        design = _judged(int(sizes["parameters"][name]), losses)
        found.append(Seen(folder.name, design, is_random=True))
    return found


def _judged(parameters: int, losses: dict[float, float | None]) -> Judged:
    looks = {length: Look(length, loss, math.nan) for length, loss in losses.items() if loss}
    full = looks.pop(FULL, None)
    return Judged(parameters, int(FULL), tuple(looks.values()), full)


@dataclass(frozen=True, slots=True)
class Line:
    """A regression: level, how much the longer follows the shorter, size; as in `STEPS`.

    `errors` are those of the lines that were fitted without a design's own folder.
    """

    coefficients: Array
    errors: Array


def line(designs: Sequence[Seen], short: float, long: float) -> Line:
    """The line of a step; the designs must have both trainings, and be of two folders or more."""
    above = np.array([each.log_loss(short) for each in designs]) - TYPICAL[short]
    sizes = np.array([6_000 / each.design.parameters for each in designs])
    rows = np.column_stack([np.ones(len(designs)), np.log1p(np.exp(above)), sizes])
    logs = np.array([each.log_loss(long) for each in designs]) - TYPICAL[long]
    folders = np.array([each.folder for each in designs])
    errors = np.empty(len(designs))
    for folder in set(folders):
        mine = folders == folder
        errors[mine] = logs[mine] - rows[mine] @ _fitted(rows[~mine], logs[~mine])
    return Line(_fitted(rows, logs), errors)


def _fitted(rows: Array, logs: Array) -> Array:
    return np.asarray(np.linalg.lstsq(rows, logs, rcond=None)[0])


def both(designs: Sequence[Seen], short: float, long: float) -> list[Seen]:
    """The designs that had trainings of both lengths."""
    return [each for each in designs if each.look(short) and each.look(long)]


def as_now(designs: Sequence[Seen]) -> Array:
    """The errors of the search's predictor, which knows the study's full trainings so far.

    `designs` are in the order of their folders. Of random designs it knows no others.
    """
    errors, before = [], list[Seen]()
    for each in designs:
        before = [] if each.is_random else [old for old in before if old.folder == each.folder]
        look = each.look(LAST[0])
        assert look is not None
        asked = Judged(each.design.parameters, int(FULL), (look,))
        expected = Predictor([old.design for old in before]).loss(asked)
        errors.append(each.log_loss(FULL) - math.log(expected))
        before.append(each)
    return np.array(errors)


def lines_table(designs: Sequence[Seen]) -> Table:
    """One row a step."""
    made = Table(title="What a look says of a longer training")
    for heading in ("look", "training", "designs", "level", "follows", "size", "left over"):
        made.add_column(heading, justify="right")
    for short, long in STEPS:
        having = both(designs, short, long)
        found = line(having, short, long)
        told = [f"{value:+.3f}" for value in found.coefficients]
        left = f"{math.sqrt(np.mean(found.errors**2)):.3f}"
        made.add_row(f"{short:g}", f"{long:g}", f"{len(having):,}", *told, left)
    return made


def errors_table(designs: Sequence[Seen]) -> Table:
    """One row a way of predicting, for designs that had a look of 3 epochs."""
    having = [each for each in both(designs, *LAST) if each.is_random or each.expected]
    random = np.array([each.is_random for each in having])
    large = np.array([each.design.parameters >= LARGE for each in having]) & ~random
    then = np.array([each.log_loss(FULL) - math.log(each.expected or math.nan) for each in having])
    groups = {
        "of studies": ~random, f"from {LARGE:,} parameters": large, "random, of a table": random
    }  # fmt: skip
    made = Table(title="How full trainings were predicted: too low, and error, in %")
    made.add_column("by")
    for name, group in groups.items():
        made.add_column(f"{name} ({group.sum()})", justify="right")
    for name, errors in (
        ("the study, then", then),
        ("the search, now", as_now(having)),
        ("the line of the others", line(having, *LAST).errors),
    ):
        made.add_row(name, *(_told(errors[group]) for group in groups.values()))
    return made


def _told(errors: Array) -> str:
    if not len(errors) or np.isnan(errors).any():
        return "-"
    return f"{100 * errors.mean():+.1f}, {100 * math.sqrt(np.mean(errors**2)):.1f}"


Shown = tuple[float, float, float]
"""Logs of a design's losses: expected after its look of 3 epochs, of its full training, of another
seed."""


def second_seeds(folders: Sequence[Path]) -> list[Shown]:
    """Of tables: each of the two seeds of a design once as the other one."""
    shown = []
    for folder in folders:
        if not (folder / "designs.csv").is_file():
            continue
        sizes = pd.read_csv(folder / "designs.csv", dtype={"design": "str"}).set_index("design")
        trainings = pd.read_csv(folder / "trainings.csv", dtype={"design": "str"})
        done = trainings[trainings["outcome"] == "finished"]
        by_seed = done.pivot_table(
            index="design", columns=["budget_epochs", "seed"], values="validation_loss"
        )
        whole = by_seed.reindex(columns=[(LAST[0], 1), (FULL, 1), (FULL, 2)]).dropna()
        for name, (look, one, other) in zip(whole.index, whole.to_numpy(), strict=True):
            size = int(sizes["parameters"][name])
            expected = expected_log_loss(Look(LAST[0], look, math.nan), size, FULL)
            shown += [(expected, math.log(a), math.log(b)) for a, b in ((one, other), (other, one))]
    return shown


def fresh_seeds(folders: Sequence[Path]) -> list[Shown]:
    """Of studies: each finalist with two fresh seeds or more, judged on the test images."""
    shown = []
    for folder in folders:
        if not (folder / "confirmations.csv").is_file():
            continue
        runs = pd.read_csv(folder / "confirmations.csv")
        trials = pd.read_csv(folder / "trials.csv")
        if "judge" not in runs or "look_3_loss" not in trials:
            continue
        done = runs[(runs["judge"] == "test") & (runs["state"] == "done")]
        losses = done.groupby("trial")["test_loss"].agg(["mean", "count"])
        for row in rows_of(trials.merge(losses, left_on="trial", right_index=True)):
            is_whole = row["state"] in TO_THE_END and row["epochs"] == FULL
            if is_whole and row["count"] > 1 and row["look_3_loss"] is not None:
                look = Look(LAST[0], row["look_3_loss"], math.nan)
                expected = expected_log_loss(look, int(row["parameters"]), FULL)
                shown.append((expected, math.log(row["validation_loss"]), math.log(row["mean"])))
    return shown


def weight(shown: Sequence[Shown]) -> float:
    """How much the full training counts against what was expected, from 0 to 1."""
    expected, measured, other = np.array(shown).T
    rows = np.column_stack([np.ones(len(shown)), expected, measured])
    _, of_expected, of_measured = _fitted(rows, other)
    return float(of_measured / (of_expected + of_measured))


def main(arguments: list[str] | None = None) -> int:
    """Print both tables; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.predictions", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folders", type=Path, nargs="+", metavar="results/STUDY")
    options = parser.parse_args(arguments)
    designs = read(options.folders)
    folders = [{each.folder for each in both(designs, *step)} for step in STEPS]
    if min(map(len, folders)) < 2:
        print(
            "error: too few of these folders are studies by looks of 0.25, 1 and 3 epochs and full "
            "trainings of 19, or tables of benchmarks.curves; give two or more, such as results/*/",
            file=sys.stderr,
        )
        return 2
    console = Console(highlight=False, width=120)
    console.print(lines_table(designs))
    console.print(errors_table(designs))
    for name, shown in (
        ("random designs, two seeds", second_seeds(options.folders)),
        ("finalists of searches, fresh seeds", fresh_seeds(options.folders)),
    ):
        if len(shown) > LEAST_SHOWN:
            console.print(f"A full training counts {weight(shown):.2f}: {name} ({len(shown)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
