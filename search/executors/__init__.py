"""Executors: where `evaluate` runs. An executor of your own: one entry in `EXECUTORS`.

An executor only runs tasks and says what they measure; who ordered them decides and records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

from mnist_arch.errors import UserError
from search.config import Machine
from search.task import Epoch, Result, Task


@dataclass(frozen=True, slots=True)
class Event:
    """What was heard of a task, by its key: an epoch that ended, or its result."""

    key: int
    worker: str
    epoch: Epoch | None = None
    result: Result | None = None


class Executor(Protocol):
    """Runs tasks, each under a key that is its caller's; a context manager.

    After an epoch among its budget's checkpoints a task waits for `answer`. A worker that dies
    gives its task the outcome `died`. Leaving the context ends whatever runs.
    """

    @property
    def free(self) -> int:
        """How many more tasks could run now."""

    def __enter__(self) -> Self:
        """Start the workers."""

    def __exit__(self, *_: object) -> None:
        """End the workers, and what they are at."""

    def submit(self, key: int, task: Task) -> None:
        """Start a task; call it only while something is free."""

    def answer(self, key: int, stop_reason: str) -> None:
        """Let a task that waits at a checkpoint go on, or stop it for a reason."""

    def events(self, timeout_seconds: float) -> list[Event]:
        """Wait until something is heard, or the time is up.

        Raises `UserError` for a mistake of the user's that a worker met, `RuntimeError` for a
        fault of ours.
        """


def _here(machine: Machine, workers: int) -> Executor:  # noqa: ARG001
    from search.executors.here import Here

    return Here(machine)


def _processes(machine: Machine, workers: int) -> Executor:
    from search.executors.processes import Processes

    return Processes(machine, workers)


def _ray(machine: Machine, workers: int) -> Executor:
    from search.executors.cluster import Cluster

    return Cluster(machine, workers)


EXECUTORS: dict[str, Callable[[Machine, int], Executor]] = {
    "processes": _processes,
    "here": _here,
    "ray": _ray,
}
"""Executors by name: a machine and a number of workers -> an executor."""


def get_ready(name: str) -> None:
    """Begin what an executor's workers will need, beside whatever the caller does next."""
    if name == "processes":
        from search.executors import processes

        processes.get_ready()


def make_executor(name: str, machine: Machine, workers: int) -> Executor:
    """An executor by its name; raises `UserError` for an unknown one."""
    if name not in EXECUTORS:
        raise UserError(f"--executor {name}: must be one of {', '.join(EXECUTORS)}")
    return EXECUTORS[name](machine, workers)
