"""A small tabular benchmark: designs of the space in complete trainings of several lengths.

    python -m benchmarks.curves results/table --designs 200     # trains what is missing
    python -m benchmarks.curves results/table --lengths 0.25 1  # the short ones first

Designs are drawn at random from the space, 1,500 to 20,000 parameters; those that the folder has
stay. Each is trained with one seed for each length of the search's looks, and with two seeds for 19
epochs, on the 50,000 images of the protocol `holdout`. `designs.csv` has a row a design,
`trainings.csv` a row a training, `epochs.csv` a row an epoch.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import optuna
import pandas as pd

from benchmarks.trainings import Training, train_all
from mnist_arch.design import Design
from mnist_arch.plan import plan
from mnist_arch.recipe import RECIPES
from search import files
from search.config import LOOKS
from search.space import Space
from search.tables.describe import describe_widths

FULL = 19.0
FULL_SEEDS = 2


def designs(count: int, folder: Path | None = None) -> list[Design]:
    """The first `count` designs of the table, all different.

    Those that a folder's `designs.csv` holds come first: a later space draws others.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    found: dict[str, Design] = {}
    if folder is not None and (folder / "designs.csv").exists():
        for text in pd.read_csv(folder / "designs.csv")["json"][:count]:
            design = Design.from_dict(json.loads(text))
            found.setdefault(design.fingerprint, design)
    while len(found) < count:
        design = Space().suggest_design(study.ask())
        found.setdefault(design.fingerprint, design)
    return list(found.values())


def trainings(of: list[Design]) -> list[Training]:
    """Every training of the table, design by design, so that what is there is whole."""
    budgets = [*((look, 1) for look in LOOKS), *((FULL, seed + 1) for seed in range(FULL_SEEDS))]
    return [
        Training(design.fingerprint, design, "default", RECIPES["default"], epochs, seed)
        for design in of
        for epochs, seed in budgets
    ]


def designs_frame(of: list[Design]) -> pd.DataFrame:
    """One row a design."""
    rows = []
    for design in of:
        walked = plan(design)
        rows.append({
            "design": design.fingerprint, "parameters": walked.parameters, "macs": walked.macs,
            "widths": describe_widths(design),
            "json": json.dumps(design.to_dict(), separators=(",", ":")),
        })  # fmt: skip
    return pd.DataFrame(rows)


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.curves", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path)
    parser.add_argument("--designs", type=int, default=200, metavar="N", help="default %(default)s")
    parser.add_argument(
        "--lengths", type=float, nargs="+", default=[*LOOKS, FULL], choices=[*LOOKS, FULL],
        metavar="EPOCHS", help="only trainings of these lengths; default all: %(default)s",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="default %(default)s")
    parser.add_argument(
        "--device", default="cpu", choices=("auto", "cpu", "cuda"), help="default %(default)s"
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="start none after this")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen = designs(options.designs, options.folder)
    files.make_folder(options.folder)
    text = designs_frame(chosen).to_csv(index=False, lineterminator="\n")
    files.write_text(options.folder / "designs.csv", text)
    wanted = [each for each in trainings(chosen) if each.budget_epochs in options.lengths]
    missing = train_all(wanted, options.folder, options.workers, options.timeout,
                        options.device)  # fmt: skip
    print(f"{missing} trainings are missing; the same command goes on." if missing else "Complete.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
