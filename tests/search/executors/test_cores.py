from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from mnist_arch import lanes
from mnist_arch.design import AveragePool, Conv, Design
from mnist_arch.recipe import RECIPES
from mnist_arch.rules import Rules
from search.config import Machine
from search.evaluate import evaluate
from search.executors import cores
from search.executors.cores import IDLE_SECONDS, Cores
from search.executors.processes import Processes
from search.task import Budget, Result, Task


def test_cores_that_are_idle_for_a_while_are_shared_among_the_trainings() -> None:
    now = [100.0]
    share = Cores(8, 1, lambda: now[0])
    assert share.each(3) == 1
    now[0] += IDLE_SECONDS
    assert [share.each(trainings) for trainings in (3, 1, 5, 8)] == [2, 8, 1, 1]


def test_a_core_that_is_idle_between_two_designs_helps_nobody() -> None:
    now = [0.0]
    share = Cores(2, 1, lambda: now[0])
    for _ in range(5):
        assert share.each(1) == 1
        now[0] += IDLE_SECONDS / 2
        assert share.each(2) == 1
        now[0] += IDLE_SECONDS


def test_no_training_has_fewer_threads_than_the_machine_gives_it() -> None:
    now = [0.0]
    share = Cores(8, 4, lambda: now[0])
    assert [share.each(2), share.each(3), share.each(1)] == [4, 4, 4]
    now[0] += IDLE_SECONDS
    assert [share.each(1), share.each(3)] == [8, 4]


def training(epochs: int) -> Task:
    head = Conv(10, 1, 0, batch_norm=False, relu=False)
    design = Design((Conv(8), Conv(8), AveragePool(), head))
    return Task(design, Rules(epoch_limit=None), RECIPES["default"], Budget(epochs, 2_000), seed=3)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.skipif(not lanes.available(), reason="the lanes library was not built")
@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_the_last_training_has_all_cores_and_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cores, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr("search.facts.usable_cores", lambda: 8)
    machine = Machine(engine="lanes", device="cpu", threads=1)
    task, most, result = training(epochs=6), 0, None
    with Processes(machine, 2) as executor:
        executor.submit(0, task)
        before = 0
        end = time.monotonic() + 120
        while result is None and time.monotonic() < end:
            for event in executor.events(0.1):
                result = event.result or result
            (worker,) = executor.process_ids
            count = len(list(Path(f"/proc/{worker}/task").iterdir()))
            before = before or count
            most = max(most, count)
    assert isinstance(result, Result)
    assert most >= before + 5
    alone = evaluate(task, machine)
    assert [epoch.validation_loss for epoch in result.epochs] == [
        epoch.validation_loss for epoch in alone.epochs
    ]
