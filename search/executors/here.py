"""Here: tasks run in this process, one at a time, an epoch at each look for events."""

from __future__ import annotations

from collections.abc import Generator
from typing import Self

from search.config import Machine
from search.evaluate import evaluating
from search.executors import Event
from search.task import Epoch, Result, Task


class Here:
    """Runs one task at a time in this process: for notebooks and tests; nothing is contained."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._key = -1
        self._task: Generator[Epoch, str | None, Result] | None = None
        self._answer: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.close()
        self._task = None

    @property
    def free(self) -> int:
        """1 while nothing runs."""
        return int(self._task is None)

    def submit(self, key: int, task: Task) -> None:
        """Start a task."""
        self._key, self._task, self._answer = key, evaluating(task, self._machine), None

    def answer(self, key: int, stop_reason: str) -> None:
        """Note what the task is told when it goes on."""
        assert key == self._key
        self._answer = stop_reason or None

    def events(self, timeout_seconds: float) -> list[Event]:  # noqa: ARG002
        """Train the task's next epoch."""
        if self._task is None:
            return []
        answer, self._answer = self._answer, None
        try:
            return [Event(self._key, "0", epoch=self._task.send(answer))]
        except StopIteration as end:
            self._task = None
            return [Event(self._key, "0", result=end.value)]
