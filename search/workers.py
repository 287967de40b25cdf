"""Workers: processes that do one job after another for a study: train designs, confirm them.

The parent gives each worker one order at a time over a pipe and starts another worker in the
place of a dead one, so that nothing is counted twice and nobody waits for a lock.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from mnist_arch.errors import UserError
from search.settings import Settings

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.objective import Objective

PROPOSALS_IN_A_ROW = 300
"""Proposals without a new design after which a worker calls the space exhausted."""

DEATHS_IN_A_ROW = 3
"""Workers that may die with no design trained in between, before the run gives up."""

Answer = Literal["trained", "exhausted"]


Job = Callable[["Assignment"], Callable[[Any], Answer]]
"""What a worker does: made once from its assignment, then called with each order."""


def searcher(assignment: Assignment) -> Callable[[object], Answer]:
    """The job of a search: each order, whatever it is, is to train one more design."""
    designs = train_designs(assignment)
    return lambda _: next(designs)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker needs to know to join a study; travels to any process (`job`: by its name)."""

    storage_url: str
    study_name: str
    settings: Settings
    engine: str
    device: str
    data_folder: Path | None
    threads: int
    worker: str
    job: Job = searcher


@dataclass(frozen=True, slots=True)
class Event:
    """What a worker told its parent: an answer, a user's mistake, an error of ours, its death.

    `order` is what it was at; None if it was idle.
    """

    kind: Literal["trained", "exhausted", "mistake", "error", "died"]
    worker: str
    text: str = ""
    order: Any = None


def train_designs(assignment: Assignment) -> Iterator[Answer]:
    """Join a study; each `next` proposes until one more design is trained, and says how it went."""
    import torch

    from mnist_arch.data import protocol_digits
    from mnist_arch.engine import choose_engine
    from search.objective import Objective
    from search.study import load_study, open_storage

    torch.set_num_threads(assignment.threads)
    settings = assignment.settings
    engine = choose_engine(assignment.engine, assignment.device)
    fit, validation = protocol_digits(
        settings.protocol, settings.train_images, assignment.data_folder
    )
    objective = Objective(
        settings, engine, fit.to(engine.device), validation.to(engine.device), assignment.worker
    )
    storage = open_storage(assignment.storage_url)
    study = load_study(storage, assignment.study_name, settings)
    while True:
        yield _train_one(study, objective)


def _train_one(study: optuna.Study, objective: Objective) -> Answer:
    """Run trials until one of them has trained a design."""
    from search import record
    from search.objective import AlreadyInTraining

    states: list[str] = []

    def note(_: optuna.Study, trial: FrozenTrial) -> None:
        states.append(record.state_of(trial))

    for _ in range(PROPOSALS_IN_A_ROW):
        study.optimize(objective, n_trials=1, catch=(AlreadyInTraining,), callbacks=[note])
        if states[-1] in record.TRAINED:
            return "trained"
    return "exhausted"


def _worker_process(connection: Connection, assignment: Assignment) -> None:
    """The life of a worker process: answer orders until the pipe closes."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        do = assignment.job(assignment)
        while True:
            connection.send((do(connection.recv()), ""))
    except EOFError:
        return
    except UserError as error:
        connection.send(("mistake", str(error)))
    except Exception:  # noqa: BLE001 - the parent raises it
        connection.send(("error", traceback.format_exc()))


def _exit_with_parent() -> None:
    """End this process as soon as its parent is gone, however that went."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Start processes that ignore Ctrl-C from their first moment: it is for the parent.

    A new process inherits what its parent ignores; one that set this itself would be open to
    Ctrl-C while it imports torch.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass(slots=True)
class _Worker:
    assignment: Assignment
    process: SpawnProcess
    connection: Connection
    order: Any = None


class Workers:
    """A fixed number of worker processes; a dead one is replaced.

    Use it as a context manager: leaving it ends all of them.
    """

    def __init__(self, assignments: list[Assignment]) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._assignments = assignments
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        self._workers = [self._start(assignment) for assignment in self._assignments]
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(10)
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self._workers = []

    @property
    def busy(self) -> int:
        """How many workers are at work now."""
        return sum(worker.order is not None for worker in self._workers)

    def order(self, designs: int) -> None:
        """Order at most `designs` more designs, one from each idle worker."""
        self.hand_out(["train"] * designs)

    def hand_out(self, orders: Sequence[Any]) -> int:
        """Give the first orders to the idle workers, one to each; returns how many were given."""
        idle = [worker for worker in self._workers if worker.order is None]
        given = list(zip(idle, orders, strict=False))
        for worker, order in given:
            worker.order = order
            with suppress(OSError):  # a dead worker shows in `events`
                worker.connection.send(order)
        return len(given)

    def events(self, timeout_seconds: float) -> list[Event]:
        """Wait until a worker says something or dies, or until the time is up."""
        watched: list[Any] = [worker.connection for worker in self._workers]
        watched += [worker.process.sentinel for worker in self._workers]
        ready = wait(watched, timeout_seconds)
        found = []
        for position, worker in enumerate(self._workers):
            if worker.connection in ready:
                found.append(self._hear(position, worker))
            elif worker.process.sentinel in ready:
                found.append(self._replace(position, worker))
        return found

    def _hear(self, position: int, worker: _Worker) -> Event:
        try:
            kind, text = worker.connection.recv()
        except (EOFError, OSError):
            return self._replace(position, worker)
        order, worker.order = worker.order, None
        return Event(kind, worker.assignment.worker, text, order)

    def _replace(self, position: int, worker: _Worker) -> Event:
        """Start another worker in the place of a dead one."""
        worker.process.join()
        worker.connection.close()
        self._workers[position] = self._start(worker.assignment)
        text = f"exit status {worker.process.exitcode}"
        return Event("died", worker.assignment.worker, text, worker.order)

    def _start(self, assignment: Assignment) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_worker_process, args=(theirs, assignment), name=f"worker-{assignment.worker}"
        )
        with _interrupts_ignored():
            process.start()
        theirs.close()
        return _Worker(assignment, process, ours)
