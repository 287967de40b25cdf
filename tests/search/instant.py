"""An executor for whole searches that trains nothing: it answers at once."""

# ruff: noqa: ARG002 - what is asked for by a protocol
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from mnist_arch.epochs import EpochRecord
from search.executors import Event
from search.task import Result, Task


def result_of(task: Task) -> Result:
    """The accuracy after each epoch is a tenth of its number."""
    epochs = tuple(
        EpochRecord(number, 0.1, 0.5, 0.9, 0.4, number / 10, 1.0, 1.0, 1_000.0)
        for number in range(1, task.budget.epochs + 1)
    )
    return Result("finished", epochs, engine="none", device="cpu", train_images=100)


@dataclass(slots=True)
class Instant:
    """An executor that answers at once, by `result`; it keeps what it was asked for."""

    result: Callable[[Task], Result] = result_of
    tasks: list[Task] = field(default_factory=list)
    _waiting: list[tuple[int, Task]] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting = []

    @property
    def free(self) -> int:
        return 1 - len(self._waiting)

    def submit(self, key: int, task: Task) -> None:
        self.tasks.append(task)
        self._waiting.append((key, task))

    def answer(self, key: int, stop_reason: str) -> None:
        raise AssertionError("no budget here has a checkpoint")

    def events(self, timeout_seconds: float) -> list[Event]:
        done = [Event(key, "0", result=self.result(task)) for key, task in self._waiting]
        self._waiting = []
        return done
