"""Trainings: a list of single trainings, done in worker processes, kept as rows of one CSV file.

What `benchmarks.recipes`, `benchmarks.curves` and `benchmarks.fronts` share. Each training that
ends is a row at once, so that a run which is cut short goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mnist_arch.datasets import HOLDOUT_TRAIN_IMAGES
from mnist_arch.design import Design
from mnist_arch.epochs import EpochRecord
from mnist_arch.recipe import Protocol, Recipe
from mnist_arch.rules import Rules
from search import facts, files
from search.config import Machine
from search.executors import make_executor
from search.executors.attempts import Attempts
from search.task import Budget, Result, Task

KEY = ("design", "recipe", "budget_epochs", "seed")
"""Columns that tell one training from another."""

COLUMNS = (
    *KEY, "validation_loss", "validation_accuracy", "train_loss", "train_accuracy", "outcome",
    "seconds", "engine", "commit",
)  # fmt: skip
"""Of `trainings.csv`; `budget_epochs` 0.25 is one epoch over a quarter of the images.

Where the test images judge, `test_` stands for `validation_`.
"""

EPOCH_COLUMNS = (*KEY, "epoch", "validation_loss", "validation_accuracy", "train_loss")
"""Of `epochs.csv`: one row an epoch."""

POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Training:
    """One training to do: a design (`name` stands for it in the table), a recipe, a budget, a seed.

    `budget_epochs` below 1 is one epoch over that share of the 50,000 images. Under the protocol
    `assignment` it fits all 60,000, and the test images judge it once, after its last epoch.
    """

    name: str
    design: Design
    recipe_name: str
    recipe: Recipe
    budget_epochs: float
    seed: int
    protocol: Protocol = "holdout"

    @property
    def key(self) -> tuple[str, str, float, int]:
        """What tells it from the others: the values of `KEY`."""
        return (self.name, self.recipe_name, self.budget_epochs, self.seed)

    @property
    def task(self) -> Task:
        """What an executor is given."""
        images = None
        if self.budget_epochs < 1:
            images = round(self.budget_epochs * HOLDOUT_TRAIN_IMAGES)
        budget = Budget(max(1, round(self.budget_epochs)), images)
        return Task(
            self.design, Rules(), self.recipe, budget, self.seed, self.protocol,
            "each epoch" if self.protocol == "holdout" else "last epoch",
        )  # fmt: skip


def done_before(folder: Path) -> set[tuple[str, str, float, int]]:
    """The keys of the trainings that a folder's table holds."""
    path = folder / "trainings.csv"
    if not path.exists():
        return set()
    frame = pd.read_csv(path, dtype={"design": str, "recipe": str})
    columns = [frame[name].tolist() for name in KEY]
    return set(zip(*columns, strict=True))


def train_all(
    trainings: Sequence[Training],
    folder: Path,
    workers: int,
    seconds: float | None = None,
    device: str = "cpu",
) -> int:
    """Do the trainings that the folder's tables lack; returns how many are still missing.

    `seconds` bounds how long new ones are started; `device` is as in `choose_device`.
    """
    files.make_folder(folder)
    before = done_before(folder)
    waiting = [training for training in trainings if training.key not in before]
    total, start = len(trainings), time.monotonic()
    commit = facts.commit()
    running: dict[int, Training] = {}
    executor = make_executor("processes", Machine(device=device, threads=1), workers)
    with Attempts(executor, lambda *failure: print("attempt failed:", *failure)) as attempts:
        while waiting or running:
            in_time = seconds is None or time.monotonic() - start < seconds
            if not in_time and not running:
                break
            while in_time and waiting and executor.free:
                training = waiting.pop(0)
                key = total - len(waiting)
                running[key] = training
                attempts.submit(key, training.task)
            for event in attempts.events(POLL_SECONDS):
                if event.result is not None:
                    training = running.pop(event.key)
                    _keep(folder, training, event.result, commit)
                    done = total - len(waiting) - len(running)
                    print(_line(done, total, training, event.result), flush=True)
    return len(waiting)


def _keep(folder: Path, training: Training, result: Result, commit: str) -> None:
    """Append a training's rows; one that is judged once has no row an epoch."""
    if training.protocol == "holdout":
        epochs = [_row(training, epoch) for epoch in result.epochs]
        _append(folder / "epochs.csv", pd.DataFrame(epochs, columns=list(EPOCH_COLUMNS)))
    row = {
        **dict(zip(KEY, training.key, strict=True)),
        "outcome": result.outcome,
        "seconds": round(sum(epoch.seconds for epoch in result.epochs), 2),
        "engine": result.engine,
        "commit": commit,
        **(_figures(result.epochs[-1]) if result.epochs else {}),
    }
    frame = pd.DataFrame([row], columns=list(COLUMNS))
    if training.protocol == "assignment":
        frame.columns = frame.columns.str.replace("validation_", "test_")
    _append(folder / "trainings.csv", frame)


def _row(training: Training, epoch: EpochRecord) -> dict[str, object]:
    return {
        **dict(zip(KEY, training.key, strict=True)),
        "epoch": epoch.epoch,
        **_figures(epoch),
    }


def _figures(epoch: EpochRecord) -> dict[str, float]:
    return {
        "validation_loss": round(epoch.validation_loss, 6),
        "validation_accuracy": epoch.validation_accuracy,
        "train_loss": round(epoch.train_loss, 6),
        "train_accuracy": round(epoch.train_accuracy, 6),
    }


def _append(path: Path, frame: pd.DataFrame) -> None:
    """Append rows to a CSV file, which begins with its header."""
    text = frame.to_csv(index=False, header=not path.exists(), lineterminator="\n")
    if path.exists():
        files.append_text(path, text)
    else:
        files.write_text(path, text)


def _line(done: int, total: int, training: Training, result: Result) -> str:
    accuracy = f"{result.epochs[-1].validation_accuracy:.2%}" if result.epochs else "-"
    return (
        f"[{done}/{total}] {training.name} {training.recipe_name} {training.budget_epochs:g} "
        f"epochs seed {training.seed}: {result.outcome} {accuracy}"
    )
