r"""Compare the accuracy that engines reach: the same design, recipe and seeds on each.

    for seed in 0 1 2 3 4; do for engine in torch lanes; do
      python -m search.train --design assignment --engine $engine --seed $seed --threads 1 \\
        --results results/engines --study $engine-$seed
    done; done
    python -m benchmarks.engines results/engines

prints, for each engine, the validation accuracy after the last epoch: mean, standard deviation,
smallest and largest over the seeds, and the difference of the means with its standard error.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mnist_arch.errors import UserError

Accuracies = dict[str, dict[int, float]]
"""Accuracy after the last epoch, a share in [0, 1], by engine and seed."""


def read_accuracies(folder: Path) -> Accuracies:
    """Read the finished trainings below a folder.

    Raises `UserError` where there are none, or where they differ in more than engine and seed.
    """
    found: Accuracies = defaultdict(dict)
    kinds = set()
    for path in sorted(folder.glob("*/training.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if not document["finished"]:
            continue
        settings = {key: value for key, value in document["settings"].items() if key != "seed"}
        kinds.add(json.dumps([document["design"], settings], sort_keys=True))
        with (path.parent / "epochs.csv").open(encoding="utf-8", newline="") as file:
            *_, last = csv.DictReader(file)
        accuracy = float(last["validation_accuracy"])
        found[document["engine"]][document["settings"]["seed"]] = accuracy
    if len(kinds) != 1:
        raise UserError(
            f"{folder} must hold trainings of one design under the same settings, made with "
            f"python -m search.train; found {len(kinds)} kinds"
        )
    return dict(found)


def make_table(accuracies: Accuracies) -> Table:
    """One line an engine, in percent."""
    table = Table(title="validation accuracy after the last epoch, %")
    table.add_column("engine")
    for heading in ("seeds", "mean", "standard deviation", "smallest", "largest"):
        table.add_column(heading, justify="right")
    for engine, by_seed in sorted(accuracies.items()):
        values = [100 * value for value in by_seed.values()]
        deviation = f"{statistics.stdev(values):.3f}" if len(values) > 1 else "-"
        cells = (statistics.fmean(values), min(values), max(values))
        mean, least, most = (f"{value:.3f}" for value in cells)
        table.add_row(engine, str(len(values)), mean, deviation, least, most)
    return table


def difference(accuracies: Accuracies) -> str:
    """The difference of two engines' means, in points, with its standard error."""
    (one, ones), (two, twos) = sorted(accuracies.items())
    gap = 100 * (statistics.fmean(ones.values()) - statistics.fmean(twos.values()))
    variances = (statistics.variance(v.values()) / len(v) for v in (ones, twos))
    return f"{one} - {two}: {gap:+.3f} points, standard error {100 * math.sqrt(sum(variances)):.3f}"


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engines", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path, help="where the trainings are")
    folder = parser.parse_args(arguments).folder
    try:
        accuracies = read_accuracies(folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    console = Console(highlight=False)
    console.print(make_table(accuracies))
    if len(accuracies) == 2 and all(len(by_seed) > 1 for by_seed in accuracies.values()):
        console.print(difference(accuracies))
    return 0


if __name__ == "__main__":
    sys.exit(main())
