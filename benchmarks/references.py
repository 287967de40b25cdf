"""Train the published reference designs under our protocol, on fresh seeds; compare the figures.

    python -m benchmarks.references results/published

fits each design on all 60,000 training images and judges it once, on the test images, after the
last epoch: five seeds under each recipe below. A row goes to `runs.csv` as its training ends, and
`summary.csv` is made anew of all rows. The same command goes on where it was stopped; two rows
with the same seed index share their seed, so designs and recipes are paired.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mnist_arch.engine import ENGINES
from mnist_arch.errors import UserError
from mnist_arch.plan import plan
from mnist_arch.recipe import RECIPES
from mnist_arch.references import REFERENCE_DESIGNS
from mnist_arch.rules import Rules
from search import facts, files
from search.config import Machine
from search.executors import make_executor
from search.executors.attempts import Attempts
from search.seeds import confirmation_seed
from search.statistics import verdict
from search.task import Budget, Result, Task

PUBLISHED = {"published-4392": 0.9946, "published-7758": 0.9963}
"""What their authors report, a share: one run, its last epoch, the test images as validation."""

USED = {
    "default": RECIPES["default"],
    "light decay": replace(RECIPES["default"], name="light decay", weight_decay=1e-5),
}
"""Our default recipe, and the same with the weight decay that small networks want."""

TEST_IMAGES, TARGET = 10_000, 0.994
RUN_COLUMNS = (
    "design", "recipe", "seed_index", "seed", "state", "epochs", "train_images", "train_loss",
    "train_accuracy", "test_loss", "test_accuracy", "seconds", "engine", "commit",
)  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One training to do: a named design, a named recipe, the index of its seed."""

    design: str
    recipe: str
    seed_index: int

    def task(self, epochs: int, train_images: int | None) -> Task:
        """What an executor is to do."""
        return Task(
            REFERENCE_DESIGNS[self.design], Rules(), USED[self.recipe],
            Budget(epochs, train_images), confirmation_seed(0, self.seed_index),
            protocol="assignment", judged="last epoch",
        )  # fmt: skip

    def row(self, task: Task, result: Result, commit: str) -> Row:
        """What came of it."""
        last = result.epochs[-1] if result.outcome == "finished" else None
        figures: Row = {}
        if last is not None:
            figures = {
                "train_loss": last.train_loss, "train_accuracy": last.train_accuracy,
                "test_loss": last.validation_loss, "test_accuracy": last.validation_accuracy,
                "seconds": round(last.train_seconds, 1),
            }  # fmt: skip
        return asdict(self) | figures | {
            "seed": task.seed, "state": result.outcome, "epochs": task.budget.epochs,
            "train_images": result.train_images, "engine": result.engine, "commit": commit,
        }  # fmt: skip


def read_runs(path: Path) -> list[Row]:
    """The rows that are there; figures stay text, an empty one where a training failed."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def missing(rows: Sequence[Row], seeds: int) -> list[Run]:
    """The runs that have no row yet, recipe by recipe and seed by seed."""
    done = {(row["design"], row["recipe"], int(row["seed_index"])) for row in rows}
    wanted = [(d, recipe, s) for recipe in USED for s in range(seeds) for d in PUBLISHED]
    return [Run(*each) for each in wanted if each not in done]


def summary(rows: Sequence[Row]) -> list[Row]:
    """Each design under each recipe: mean, deviation, bounds, beside the published figure."""
    lines = []
    for recipe in USED:
        for design, published in PUBLISHED.items():
            mine = [row for row in rows if (row["design"], row["recipe"]) == (design, recipe)]
            if not mine:
                continue
            accuracies = [float(r["test_accuracy"]) if r["test_accuracy"] else None for r in mine]
            found = asdict(verdict(accuracies, TARGET, TEST_IMAGES))
            rounded = {k: round(v, 6) if type(v) is float else v for k, v in found.items()}
            parameters = plan(REFERENCE_DESIGNS[design]).parameters
            lines.append(
                {"design": design, "recipe": recipe, "parameters": parameters}
                | {"published_accuracy": published}
                | rounded
            )
    return lines


def to_csv(rows: Sequence[Row], columns: Sequence[str], header: bool) -> str:
    """Rows as CSV text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def train(folder: Path, options: argparse.Namespace) -> None:
    """Do the runs that the folder lacks, each kept as it ends."""
    path, commit = folder / "runs.csv", facts.commit()
    there = read_runs(path)
    if any(int(row["epochs"]) != options.epochs for row in there):
        raise UserError(f"{path} holds trainings of another length; give another folder")
    left = missing(there, options.seeds)
    tasks = [run.task(options.epochs, options.train_images) for run in left]
    machine = Machine(options.engine, threads=1)
    executor = make_executor("processes", machine, options.workers)
    started = 0
    with Attempts(executor, lambda *said: print(*said, file=sys.stderr)) as attempts:
        while started < len(left) or attempts.running:
            while started < len(left) and executor.free:
                attempts.submit(started, tasks[started])
                started += 1
            for event in attempts.events(timeout_seconds=1.0):
                if event.result is None:
                    continue
                row = left[event.key].row(tasks[event.key], event.result, commit)
                files.append_text(path, to_csv([row], RUN_COLUMNS, header=not path.exists()))
                lines = summary(read_runs(path))
                files.write_text(folder / "summary.csv", to_csv(lines, list(lines[0]), True))
                print(*(row.get(name, "") for name in RUN_COLUMNS), flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.references", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path, help="where the tables are")
    parser.add_argument("--seeds", type=int, default=5, help="of each design (default 5)")
    parser.add_argument("--epochs", type=int, default=19, help="of each training (default 19)")
    parser.add_argument("--train-images", type=int, help="fewer of them, for a try-out")
    parser.add_argument("--workers", type=int, default=facts.usable_cores())
    parser.add_argument("--engine", default="auto", choices=ENGINES)
    options = parser.parse_args(arguments)
    try:
        files.make_folder(options.folder)
        with files.held(options.folder):
            train(options.folder, options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
