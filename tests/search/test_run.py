"""The search as a user runs it: whole commands in processes of their own."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.soak import fork_servers_of, workers_of
from search.tables.trials import TIME_COLUMNS
from tests.search.commands import QUICK, command, environment, run

pytestmark = pytest.mark.slow

TRAINED = ["passed", "missed", "pruned", "failed"]
ALONE = ("--finalists", "0")


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    """Let commands hear Ctrl-C even where the tests run as a shell's background job, deaf to it.

    What a process handles is set to its default in those it starts; what it ignores stays ignored.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a search in a process group of its own."""
    return subprocess.Popen(
        command("run", *arguments), cwd=folder, env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def trials(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "trials.csv")


def without_times(folder: Path) -> pd.DataFrame:
    return trials(folder).drop(columns=list(TIME_COLUMNS))


def trained(folder: Path) -> int:
    return int(trials(folder)["state"].isin(TRAINED).sum())


def wait_for(path: Path, rows: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a table has that many rows while the search is at work."""
    while not path.exists() or len(path.read_text().splitlines()) <= rows:
        assert process.poll() is None
        time.sleep(0.05)


def test_one_worker_and_one_seed_give_the_same_tables_twice(tmp_path: Path) -> None:
    arguments = ("--workers", "1", "--seed", "7", "--trials", "4", *QUICK, *ALONE)
    for results in ("one", "two"):
        done = run(tmp_path, "run", *arguments, "--results", results)
        assert done.returncode == 1, done.stderr  # nothing passes
        assert "4 designs trained: 0 passed" in done.stdout
    one, two = (without_times(tmp_path / name / "mnist") for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_kills_of_the_group_lose_nothing_and_change_nothing(tmp_path: Path) -> None:
    arguments = ("--workers", "1", "--seed", "7", "--trials", "8", "--quiet", *QUICK, *ALONE)
    assert run(tmp_path, "run", *arguments, "--results", "whole").returncode == 1
    moments, folder = random.Random(0), tmp_path / "parts" / "mnist"
    for _ in range(4):
        process = start(tmp_path, *arguments, "--results", "parts")
        before = trained(folder) if (folder / "trials.csv").exists() else 0
        wait_for(folder / "trials.csv", before + moments.choice((0, 1)), process)
        time.sleep(moments.uniform(0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert run(tmp_path, "run", *arguments, "--results", "parts").returncode == 1
    whole, parts = (without_times(tmp_path / name / "mnist") for name in ("whole", "parts"))
    pd.testing.assert_frame_equal(whole, parts, check_exact=True)


def test_a_suspended_worker_does_not_end_the_search(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "mnist"
    process = start(tmp_path, "--trials", "8", "--workers", "2", *QUICK, *ALONE)
    wait_for(folder / "trials.csv", 1, process)
    suspended = workers_of(process.pid)[0]
    os.kill(suspended, signal.SIGSTOP)
    wait_for(folder / "trials.csv", 6, process)  # its sibling goes on
    os.kill(suspended, signal.SIGCONT)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (1, b"")
    assert b"8 designs trained" in output
    assert trained(folder) == 8


def same_though_killed(
    folder: Path, arguments: Sequence[str], victims: Callable[[int], list[int]]
) -> bytes:
    """Compare a search with one of which a process is killed; returns what the latter printed."""
    assert run(folder, "run", *arguments, "--results", "whole").returncode == 1
    process = start(folder, *arguments, "--results", "parts")
    wait_for(folder / "parts" / "mnist" / "trials.csv", 1, process)
    [victim] = victims(process.pid)
    os.kill(victim, signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (1, b"")
    whole, parts = (without_times(folder / name / "mnist") for name in ("whole", "parts"))
    pd.testing.assert_frame_equal(whole, parts, check_exact=True)
    return output


def test_a_design_whose_worker_is_killed_is_trained_all_the_same(tmp_path: Path) -> None:
    length = ("--looks", "none", "--epochs", "3", "--train-images", "2000")
    arguments = ("--trials", "2", "--workers", "1", "--seed", "7", *length, *ALONE)
    output = same_though_killed(tmp_path, arguments, workers_of)
    assert b"attempt 1 of 3 on worker 0: its process ended with exit status -9" in output


@pytest.mark.ci
def test_a_search_goes_on_when_what_its_workers_are_forked_from_is_killed(tmp_path: Path) -> None:
    arguments = ("--trials", "5", "--workers", "1", "--seed", "7", *QUICK, *ALONE)
    same_though_killed(tmp_path, arguments, fork_servers_of)


def test_a_design_whose_worker_is_killed_three_times_is_put_aside(tmp_path: Path) -> None:
    whole = ("--looks", "none", "--epochs", "3", "--train-images", "4000")
    process = start(tmp_path, "--trials", "3", "--workers", "1", "--seed", "7", *whole, *ALONE)
    folder = tmp_path / "results" / "mnist"
    wait_for(folder / "trials.csv", 1, process)
    assert process.stdout is not None
    for attempt in (1, 2, 3):
        [worker] = workers_of(process.pid)
        os.kill(worker, signal.SIGKILL)
        told = f"trial 1, attempt {attempt} of 3 on worker 0: its process ended with exit status -9"
        assert any(told in line.decode() for line in iter(process.stdout.readline, b""))
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (1, b"")
    assert trials(folder)["state"][1] == "broken"
    assert trained(folder) == 3


def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "mnist"
    process = start(tmp_path, "--trials", "4", "--workers", "1", "--looks", "none", *QUICK, *ALONE)
    wait_for(folder / "trials.csv", 1, process)
    with closing(sqlite3.connect(folder / "study.db", timeout=60)) as database:
        database.execute("BEGIN IMMEDIATE")
        time.sleep(7)  # SQLite's own patience is 5 seconds
        database.rollback()
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (1, b"")
    assert b"4 designs trained" in output


@pytest.mark.parametrize(
    "ending", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.ci)]
)
def test_a_polite_end_keeps_everything_and_says_how_to_go_on(
    tmp_path: Path, ending: signal.Signals
) -> None:
    process = start(tmp_path, "--trials", "50", "--workers", "2", *QUICK)
    folder = tmp_path / "results" / "mnist"
    wait_for(folder / "trials.csv", 2, process)
    process.send_signal(ending)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == b""
    assert b"Interrupted; finished trials are kept. Continue with the same command." in output
    assert len(trials(folder)) >= 2
    document = json.loads((folder / "study.json").read_text())
    assert document["runs"][0]["seconds"] > 0


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.3, 0.7, 1.3, 3])
def test_a_signal_to_the_whole_group_as_workers_start_and_train_is_no_traceback(
    tmp_path: Path, seconds: float, ending: signal.Signals
) -> None:
    process = start(tmp_path, "--trials", "50", *QUICK)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"Study 'mnist'")  # the workers start now
    time.sleep(seconds)
    os.killpg(process.pid, ending)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == b""


def test_a_reader_that_leaves_does_not_end_the_search(tmp_path: Path) -> None:
    line = " ".join(command("run", "--trials", "3", *QUICK, *ALONE))
    script = f"{line} | head -1; echo status ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "status 1"
    assert done.stderr == ""
    assert trained(tmp_path / "results" / "mnist") == 3


def test_a_study_that_is_done_says_so_and_goes_on_with_more(tmp_path: Path) -> None:
    first = run(tmp_path, "run", "--trials", "1", *QUICK, "--quiet")
    assert first.returncode == 1, first.stderr
    assert "[1/1]" not in first.stdout
    again = run(tmp_path, "run", "--trials", "1", *QUICK)
    assert again.returncode == 1
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


def test_a_passing_design_is_confirmed_and_offered_for_export(tmp_path: Path) -> None:
    easy = ("--target", "0.01", "--trials", "2", "--finalists", "1", "--seeds", "2", *QUICK)
    done = run(tmp_path, "run", *easy)
    assert done.returncode == 0, done.stderr
    ranked = pd.read_csv(tmp_path / "results" / "mnist" / "leaderboard.csv")
    assert len(ranked) == 2
    assert ranked["validation_accuracy"].is_monotonic_decreasing
    best = f"Best:     trial {ranked['trial'][0]}, validation"
    assert best in done.stdout
    following = f"Next:  python -m search.export results/mnist --trial {ranked['trial'][0]}"
    assert following in done.stdout
    shown = run(tmp_path, "show", "results/mnist", "--sort", "parameters", "--top", "1")
    assert "leaderboard: 2 designs pass" in shown.stdout


def test_published_tables_are_never_written_over(tmp_path: Path) -> None:
    assert run(tmp_path, "run", "--trials", "1", *QUICK).returncode == 1
    folder = tmp_path / "results" / "mnist"
    (folder / "study.db").unlink()  # as in a fresh clone
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for verb in ("run", "train"):
        more = ("--design", "assignment") if verb == "train" else ("--trials", "2")
        done = run(tmp_path, verb, "--study", "mnist", *more, *QUICK)
        assert done.returncode == 2
        assert "give another --study NAME" in done.stderr.replace("Give", "give")
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert after == before


def test_a_time_limit_finishes_what_is_in_training(tmp_path: Path) -> None:
    done = run(tmp_path, "run", "--trials", "500", "--timeout", "1", *QUICK)
    assert done.returncode == 1, done.stderr
    assert "Stopped by --timeout 1." in done.stdout
    states = trials(tmp_path / "results" / "mnist")["state"]
    assert set(states) <= {*TRAINED, "screened", "rejected"}
    assert 1 <= states.isin(TRAINED).sum() < 500


def test_the_python_api_does_what_the_command_does(tmp_path: Path) -> None:
    arguments = ("--workers", "1", "--seed", "7", "--trials", "3", *QUICK, *ALONE)
    assert run(tmp_path, "run", *arguments, "--results", "command").returncode == 1
    script = (
        "from search import RunConfig, StudyConfig, search\n"
        "config = StudyConfig(seed=7, epochs=1, train_images=200)\n"
        "run = RunConfig(results='api', trials=3, executor='here', finalists=0, quiet=True)\n"
        "outcome = search(config, run)\n"
        "assert not outcome.is_yes\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment(), check=True)
    one, two = (without_times(tmp_path / name / "mnist") for name in ("command", "api"))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
