"""Executors: what is heard of tasks is the same, wherever they run."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mnist_arch.design import AveragePool, Conv, Design
from mnist_arch.epochs import EpochRecord
from mnist_arch.errors import UserError
from mnist_arch.recipe import RECIPES
from mnist_arch.rules import Rules
from search.config import Machine
from search.evaluate import evaluate
from search.executors import EXECUTORS, Event, Executor, make_executor
from search.executors.processes import Processes
from search.task import Budget, Result, Task
from tests.search.commands import ROOT

MACHINE = Machine(engine="torch", device="cpu", threads=1)
HEAD = Conv(10, 1, 0, batch_norm=False, relu=False)


def task(width: int = 2, epochs: int = 2, checkpoints: tuple[int, ...] = ()) -> Task:
    design = Design((Conv(width, padding=0), AveragePool(), HEAD))
    budget = Budget(epochs, 100, checkpoints)
    return Task(design, Rules(epoch_limit=None), RECIPES["default"], budget, seed=3)


def heard(executor: Executor, tasks: int = 1) -> list[Event]:
    """All events until so many tasks have ended."""
    found: list[Event] = []
    while sum(event.result is not None for event in found) < tasks:
        found += executor.events(0.5)
    return found


def result_of(events: list[Event]) -> Result:
    assert events[-1].result is not None
    return events[-1].result


def measured(epochs: tuple[EpochRecord, ...]) -> list[tuple[float, float]]:
    return [(epoch.validation_loss, epoch.validation_accuracy) for epoch in epochs]


each_kind = pytest.mark.parametrize(
    "kind", ["here", pytest.param("processes", marks=pytest.mark.slow)]
)


@each_kind
def test_a_task_gives_its_epochs_and_then_what_evaluate_gives(kind: str) -> None:
    with make_executor(kind, MACHINE, 1) as executor:
        assert executor.free == 1
        executor.submit(7, task())
        assert executor.free == 0
        events = heard(executor)
        assert executor.free == 1
    assert [event.key for event in events] == [7, 7, 7]
    assert [event.epoch and event.epoch.epoch for event in events] == [1, 2, None]
    here = evaluate(task(), MACHINE)
    assert measured(result_of(events).epochs) == measured(here.epochs)


@each_kind
def test_a_task_is_stopped_at_a_checkpoint_for_the_reason_given(kind: str) -> None:
    with make_executor(kind, MACHINE, 1) as executor:
        executor.submit(1, task(epochs=5, checkpoints=(1, 2)))
        found: list[Event] = []
        for reason in ("", "poor"):
            while not (found and found[-1].epoch):
                found = executor.events(0.5)
            executor.answer(1, reason)
            found = []
        result = result_of(heard(executor))
    assert (result.outcome, result.reason, len(result.epochs)) == ("stopped", "poor", 2)


def test_an_unknown_executor_is_a_mistake() -> None:
    with pytest.raises(UserError, match="--executor cloud: must be one of processes, here, ray"):
        make_executor("cloud", MACHINE, 1)
    assert set(EXECUTORS) >= {"processes", "here"}


def test_a_worker_is_started_once_more_where_its_server_was_killed_a_moment_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What multiprocessing says of a fork server that dies while it is asked for a process."""
    workers: list[str] = []

    def begin(_: Processes, name: str) -> str:
        workers.append(name)
        if len(workers) == 1:
            raise EOFError("unexpected EOF")
        return name

    monkeypatch.setattr(Processes, "_begin", begin)
    assert str(Processes(MACHINE, 1)._start("7")) == "7"
    assert workers == ["7", "7"]


@pytest.mark.ci
@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_task_has_died() -> None:
    with Processes(MACHINE, 1) as executor:
        executor.submit(1, task(epochs=60))
        while not executor.events(0.5):
            pass
        os.kill(executor.process_ids[0], signal.SIGKILL)
        result = result_of(heard(executor))
        assert (result.outcome, result.reason) == (
            "died", "its process ended with exit status -9",
        )  # fmt: skip
        executor.submit(2, task())
        assert result_of(heard(executor)).outcome == "finished"


GPU_CALLS = """
import torch

asked = []
for where, name in (
    (torch.cuda, "is_available"), (torch.cuda, "device_count"), (torch.cuda, "_lazy_init"),
    (torch._C, "_cuda_getDeviceCount"),
):
    assert hasattr(where, name), name
    setattr(where, name, lambda *_, name=name: asked.append(name) or 0)
import search.executors.preloaded
print(asked)
torch.cuda.is_available()
print(asked)
"""


@pytest.mark.ci
@pytest.mark.slow
def test_what_workers_are_forked_with_asks_nothing_of_a_gpu() -> None:
    if not hasattr(torch._C, "_cuda_getDeviceCount"):
        pytest.skip("this torch has no CUDA")
    done = subprocess.run(
        [sys.executable, "-c", GPU_CALLS], cwd=ROOT, capture_output=True, text=True, check=True,
        timeout=120,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["[]", "['is_available']"]


@pytest.mark.slow
def test_a_suspended_worker_holds_up_nobody_but_itself() -> None:
    with Processes(MACHINE, 2) as executor:
        executor.submit(1, task(epochs=30))
        while not executor.events(0.5):
            pass
        suspended = executor.process_ids[0]
        os.kill(suspended, signal.SIGSTOP)
        executor.submit(2, task())
        events = heard(executor)
        assert {event.key for event in events if event.result} == {2}
        os.kill(suspended, signal.SIGCONT)
        assert {event.key for event in heard(executor)} == {1}


@pytest.mark.ci
@pytest.mark.slow
def test_a_hanging_worker_is_killed_and_its_task_has_died(monkeypatch: pytest.MonkeyPatch) -> None:
    with Processes(replace(MACHINE, hang_seconds=600), 2) as executor:
        executor.submit(1, task(epochs=60))
        while not executor.events(0.5):
            pass
        hanging = executor.process_ids[0]
        os.kill(hanging, signal.SIGSTOP)
        later = time.monotonic() + 601
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: later)
            events = executor.events(0)
        if not any(event.result for event in events):  # its end may be noticed at once, or later
            events = heard(executor)
        result = result_of(events)
        assert (result.outcome, result.reason) == (
            "died", "no epoch ended for 600 seconds: its process was killed",
        )  # fmt: skip
        with pytest.raises(ProcessLookupError):
            os.kill(hanging, 0)
        executor.submit(2, task())
        assert result_of(heard(executor)).outcome == "finished"


@pytest.mark.slow
def test_a_worker_without_memory_says_so_or_dies_and_the_next_task_is_done() -> None:
    with Processes(MACHINE, 1) as executor:
        executor.submit(1, task(epochs=1))
        heard(executor)
        [limited] = executor.process_ids
        held = int(Path(f"/proc/{limited}/statm").read_text().split()[0]) * 4096
        resource.prlimit(limited, resource.RLIMIT_AS, (held, resource.RLIM_INFINITY))
        executor.submit(2, replace(task(epochs=1), budget=Budget(1)))  # all images
        assert result_of(heard(executor)).outcome in ("out of memory", "died")
        [after] = executor.process_ids
        endless = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(after, resource.RLIMIT_AS, endless)
        executor.submit(3, task())
        assert result_of(heard(executor)).outcome == "finished"


@pytest.mark.slow
def test_workers_end_with_the_executor_even_when_suspended() -> None:
    with Processes(MACHINE, 1) as executor:
        executor.submit(1, task(epochs=60))
        while not executor.events(0.5):
            pass
        worker = executor.process_ids[0]
        os.kill(worker, signal.SIGSTOP)
        start = time.monotonic()
    assert time.monotonic() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.slow
def test_a_workers_mistake_reaches_the_driver(tmp_path: Path) -> None:
    nowhere = Machine("torch", "cpu", tmp_path / "nothing here", 1)
    with Processes(nowhere, 1) as executor:
        executor.submit(1, task())
        with pytest.raises(UserError, match="train-images-idx3-ubyte"):
            heard(executor)


@pytest.mark.slow
def test_a_fault_of_ours_reaches_the_driver_with_its_traceback() -> None:
    with Processes(MACHINE, 1) as executor:
        executor.submit(1, "no task")  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="worker 0 failed:\nTraceback"):
            heard(executor)
