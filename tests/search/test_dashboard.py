"""The dashboard beside a search: on this machine alone, and its page reads well."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnist_arch.errors import UserError
from mnist_arch.rules import Rules
from search import RunConfig, StudyConfig, dashboard, search
from search.storage import sqlite_url

pytest.importorskip("optuna_dashboard")


def asked(address: str, path: str) -> Any:
    """What the dashboard's API answers, once it is up."""
    for _ in range(240):
        try:
            with urllib.request.urlopen(address + path, timeout=30) as answer:
                return json.loads(answer.read())
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(address)


@pytest.mark.slow
def test_its_trials_read_well(tmp_path: Path) -> None:
    config = StudyConfig(
        seed=2, epochs=2, train_images=100, rules=Rules(parameter_limit=19_000), goal="accuracy",
        schedule="none",
    )  # fmt: skip
    run = RunConfig("seen", tmp_path, 3, finalists=0, executor="here", quiet=True)
    search(config, run)
    said: list[str] = []
    with dashboard.dashboard(sqlite_url(run.folder), said.append) as address:
        [summary] = asked(address, "api/studies")["study_summaries"]
        found = asked(address, f"api/studies/{summary['study_id']}")
    assert address.startswith("http://127.0.0.1:")
    assert said == [f"Dashboard: {address} (on this machine only, until the search ends)"]
    trials = found["trials"]
    assert len(trials) >= 3
    assert trials[0]["number"] == 0
    for trial in trials:
        attributes = {item["key"]: item["value"] for item in trial["user_attrs"]}
        assert "parameters; " in attributes["network"].replace('"', "")
        assert len(attributes["network"]) < 160
        assert not set(attributes) & set(dashboard.LONG)
        assert trial["constraints"], "of every trial, trial 0 included"
        if trial["state"] == "Complete":
            values = [point["value"] for point in trial["intermediate_values"]]
            assert values
            assert all(0 <= value <= 1 for value in values)  # validation accuracies
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=5)


def test_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dashboard, "find_spec", lambda _: None)
    run = RunConfig("seen", tmp_path, 1, dashboard=True)
    with pytest.raises(UserError, match=r"optuna-dashboard is not installed; pip install"):
        search(StudyConfig(), replace(run, finalists=0))
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_passed_by() -> None:
    import socket

    first = dashboard.free_port()
    with socket.socket() as taken:
        taken.bind((dashboard.HOST, first))
        taken.listen()
        assert dashboard.free_port(first) != first
