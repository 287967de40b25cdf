"""Attempts: tasks on an executor, each tried again where the machine failed it, up to a cap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from search.executors import Event, Executor
from search.task import Task

MOST_ATTEMPTS = 3
"""How often a training is tried whose worker dies or lacks memory."""


@dataclass(slots=True)
class Attempts:
    """Runs tasks; one whose worker died or lacked memory runs again, the same in all.

    `note` is told of each failed attempt: key, worker, reason, attempts so far. The result of the
    last attempt is the task's.
    """

    executor: Executor
    note: Callable[[int, str, str, int], object]
    _running: dict[int, tuple[Task, int]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.executor.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.__exit__()

    @property
    def running(self) -> list[int]:
        """Keys of the tasks that run."""
        return list(self._running)

    def submit(self, key: int, task: Task, failed: int = 0) -> None:
        """Start a task that has failed so often before."""
        self._running[key] = (task, failed)
        self.executor.submit(key, task)

    def events(self, timeout_seconds: float) -> list[Event]:
        """As the executor's, without the failed attempts that are followed by another."""
        return [event for event in self.executor.events(timeout_seconds) if self._passes(event)]

    def _passes(self, event: Event) -> bool:
        if event.result is None:
            return True
        task, failed = self._running.pop(event.key)
        if event.result.outcome not in ("died", "out of memory"):
            return True
        failed += 1
        self.note(event.key, event.worker, event.result.reason, failed)
        if failed >= MOST_ATTEMPTS:
            return True
        self.submit(event.key, task, failed)
        return False
