"""Simulated trainings: an executor from outside that answers at once with recorded curves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from mnist_arch.epochs import EpochRecord
from search.executors import Event
from search.tables.files import read_table
from search.tables.trials import rows_of
from search.task import Result, Task

CURVES = Path(__file__).parents[1] / "results" / "curves" / "epochs.csv"

Curve = tuple[EpochRecord, ...]


def read_curves(path: Path = CURVES) -> list[Curve]:
    """Whole learning curves of a study, one a design."""
    frame = read_table(path)[["trial", *EpochRecord.__dataclass_fields__]]
    curves: dict[int, list[EpochRecord]] = {}
    for row in rows_of(frame):
        curves.setdefault(row.pop("trial"), []).append(EpochRecord(**row))
    return [tuple(curve) for curve in curves.values()]


@dataclass(slots=True)
class Simulated:
    """An executor that trains nothing: a task's curve is drawn by its seed.

    Accuracies are moved by up to 0.001, so that hardly two designs are equal.
    """

    curves: Sequence[Curve]
    _key: int = -1
    _task: Task | None = None
    _epochs: list[EpochRecord] = field(default_factory=list)
    _reason: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._task = None

    @property
    def free(self) -> int:
        """1 while nothing runs."""
        return int(self._task is None)

    def submit(self, key: int, task: Task) -> None:
        """Start a task."""
        self._key, self._task, self._epochs, self._reason = key, task, [], ""

    def answer(self, key: int, stop_reason: str) -> None:
        """Note whether the task goes on."""
        assert key == self._key
        self._reason = stop_reason

    def events(self, timeout_seconds: float) -> list[Event]:  # noqa: ARG002
        """The task's next epoch, or its result."""
        if self._task is None:
            return []
        if self._reason or len(self._epochs) == self._task.budget.epochs:
            self._task = None
            result = Result(
                "stopped" if self._reason else "finished", tuple(self._epochs), self._reason,
                "simulated", "cpu", 50_000,
            )  # fmt: skip
            return [Event(self._key, "0", result=result)]
        self._epochs.append(self._epoch(self._task.seed, len(self._epochs)))
        return [Event(self._key, "0", epoch=self._epochs[-1])]

    def _epoch(self, seed: int, index: int) -> EpochRecord:
        generator = random.Random(seed)
        epoch = generator.choice(self.curves)[index]
        moved = epoch.validation_accuracy + generator.uniform(-0.001, 0.001)
        return replace(epoch, validation_accuracy=min(round(moved, 4), 1.0))


class Many:
    """Simulated workers, each with a training of its own."""

    def __init__(self, curves: Sequence[Curve], workers: int) -> None:
        self._idle = [Simulated(curves) for _ in range(workers)]
        self._busy: dict[int, Simulated] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._busy = {}

    @property
    def free(self) -> int:
        """How many are idle."""
        return len(self._idle)

    def submit(self, key: int, task: Task) -> None:
        """Start a task."""
        self._busy[key] = self._idle.pop()
        self._busy[key].submit(key, task)

    def answer(self, key: int, stop_reason: str) -> None:
        """Note whether a task goes on."""
        self._busy[key].answer(key, stop_reason)

    def events(self, timeout_seconds: float) -> list[Event]:
        """The next epoch or result of each task."""
        found = [event for each in self._busy.values() for event in each.events(timeout_seconds)]
        self._idle += [self._busy.pop(event.key) for event in found if event.result is not None]
        return found
