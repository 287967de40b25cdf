"""Processes: tasks run in worker processes of this machine; a dead one is replaced.

On Linux workers are forked from a process of their own that has loaded what trains, once for all
of them (multiprocessing's fork server); elsewhere each worker loads it anew. A training asks before
each epoch how many threads it may have: cores that nothing else uses help.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from ctypes import c_int
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, Self

from mnist_arch.errors import UserError
from search import facts
from search.config import Machine
from search.executors import Event
from search.executors.cores import Cores
from search.interrupts import SIGNALS
from search.task import Result, Task


@dataclass(slots=True)
class _Worker:
    name: str
    process: BaseProcess
    connection: Connection
    key: int | None = None
    heard: float = field(default_factory=time.monotonic)
    killed: str = ""


class Processes:
    """A fixed number of worker processes, started as they are needed.

    Each runs one task at a time. One that hangs is killed, see `Machine.hang_seconds`. Leaving the
    context ends all of them.
    """

    def __init__(self, machine: Machine, workers: int) -> None:
        self._machine, self._count = machine, workers
        self._context = _context()
        self._cores = Cores(facts.usable_cores(), machine.threads or 1)
        self._threads = self._context.RawValue("i", machine.threads or 1)
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()
        self._workers = []

    @property
    def free(self) -> int:
        """Workers that are idle or not started yet."""
        return self._count - sum(worker.key is not None for worker in self._workers)

    @property
    def process_ids(self) -> list[int]:
        """Of the workers that were started, in order of their names."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    def submit(self, key: int, task: Task) -> None:
        """Give a task to an idle worker, or to a new one."""
        worker = next((worker for worker in self._workers if worker.key is None), None)
        if worker is None:
            worker = self._start(str(len(self._workers)))
            self._workers.append(worker)
        worker.key, worker.heard = key, time.monotonic()
        self._share_cores()
        with suppress(OSError):  # a dead worker is heard in `events`
            worker.connection.send(task)

    def answer(self, key: int, stop_reason: str) -> None:
        """Send the answer to the worker that waits for it."""
        for worker in self._workers:
            if worker.key == key:
                worker.heard = time.monotonic()
                with suppress(OSError):
                    worker.connection.send(stop_reason)

    def events(self, timeout_seconds: float) -> list[Event]:
        """Hear all workers that have something to say; a dead one is replaced."""
        self._kill_hanging()
        self._share_cores()
        watched: list[Any] = [worker.connection for worker in self._workers]
        watched += [worker.process.sentinel for worker in self._workers]
        ready = wait(watched, timeout_seconds)
        found = []
        for position, worker in enumerate(self._workers):
            if worker.connection in ready or worker.process.sentinel in ready:
                event = self._hear(position, worker)
                found += [event] if event is not None else []
        return found

    def _share_cores(self) -> None:
        self._threads.value = self._cores.each(self._count - self.free)

    def _kill_hanging(self) -> None:
        limit, now = self._machine.hang_seconds, time.monotonic()
        for worker in self._workers:
            silent = worker.key is not None and limit is not None and now - worker.heard > limit
            if silent and not worker.killed:
                worker.killed = f"no epoch ended for {limit:,} seconds: its process was killed"
                worker.process.kill()

    def _hear(self, position: int, worker: _Worker) -> Event | None:
        try:
            if not worker.connection.poll():
                raise EOFError
            kind, content = worker.connection.recv()
            worker.heard = time.monotonic()
        except (EOFError, OSError):
            return self._replace(position, worker)
        assert worker.key is not None
        if kind == "epoch":
            return Event(worker.key, worker.name, epoch=content)
        if kind == "result":
            key, worker.key = worker.key, None
            return Event(key, worker.name, result=content)
        if kind == "mistake":
            raise UserError(content)
        raise RuntimeError(f"worker {worker.name} failed:\n{content}")

    def _replace(self, position: int, worker: _Worker) -> Event | None:
        """Start another worker in the place of a dead one; its task has died with it."""
        worker.process.join()
        worker.connection.close()
        self._workers[position] = self._start(worker.name)
        if worker.key is None:
            return None
        ended = f"its process ended with exit status {worker.process.exitcode}"
        reason = worker.killed or ended
        return Event(worker.key, worker.name, result=Result("died", reason=reason))

    def _start(self, name: str) -> _Worker:
        """Start a worker; once more where what it is forked from has just been killed."""
        try:
            return self._begin(name)
        except EOFError:
            return self._begin(name)

    def _begin(self, name: str) -> _Worker:
        ours, theirs = self._context.Pipe()
        process: BaseProcess = self._context.Process(  # type: ignore[attr-defined]
            target=_work, args=(theirs, self._machine, self._threads), name=f"worker-{name}"
        )
        get_ready()
        # Forked, it is deaf as its server is; the server may be loading for seconds still
        with nullcontext() if _forks() else _deaf():
            process.start()
        theirs.close()
        return _Worker(name, process, ours)


def _forks() -> bool:
    """Whether workers are forked from a server; macOS's own libraries do not bear it."""
    return sys.platform == "linux"


def _context() -> BaseContext:
    """How workers are started."""
    return multiprocessing.get_context("forkserver" if _forks() else "spawn")


def get_ready() -> None:
    """Let what workers are forked from load what trains, while the caller goes on."""
    if _forks():
        from multiprocessing import forkserver

        with _deaf():
            forkserver.set_forkserver_preload(["search.executors.preloaded"])
            forkserver.ensure_running()


def _work(connection: Connection, machine: Machine, threads: c_int) -> None:
    """The life of a worker process: do tasks until the pipe closes."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        while True:
            task: Task = connection.recv()
            connection.send(("result", _do(connection, task, machine, threads)))
    except (EOFError, OSError):
        return
    except UserError as error:
        connection.send(("mistake", str(error)))
    except Exception:  # noqa: BLE001 - the parent raises it
        connection.send(("error", traceback.format_exc()))


def _do(connection: Connection, task: Task, machine: Machine, threads: c_int) -> Result:
    """Do a task, telling each epoch and waiting for an answer after its checkpoints."""
    from search.evaluate import evaluating

    steps = evaluating(task, machine, None if machine.threads is None else lambda: threads.value)
    answer: str | None = None
    try:
        while True:
            epoch = steps.send(answer)
            connection.send(("epoch", epoch))
            waits = epoch.epoch in task.budget.checkpoints
            answer = connection.recv() if waits else None
    except StopIteration as end:
        result: Result = end.value
        return result


def _exit_with_parent() -> None:
    """End this process as soon as its parent is gone, however that went."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _deaf() -> Iterator[None]:
    """Start processes that never hear Ctrl-C or a polite kill, however early: both are for us.

    A terminal and a scheduler send them to the whole process group. A new process inherits the
    signals that its parent blocks; one that came meanwhile is heard afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it would unblock them as it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
