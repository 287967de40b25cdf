"""The search as a user runs it: whole commands in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from search.tables import TIME_COLUMNS
from tests.search.commands import QUICK, command, environment, run

pytestmark = pytest.mark.slow

TRAINED = ["passed", "missed", "pruned", "failed"]


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    """Let commands hear Ctrl-C even where the tests run as a shell's background job, deaf to it.

    What a process handles is set to its default in those it starts; what it ignores stays ignored.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def trials(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "trials.csv")


def wait_for(path: Path, rows: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a table has that many rows while the search is at work."""
    while not path.exists() or len(path.read_text().splitlines()) <= rows:
        assert process.poll() is None
        time.sleep(0.05)


def test_one_worker_and_one_seed_give_the_same_tables_twice(tmp_path: Path) -> None:
    arguments = ("--workers", "1", "--seed", "7", "--trials", "4", *QUICK)
    for results in ("one", "two"):
        done = run(tmp_path, "run", *arguments, "--results", results)
        assert done.returncode == 0, done.stderr
        assert "4 designs trained: 0 passed" in done.stdout
    one, two = (trials(tmp_path / name / "mnist") for name in ("one", "two"))
    times = list(TIME_COLUMNS)
    pd.testing.assert_frame_equal(
        one.drop(columns=times), two.drop(columns=times), check_exact=True
    )


def test_kill_of_the_process_group_loses_no_finished_trial(tmp_path: Path) -> None:
    line = command("run", "--trials", "6", "--workers", "2", *QUICK)
    folder = tmp_path / "results" / "mnist"
    process = subprocess.Popen(
        line, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, start_new_session=True
    )
    wait_for(folder / "trials.csv", 1, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = trials(folder)
    finished = before[before["state"].isin(TRAINED)]
    done = run(tmp_path, "run", "--trials", "6", "--workers", "2", *QUICK)
    assert done.returncode == 0, done.stderr
    after = trials(folder)
    assert after["state"].isin(TRAINED).sum() == 6
    again = after[after["trial"].isin(finished["trial"])]
    pd.testing.assert_frame_equal(
        again.reset_index(drop=True), finished.reset_index(drop=True), check_dtype=False
    )


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(tmp_path: Path) -> None:
    line = command("run", "--trials", "50", "--workers", "2", *QUICK)
    process = subprocess.Popen(
        line, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    folder = tmp_path / "results" / "mnist"
    wait_for(folder / "trials.csv", 2, process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == b""
    assert b"Interrupted; finished trials are kept. Continue with the same command." in output
    assert trials(folder)["state"].isin(TRAINED).sum() >= 2
    document = json.loads((folder / "study.json").read_text())
    assert document["runs"][0]["seconds"] > 0


@pytest.mark.parametrize("seconds", [0.3, 0.7, 1.3])
def test_ctrl_c_to_the_whole_group_while_workers_start_is_no_traceback(
    tmp_path: Path, seconds: float
) -> None:
    process = subprocess.Popen(
        command("run", "--trials", "50", *QUICK), cwd=tmp_path, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"Study 'mnist'")  # the workers start now
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == b""


def test_a_study_that_is_done_says_so_and_goes_on_with_more(tmp_path: Path) -> None:
    first = run(tmp_path, "run", "--trials", "1", *QUICK, "--quiet")
    assert first.returncode == 0, first.stderr
    assert "[1/1]" not in first.stdout
    again = run(tmp_path, "run", "--trials", "1", *QUICK)
    assert again.returncode == 0
    assert "study 'mnist' already has 1 trained designs and --trials is 1" in again.stdout
    other = run(tmp_path, "run", "--trials", "1", *QUICK, "--recipe", "assignment")
    assert other.returncode == 2
    assert other.stderr.startswith("error: study 'mnist' was started under other settings: recipe")
    more = run(tmp_path, "run", "--trials", "2", *QUICK)
    assert "[2/2] trial" in more.stdout
    shown = run(tmp_path, "show", "results/mnist")
    assert shown.returncode == 0, shown.stderr
    assert "No design passes 99.40 % after its last epoch." in shown.stdout
    assert "Baseline, trial 0 (the assignment's own design)" in shown.stdout
    assert run(tmp_path, "show", "results/mnist", "--csv").stdout.startswith("rank,trial,")


def test_a_passing_design_stands_on_the_leaderboard(tmp_path: Path) -> None:
    easy = ("--target", "0.01", "--trials", "2", "--finalists", "0", *QUICK)
    assert run(tmp_path, "run", *easy).returncode == 0
    ranked = pd.read_csv(tmp_path / "results" / "mnist" / "leaderboard.csv")
    assert len(ranked) == 2
    assert ranked["validation_accuracy"].is_monotonic_decreasing
    shown = run(tmp_path, "show", "results/mnist", "--sort", "parameters", "--top", "1")
    assert "leaderboard: 2 designs pass" in shown.stdout


def test_a_time_limit_finishes_what_is_in_training(tmp_path: Path) -> None:
    done = run(tmp_path, "run", "--trials", "500", "--timeout", "1", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "Stopped by --timeout 1." in done.stdout
    states = trials(tmp_path / "results" / "mnist")["state"]
    assert set(states) <= {*TRAINED, "rejected"}
    assert 1 <= states.isin(TRAINED).sum() < 500
