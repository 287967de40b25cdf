"""Ray: tasks on a real cluster of two nodes on this machine, one of which is killed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnist_arch.errors import UserError
from mnist_arch.rules import Rules
from search import RunConfig, StudyConfig, search
from search.evaluate import evaluate
from search.executors import Event, make_executor
from search.executors.cluster import Cluster
from search.tables.files import read_study
from tests.search.executors.test_executors import MACHINE, heard, measured, result_of, task

ray = pytest.importorskip("ray", reason="Ray is not installed")

needs_nodes = pytest.mark.usefixtures("nodes")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes with one processor each, and this process connected to it."""
    from ray import cluster_utils

    os.environ["PYTHONPATH"] = str(Path(__file__).parents[3])
    size = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    made: Any = cluster_utils.Cluster(initialize_head=True, head_node_args=size)
    made.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def test_without_a_cluster_the_mistake_is_told() -> None:
    nowhere = replace(MACHINE, ray_address="127.0.0.1:1")
    told = pytest.raises(UserError, match=r"--ray-address 127.0.0.1:1: no Ray cluster answers")
    with told, Cluster(nowhere, 1):
        pass


@pytest.mark.ci
@needs_nodes
def test_a_task_gives_its_epochs_and_then_what_evaluate_gives() -> None:
    with make_executor("ray", MACHINE, 1) as executor:
        assert executor.free == 1
        executor.submit(7, task())
        assert executor.free == 0
        events = heard(executor)
        assert executor.free == 1
    assert [event.epoch and event.epoch.epoch for event in events] == [1, 2, None]
    assert events[0].worker.startswith("0 on ")
    assert measured(result_of(events).epochs) == measured(evaluate(task(), MACHINE).epochs)


@needs_nodes
def test_a_task_is_stopped_at_a_checkpoint_for_the_reason_given() -> None:
    with Cluster(MACHINE, 1) as executor:
        executor.submit(1, task(epochs=5, checkpoints=(1, 2)))
        found: list[Event] = []
        for reason in ("", "poor"):
            while not (found and found[-1].epoch):
                found = executor.events(0.5)
            executor.answer(1, reason)
            found = []
        result = result_of(heard(executor))
    assert (result.outcome, result.reason, len(result.epochs)) == ("stopped", "poor", 2)


@needs_nodes
def test_a_mistake_and_a_fault_reach_the_driver(tmp_path: Path) -> None:
    with Cluster(replace(MACHINE, data=tmp_path / "nothing here"), 1) as executor:
        executor.submit(1, task())
        with pytest.raises(UserError, match="train-images-idx3-ubyte"):
            heard(executor)
    with Cluster(MACHINE, 1) as executor:
        executor.submit(1, replace(task(), budget="none"))  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="worker 0 failed:"):
            heard(executor)


def test_a_search_ends_whole_though_a_node_is_killed(nodes: Any, tmp_path: Path) -> None:
    config = StudyConfig(
        seed=7, epochs=2, train_images=500, rules=Rules(target=0.01), schedule="none"
    )
    machine = replace(MACHINE, ray_address=nodes.address)
    run = RunConfig(
        results=tmp_path, trials=5, workers=2, finalists=1, seeds=2, executor="ray",
        machine=machine, quiet=True,
    )  # fmt: skip
    [node] = nodes.worker_nodes
    killed: list[int] = []

    def kill(self: Cluster, timeout_seconds: float) -> list[Event]:
        events = hear(self, timeout_seconds)
        busy = [worker for worker in self._workers if worker.call is not None]
        if not killed and len(busy) == 2 and any(event.epoch for event in events):
            for each in node.live_processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each[1].pid, signal.SIGKILL)
            killed.append(1)
        return events

    hear = Cluster.events
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cluster, "events", kill)
        outcome = search(config, run)
    assert killed
    assert outcome.is_yes
    study = read_study(tmp_path / "mnist")
    trained = study.trials[study.trials["state"].isin(["passed", "missed"])]
    assert len(trained) == 5
    assert not trained["fingerprint"].duplicated().any()
    assert (trained["epochs"] == 2).all()
    assert set(study.tables["confirmations"]["state"]) == {"done"}
