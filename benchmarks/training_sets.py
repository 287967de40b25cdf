"""Training sets: how much of an accuracy is the luck of which images were fitted.

    python -m benchmarks.training_sets --sets 4 --to results/coverage

Confirmation by folds rests on six trainings whose sets overlap; how much they share cannot be seen
in their spread. Here the 60,000 training images are cut into six sets that share nothing, several
seeds fit each, and all are judged on the test images: the variance between sets, beyond that
between seeds, is the sets'. Sets of 10,000 images vary more than sets of 60,000 do.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mnist_arch.build import build
from mnist_arch.data import Digits, load
from mnist_arch.engine import choose_engine, gather_for, prepare
from mnist_arch.folds import cut
from mnist_arch.recipe import RECIPES
from mnist_arch.references import REFERENCE_DESIGNS
from mnist_arch.training import evaluate, fit_epochs, seed_everything


def accuracy(name: str, fit: Digits, judged: Digits, epochs: int, seed: int) -> float:
    """The accuracy after the last epoch of a reference design, one thread, fast engine."""
    engine = choose_engine("auto", "cpu")
    seed_everything(seed)
    network = prepare(build(REFERENCE_DESIGNS[name]), engine, 1)
    gather = gather_for(engine)
    for _ in fit_epochs(network, RECIPES["default"], epochs, fit, seed, gather):
        pass
    return evaluate(network, judged, gather)[1]


def deviations(table: pd.DataFrame) -> tuple[float, float]:
    """Standard deviations of an accuracy over sets, and over seeds on one set, in shares.

    One-way analysis of variance with random sets; a negative estimate counts as none.
    """
    by_set = table.groupby("set")["accuracy"]
    seeds = float(by_set.var(ddof=1).mean())
    between = float(by_set.mean().var(ddof=1)) - seeds / int(by_set.size().iloc[0])
    return float(np.sqrt(max(0.0, between))), float(np.sqrt(seeds))


def main(arguments: list[str] | None = None) -> None:
    """Train, print the two standard deviations, and write the accuracies where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--design", choices=REFERENCE_DESIGNS, default="assignment")
    parser.add_argument("--epochs", type=int, default=6, help="default %(default)s")
    parser.add_argument("--sets", type=int, default=6, help="of six (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=4, help="on each set (default %(default)s)")
    parser.add_argument("--to", type=Path, help="also write training_sets.csv into this folder")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    train, test = load("train"), load("test")
    rows = []
    parts = cut(train.labels, torch.arange(len(train)))[: options.sets]
    for number, part in enumerate(parts):
        for seed in range(options.seeds):
            run = 1_000 * number + seed
            value = accuracy(options.design, train.take(part), test, options.epochs, run)
            rows.append({"set": number, "seed": run, "accuracy": value})
            print(f"set {number}  seed {run:>4}  {value * 100:.2f} %", flush=True)
    table = pd.DataFrame(rows).round(6)
    of_sets, of_seeds = deviations(table)
    print(f"Standard deviation, points: sets {of_sets * 100:.3f}, seeds {of_seeds * 100:.3f}.")
    if options.to:
        options.to.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.to / "training_sets.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
