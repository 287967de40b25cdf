"""Second seed: what one full training of a design says of another of it, by loss or by accuracy.

    python -m benchmarks.second_seed results/table

A search trains its best designs once, and the most accurate is chosen by what that one training
measured. Here designs that two seeds trained tell which figure of the first predicts the accuracy
of the second: regressions of the log of the share that the second misreads on the log of the share
that the first misreads, on the log of its validation loss, and on both, each training once the
first and once the second. The less is left over, the better the figure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.curves import FULL

FIGURES: dict[str, tuple[str, ...]] = {
    "accuracy": ("misread",),
    "loss": ("validation_loss",),
    "both": ("misread", "validation_loss"),
}
"""Columns of the first training that predict, by what they are called."""

BOOTSTRAPS = 2_000


def pairs(trainings: pd.DataFrame, epochs: float, misread: float) -> pd.DataFrame:
    """A row for each two seeds of a design: `misread` and `validation_loss` of one, `second`.

    Of trainings of so many epochs, both of which misread at most that share. `second` is the share
    that the other misread.
    """
    kept = trainings[(trainings["budget_epochs"] == epochs)].copy()
    kept["misread"] = 1 - kept["validation_accuracy"]
    kept = kept[kept["misread"] <= misread]
    kept = kept[["design", "seed", "misread", "validation_loss"]]
    both = kept.merge(kept[["design", "seed", "misread"]], on="design", suffixes=("", "_other"))
    both = both[both["seed"] != both["seed_other"]]
    return both.rename(columns={"misread_other": "second"}).drop(columns="seed_other")


def left_over(found: pd.DataFrame, columns: Sequence[str]) -> float:
    """Standard deviation of what the regression leaves of the log of `second`."""
    logs = np.log(found[[*columns, "second"]].to_numpy(dtype=float))  # [pairs, columns]
    features = np.column_stack([np.ones(len(logs)), logs[:, :-1]])
    line = np.linalg.lstsq(features, logs[:, -1], rcond=None)[0]
    return float(np.std(logs[:, -1] - features @ line))


def differences(found: pd.DataFrame, seed: int = 0) -> NDArray[np.float64]:
    """How much less loss leaves over than accuracy, for other draws of designs (bootstrap)."""
    generator = np.random.default_rng(seed)
    of_design = [rows for _, rows in found.groupby("design")]
    drawn = generator.integers(len(of_design), size=(BOOTSTRAPS, len(of_design)))
    samples = (pd.concat([of_design[index] for index in draw]) for draw in drawn)
    return np.array([
        left_over(each, FIGURES["accuracy"]) - left_over(each, FIGURES["loss"]) for each in samples
    ])  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Print what each figure leaves over; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.second_seed", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path, metavar="results/TABLE")
    parser.add_argument("--epochs", type=float, default=FULL, help="default %(default)s")
    parser.add_argument(
        "--misread", type=float, default=0.02, metavar="SHARE",
        help="leave out trainings that misread more (default %(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    table = pd.read_csv(options.folder / "trainings.csv", dtype={"design": "str"})
    found = pairs(table, options.epochs, options.misread)
    designs = found["design"].nunique()
    if designs < 3:
        print(
            f"error: {options.folder} has {designs} designs with two such trainings; give a table "
            "with at least 3, or a larger --misread",
            file=sys.stderr,
        )
        return 2
    print(f"{designs} designs, {len(found)} pairs of trainings of {options.epochs:g} epochs.")
    print("Left over of the log of the share that another seed misreads, standard deviation:")
    for name, columns in FIGURES.items():
        print(f"  by {name:<9} {left_over(found, columns):.3f}")
    low, high = np.percentile(differences(found), [2.5, 97.5])
    print(f"Loss leaves {low:+.3f} to {high:+.3f} less than accuracy (95 %, other designs).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
