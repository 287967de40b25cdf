"""Which recipe trains small networks best: one choice changed at a time, by size and length.

    python -m benchmarks.recipes results/recipes          # trains what is missing, then the table
    python -m benchmarks.recipes results/recipes --show      # the table of what is there

Every training is complete, on the 50,000 images of the protocol `holdout`, judged on the 10,000 of
the validation part after its last epoch. The table gives, for each size and number of epochs, the
mean validation loss and accuracy of each recipe over its seeds and the difference from the first
recipe, with its standard error (seeds are paired: the same seed gives the same initial weights and
the same order of images).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.trainings import Training, train_all
from mnist_arch.design import AveragePool, Conv, DepthwiseConv, Design, Layer, MaxPool
from mnist_arch.recipe import RECIPES, Recipe
from mnist_arch.references import BASELINE
from search.tables.trials import rows_of


def separable(*widths: int) -> Design:
    """The layout of `published-4392` with other widths: first, two blocks, 1x1, three blocks."""
    first, one, two, narrow, three, four, five = widths

    def block(channels: int) -> tuple[Layer, ...]:
        return (DepthwiseConv(padding=0), Conv(channels, 1, 0))

    return Design((
        Conv(first, padding=0), *block(one), *block(two), MaxPool(), Conv(narrow, 1, 0),
        *block(three), *block(four), *block(five), AveragePool(), _logits(),
    ))  # fmt: skip


def searched() -> Design:
    """The layout that won `results/class-proof`: separable blocks with SiLU, an average pool."""
    path = Path(__file__).parents[1] / "results" / "class-starts" / "averaged.json"
    return Design.from_dict(json.loads(path.read_text()))


def plain(words: str) -> Design:
    """3x3 convolutions of these widths (`v`: no padding, `M`: max-pool), average, 1x1."""
    layers: list[Layer] = []
    for word in words.split():
        padding = 0 if word.endswith("v") else 1
        layers.append(MaxPool() if word == "M" else Conv(int(word.rstrip("v")), padding=padding))
    return Design((*layers, AveragePool(), _logits()))


def _logits() -> Conv:
    return Conv(10, 1, 0, batch_norm=False, relu=False, bias=True)


DESIGNS: dict[str, Design] = {
    "separable-2.4k": separable(8, 10, 18, 10, 14, 16, 24),
    "plain-2.7k": plain("5v 6 M 7 10v M 13v"),
    "separable-4.5k": separable(16, 16, 32, 16, 16, 24, 32),
    "searched-7.9k": searched(),
    "plain-10.8k": plain("8v 16 M 16 16 M 16 16"),
    "assignment": BASELINE,
}
"""Designs of about 2,500, 5,000, 8,000, 10,000 and 18,000 parameters."""

_DEFAULT = RECIPES["default"]

VARIANTS: dict[str, Recipe] = {
    "default": _DEFAULT,
    "decay 1e-4": replace(_DEFAULT, weight_decay=1e-4),
    "decay 1e-5": replace(_DEFAULT, weight_decay=1e-5),
    "decay 1e-5, rate 0.2": replace(_DEFAULT, weight_decay=1e-5, learning_rate=0.2),
    "decay 1e-5, half the augmentation": replace(
        _DEFAULT, weight_decay=1e-5
    ).with_augmentation_strength(0.5),
    "decay 1e-5, batch 64": replace(_DEFAULT, weight_decay=1e-5, batch_size=64),
    "decay 1e-5, warm-up 0.15": replace(_DEFAULT, weight_decay=1e-5, warm_up=0.15),
    "batch 64": replace(_DEFAULT, batch_size=64),
    "half the augmentation": _DEFAULT.with_augmentation_strength(0.5),
    "batch 64, half the augmentation": replace(_DEFAULT, batch_size=64).with_augmentation_strength(
        0.5
    ),
    "1.5 times the augmentation": _DEFAULT.with_augmentation_strength(1.5),
    "rate 0.2": replace(_DEFAULT, learning_rate=0.2),
    "label smoothing 0.05": replace(_DEFAULT, label_smoothing=0.05),
    "averaging 0.998": replace(_DEFAULT, averaging=0.998),
}
"""Recipes to compare, the first with all others."""


def trainings(
    epochs: list[int], seeds: int, designs: list[str], recipes: list[str]
) -> list[Training]:
    """Every training of the comparison, the cheap ones first, all recipes of one seed together."""
    return [
        Training(name, DESIGNS[name], recipe, VARIANTS[recipe], length, seed)
        for length in sorted(epochs)
        for seed in range(1, seeds + 1)
        for name in designs
        for recipe in recipes
    ]


def compare(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a design, length and recipe: means, and the paired difference from the default."""
    keys = ["design", "budget_epochs", "recipe"]
    frame = frame[frame["outcome"] == "finished"]
    default = frame[frame["recipe"] == "default"].set_index(["design", "budget_epochs", "seed"])
    rows = []
    for (design, length, recipe), group in frame.groupby(keys, sort=False):
        own = group.set_index(["design", "budget_epochs", "seed"])
        pairs = own.join(default.add_suffix("_default"), how="inner")
        loss = pairs["validation_loss"] - pairs["validation_loss_default"]
        accuracy = pairs["validation_accuracy"] - pairs["validation_accuracy_default"]
        rows.append({
            "design": design, "epochs": length, "recipe": recipe, "seeds": len(own),
            "loss": own["validation_loss"].mean(), "accuracy": own["validation_accuracy"].mean(),
            "loss_difference": loss.mean(), "loss_error": _standard_error(loss),
            "accuracy_difference": accuracy.mean(), "accuracy_error": _standard_error(accuracy),
        })  # fmt: skip
    return pd.DataFrame(rows).sort_values(["epochs", "design"], kind="stable")


def _standard_error(differences: pd.Series[float]) -> float:
    return float(differences.std(ddof=1) / np.sqrt(len(differences)))


def as_table(rows: pd.DataFrame) -> Table:
    """The comparison for the terminal; accuracies in percent, differences in points."""
    table = Table(title="recipes, after the last epoch")
    for heading in ("design", "epochs", "recipe", "seeds", "loss", "difference", "%", "points"):
        table.add_column(heading, no_wrap=True)
    for row in rows_of(rows):
        table.add_row(
            row["design"], f"{row['epochs']:g}", row["recipe"], str(row["seeds"]),
            f"{row['loss']:.4f}", _difference(row, "loss", 1, 4),
            f"{100 * row['accuracy']:.3f}", _difference(row, "accuracy", 100, 3),
        )  # fmt: skip
    return table


def _difference(row: Mapping[str, Any], name: str, factor: int, digits: int) -> str:
    """A difference with its standard error, which one seed does not have."""
    difference, error = row[f"{name}_difference"], row[f"{name}_error"]
    text = f"{factor * difference:+.{digits}f}"
    return text if error is None else f"{text} ± {factor * error:.{digits}f}"


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing and print the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path)
    parser.add_argument("--show", action="store_true", help="train nothing")
    parser.add_argument("--epochs", type=int, nargs="+", default=[3, 8, 19], metavar="N")
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS))
    parser.add_argument("--recipes", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="start none after this")
    options = parser.parse_args(arguments)
    if not options.show:
        orders = trainings(options.epochs, options.seeds, options.designs, options.recipes)
        train_all(orders, options.folder, options.workers, options.timeout)
    rows = compare(pd.read_csv(options.folder / "trainings.csv"))
    Console(highlight=False, width=130).print(as_table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
