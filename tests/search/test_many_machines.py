"""One study, several drivers on a PostgreSQL server: any of them, and the server, may die."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from optuna.trial import TrialState

from search.record import TRAINED, state_of
from search.storage import opened_storage
from search.storage.starting import load_study
from search.tables.files import read_study
from tests.search.commands import QUICK, command, environment, run

if TYPE_CHECKING:
    from benchmarks.postgres import Server

pytestmark = pytest.mark.slow

HEARTBEAT_SECONDS = 2

SOONER = f"""
import sys
from search.storage import driver
driver.HEARTBEAT_SECONDS, driver.GRACE_SECONDS = {HEARTBEAT_SECONDS}, 20
from search import cli, loop, run
loop.HEARTBEAT_SECONDS, loop.OTHERS_SECONDS = {HEARTBEAT_SECONDS}, 1.0
if __name__ == "__main__":
    sys.exit(cli.run_command(run.main, sys.argv[1:]))
"""
"""The command `search.run`, for which a driver is dead after 20 seconds."""


def start(folder: Path, url: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a driver with two workers, in a process group of its own; its results go to a file."""
    script = folder / "sooner.py"
    script.write_text(SOONER)
    with (folder / f"output-{time.monotonic_ns()}.txt").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, script, "--storage", "env:STUDIES", "--workers", "2", *arguments],
            cwd=folder, env=environment() | {"STUDIES": url}, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def trials_of(url: str, name: str = "mnist") -> list[Any]:
    with opened_storage(url) as storage:
        return load_study(storage, "the server", name)[0].get_trials()


def wait_for_trained(
    url: str, folder: Path, trained: int, *running: subprocess.Popen[bytes]
) -> None:
    """Wait until the study has so many trained designs while these are at work."""
    for _ in range(1_200):
        table = folder / "trials.csv"
        if table.exists() and pd.read_csv(table)["state"].isin(TRAINED).sum() >= trained:
            return
        assert all(process.poll() is None for process in running)
        time.sleep(0.1)
    raise AssertionError(f"too slow: {Counter(state_of(trial) for trial in trials_of(url))}")


def wait_for_work(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a driver has a trial in hand."""
    for _ in range(600):
        running = [trial for trial in trials_of(url) if trial.state == TrialState.RUNNING]
        if any(f"-{process.pid}-" in trial.user_attrs.get("driver", "") for trial in running):
            return
        assert process.poll() is None
        time.sleep(0.2)
    raise AssertionError("it takes no trial")


def output(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("output-*.txt")))


@pytest.mark.parametrize("shared", [True, False], ids=["one folder", "a folder each"])
def test_a_killed_group_and_a_restarted_server_lose_and_repeat_nothing(
    tmp_path: Path, postgres: Server, shared: bool
) -> None:
    url = postgres.fresh()
    goal = ("--trials", "16", "--target", "0.01", "--finalists", "1", "--seeds", "2", *QUICK)
    folders = [tmp_path / name for name in ("a", "a" if shared else "b")]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    first, second = (start(folder, url, *goal) for folder in folders)
    wait_for_trained(url, folders[0] / "results" / "mnist", 2, first, second)
    wait_for_work(url, second)
    os.killpg(second.pid, signal.SIGKILL)
    second.wait()
    wait_for_trained(url, folders[0] / "results" / "mnist", 8, first)
    postgres.stop()
    time.sleep(3 * HEARTBEAT_SECONDS)  # a server that is back sooner may not be missed at all
    postgres.start()
    assert first.wait(400) == 0, output(folders[0])
    assert "The database is there again." in output(folders[0])

    trials = trials_of(url)
    assert TrialState.RUNNING not in {trial.state for trial in trials}
    trials = [trial for trial in trials if trial.state != TrialState.WAITING]  # for another run
    states = [state_of(trial) for trial in trials]
    assert sum(state in TRAINED for state in states) == 16
    trained = [trial for trial in trials if state_of(trial) in TRAINED]
    assert len({trial.user_attrs["identity"] for trial in trained}) == 16
    assert_tables_agree(folders[0] / "results" / "mnist", trials)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"s3cret" not in path.read_bytes(), f"{path} has the password"


def assert_tables_agree(folder: Path, trials: list[Any]) -> None:
    """The tables show what is on the server, and its confirmation."""
    study = read_study(folder)
    assert study.trials["trial"].tolist() == [trial.number for trial in trials]
    assert study.trials["state"].tolist() == [state_of(trial) for trial in trials]
    assert study.document["trained"] == 16
    runs = study.tables["confirmations"]
    assert set(runs["state"]) == {"done"}
    assert not runs.duplicated(["fingerprint", "seed_index"]).any()
    assert set(runs.groupby("fingerprint").size()) == {2}


def test_a_study_on_a_server_is_shown_confirmed_and_exported_as_one_in_a_file(
    tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIES", postgres.fresh())
    goal = ("--workers", "1", "--trials", "3", "--target", "0.01", "--seed", "7", *QUICK)
    confirm = ("--seeds", "2", "--top", "1")
    tables, shown = [], []
    for results, where in (("file", ()), ("server", ("--storage", "env:STUDIES"))):
        folder = f"{results}/mnist"
        done = run(tmp_path, "run", *goal, "--results", results, "--finalists", "0", *where)
        assert done.returncode == 0, done.stderr
        done = run(tmp_path, "confirm", folder, *confirm, *where)
        assert done.returncode == 0, done.stderr
        study = read_study(tmp_path / folder)
        tables.append(study.tables["finalists"][["trial", "fingerprint", "test_accuracy"]])
        shown.append(run(tmp_path, "show", folder).stdout.replace(results, "results"))
        done = run(tmp_path, "export", folder, "--to", f"{results}-best")
        assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert [line.split()[:4] for line in shown[0].splitlines() if "│" in line] == [
        line.split()[:4] for line in shown[1].splitlines() if "│" in line
    ]
    document = json.loads((tmp_path / "server" / "mnist" / "study.json").read_text())
    assert document["runs"][0]["arguments"]["storage"] == "env:STUDIES"


def test_two_drivers_share_a_confirmation(
    tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIES", postgres.fresh())
    where = ("--storage", "env:STUDIES")
    goal = ("--trials", "2", "--target", "0.01", "--finalists", "0", "--workers", "1")
    assert run(tmp_path, "run", *goal, *QUICK, *where).returncode == 0
    line = command("confirm", "results/mnist", "--seeds", "6", "--workers", "1", *where)
    both = [
        subprocess.Popen(line, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=400)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    runs = read_study(tmp_path / "results" / "mnist").tables["confirmations"]
    assert set(runs["state"]) == {"done"}
    assert not runs.duplicated(["fingerprint", "seed_index"]).any()
    done = [len(re.findall(r"seed \d+ +test", each)) for each in outputs]
    assert sum(done) == len(runs), outputs


def test_another_studys_folder_is_not_written_over(
    tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIES", postgres.fresh())
    alone = ("--trials", "1", "--finalists", "0", "--workers", "1", *QUICK)
    assert run(tmp_path, "run", *alone).returncode == 1
    there = run(tmp_path, "run", *alone, "--storage", "env:STUDIES")
    assert there.returncode == 2
    assert "of another study than the server's" in there.stderr
    assert (
        run(tmp_path, "run", *alone, "--results", "b", "--storage", "env:STUDIES").returncode == 1
    )
    again = run(tmp_path, "run", *alone, "--storage", "env:STUDIES")
    assert "of another study than the server's" in again.stderr
    assert run(tmp_path, "run", *alone, "--results", "b").returncode == 2
