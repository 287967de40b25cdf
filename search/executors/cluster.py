"""Cluster: tasks run in actors of a Ray cluster; one that dies with its node is replaced.

Ray places, starts and watches the actors; what they do is `evaluate`, an epoch at a call.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from mnist_arch.errors import MachineError, UserError
from search.config import Machine
from search.evaluate import evaluating
from search.executors import Event
from search.task import Epoch, Result, Task

PLACE_SECONDS = 30
"""How long a task waits for a place of its own before an idle worker takes it."""


class Trainer:
    """Does tasks in a process of the cluster's, an epoch at each call."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._steps: Generator[Epoch, str | None, Result] | None = None

    def where(self) -> str:
        """The name of the machine."""
        return platform.node()

    def start(self, task: Task) -> Epoch | Result:
        """Start a task; gives its first epoch, or its result."""
        self._steps = evaluating(task, self._machine)
        return self.step(None)

    def step(self, answer: str | None) -> Epoch | Result:
        """The next epoch, or the result; a reason as the answer stops the task here."""
        assert self._steps is not None
        try:
            return self._steps.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result


@dataclass(slots=True)
class _Worker:
    """An actor; `call` is the call that is under way, None while the task waits for an answer."""

    name: str
    actor: Any
    placed: Any
    key: int | None = None
    task: Task | None = None
    call: Any = None
    heard: float = 0.0


class Cluster:
    """A fixed number of actors, started as they are needed; each runs one task at a time.

    An actor has `Machine.threads` processors and `Machine.gpus` of a GPU. One that dies, or hangs,
    gives its task the outcome `died`, and another is started for the next task.
    """

    def __init__(self, machine: Machine, workers: int) -> None:
        try:
            import ray
        except ImportError:
            raise UserError("--executor ray needs Ray: pip install 'mnist-arch[cluster]'") from None
        self._ray: Any = ray
        self._machine, self._count = machine, workers
        self._workers: list[_Worker] = []
        self._started = 0
        self._is_ours = False

    def __enter__(self) -> Self:
        if not self._ray.is_initialized():
            self._connect()
        return self

    def _connect(self) -> None:
        """Connect to the cluster, or start one here; raises `UserError` where there is none."""
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        address = self._machine.ray_address
        polite_kill = signal.getsignal(signal.SIGTERM)
        try:
            _require_answer(address)
            self._ray.init(
                address=address, logging_level=logging.ERROR, log_to_driver=False,
                include_dashboard=False if address == "local" else None,
            )  # fmt: skip
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"--ray-address {address}: no Ray cluster answers ({_first_line(error)}); "
                "start one with: ray start --head, or give --ray-address local"
            ) from None
        with suppress(ValueError):  # outside the main thread; Ray has put its own handler there
            signal.signal(signal.SIGTERM, polite_kill)
        self._is_ours = True

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._workers = []
        if self._is_ours:
            self._ray.shutdown()
            self._is_ours = False

    @property
    def free(self) -> int:
        """Workers that are idle or not started yet."""
        return self._count - sum(worker.key is not None for worker in self._workers)

    def submit(self, key: int, task: Task) -> None:
        """Give a task to an idle worker, or to a new one, which starts once it has room."""
        worker = next((worker for worker in self._workers if worker.key is None), None)
        if worker is None:
            worker = self._start()
            self._workers.append(worker)
        self._give(worker, key, task)

    def _give(self, worker: _Worker, key: int | None, task: Task) -> None:
        worker.key, worker.task, worker.heard = key, task, time.monotonic()
        worker.call = worker.actor.start.remote(task)

    def _start(self) -> _Worker:
        threads = self._machine.threads or 1
        kind = self._ray.remote(num_cpus=threads, num_gpus=self._machine.gpus, max_restarts=0)
        actor = kind(Trainer).remote(self._machine)
        name, self._started = str(self._started), self._started + 1
        return _Worker(name, actor, actor.where.remote())

    def answer(self, key: int, stop_reason: str) -> None:
        """Let the task that waits go on."""
        for worker in self._workers:
            if worker.key == key:
                self._go_on(worker, stop_reason or None)

    def _go_on(self, worker: _Worker, answer: str | None) -> None:
        worker.heard = time.monotonic()
        worker.call = worker.actor.step.remote(answer)

    def events(self, timeout_seconds: float) -> list[Event]:
        """Hear all workers that have something to say; a dead one is given up."""
        self._take_from_unplaced()
        calls = {worker.call: worker for worker in self._workers if worker.call is not None}
        if not calls:
            time.sleep(timeout_seconds)
            return []
        self._ray.wait(list(calls), num_returns=1, timeout=timeout_seconds)
        ready, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=0)
        found = [self._hear(calls[call]) for call in ready]
        waiting = [worker for call, worker in calls.items() if call not in ready]
        return found + [
            self._lost(worker, why) for worker in waiting if (why := self._hang(worker))
        ]

    def _take_from_unplaced(self) -> None:
        """Let an idle worker do the task of one for which the cluster has had no room for a while.

        After a node's death there may never be any, for idle workers keep theirs.
        """
        for idle in [worker for worker in self._workers if worker.key is None]:
            before = time.monotonic() - PLACE_SECONDS
            late = [each for each in self._workers if each.key is not None and each.heard < before]
            unplaced = next((each for each in late if not self._is_placed(each)), None)
            if unplaced is None:
                return
            assert unplaced.task is not None
            self._give_up(unplaced)
            self._give(idle, unplaced.key, unplaced.task)

    def _is_placed(self, worker: _Worker) -> bool:
        return bool(self._ray.wait([worker.placed], timeout=0)[0])

    def _hear(self, worker: _Worker) -> Event:
        errors = self._ray.exceptions
        assert worker.key is not None
        assert worker.task is not None
        try:
            said = self._ray.get(worker.call)
        except errors.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from None
            raise RuntimeError(f"worker {worker.name} failed:\n{error}") from None
        except errors.ActorUnschedulableError as error:
            raise MachineError(f"the Ray cluster cannot place a worker: {error}") from None
        except errors.RayError as error:
            return self._lost(worker, f"its worker was lost: {_first_line(error)}")
        worker.call = None
        if isinstance(said, Result):
            key, worker.key = worker.key, None
            return Event(key, self._name(worker), result=said)
        if said.epoch not in worker.task.budget.checkpoints:
            self._go_on(worker, None)
        return Event(worker.key, self._name(worker), epoch=said)

    def _name(self, worker: _Worker) -> str:
        return f"{worker.name} on {self._ray.get(worker.placed)}"

    def _lost(self, worker: _Worker, why: str) -> Event:
        """Give a worker up; its task has died with it."""
        assert worker.key is not None
        self._give_up(worker)
        return Event(worker.key, worker.name, result=Result("died", reason=why))

    def _give_up(self, worker: _Worker) -> None:
        self._ray.kill(worker.actor)
        self._workers.remove(worker)

    def _hang(self, worker: _Worker) -> str:
        """Why a worker is given up that says nothing; nothing while it waits for its place."""
        limit = self._machine.hang_seconds
        if limit is None or time.monotonic() - worker.heard <= limit:
            return ""
        if not self._is_placed(worker):
            worker.heard = time.monotonic()
            return ""
        return f"no epoch ended for {limit:,} seconds: its worker was ended"


def _require_answer(address: str) -> None:
    """Raise `OSError` if nobody listens at HOST:PORT, for which Ray would wait minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "//" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
