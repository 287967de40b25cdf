"""Faults of one machine, met by whole commands: the disk, the folder, signals at awkward times."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from benchmarks.soak import Kept, Soak, group_of, look, workers_of
from search.record import TRAINED
from search.tables.files import read_study
from tests.search.commands import QUICK, command, environment, run

pytestmark = pytest.mark.slow

ALONE = ("--finalists", "0", "--workers", "1", *QUICK)


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A disk of that size on a folder; the test is skipped where none may be mounted."""
    folder.mkdir()
    made = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(made, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no file system may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(ballast: Path) -> None:
    """Fill the disk with a file."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"0" * 4096)


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a search in a process group of its own, open to Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            command("run", *arguments), cwd=folder, env=environment(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for_rows(table: Path, rows: int, process: subprocess.Popen[bytes]) -> None:
    while not table.exists() or len(table.read_text().splitlines()) <= rows:
        assert process.poll() is None
        time.sleep(0.05)


def checked(folder: Path, before: Kept, tmp_path: Path) -> Kept:
    """What the study holds now, without a fault against what it held before."""
    soak = Soak(tmp_path, 0, None)  # type: ignore[arg-type]
    now = soak.check(folder, before)
    assert soak.faults == []
    return now


@pytest.mark.ci
def test_a_full_disk_loses_nothing_and_with_room_the_search_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 3) as disk:
        folder = disk / "results" / "mnist"
        assert run(disk, "run", "--trials", "2", *ALONE).returncode == 1
        before = look(folder)
        ballast = disk / "ballast"
        fill(ballast)
        done = run(disk, "run", "--trials", "40", *ALONE)
        assert done.returncode in (2, 3), done.stderr
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
        assert "finished trials" in done.stderr or "cannot write to folder" in done.stderr
        ballast.unlink()
        now = checked(folder, before, tmp_path)
        again = run(disk, "run", "--trials", str(len(now.trained) + 1), *ALONE)
        assert again.returncode == 1, again.stderr
        after = checked(folder, now, tmp_path)
        assert len(after.trained) == len(now.trained) + 1
        assert after.running == 0  # what waits are first proposals


def test_a_disk_that_fills_in_mid_run_ends_it_in_one_message(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as disk:
        folder = disk / "results" / "mnist"
        process = start(disk, "--trials", "200", *ALONE)
        wait_for_rows(folder / "trials.csv", 3, process)
        before = look(folder)
        fill(disk / "ballast")
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 3
        assert errors.decode().startswith("error: ")
        assert b"Traceback" not in errors
        (disk / "ballast").unlink()
        now = checked(folder, before, tmp_path)
        again = run(disk, "run", "--trials", str(len(now.trained) + 1), *ALONE)
        assert again.returncode == 1, again.stderr
        assert checked(folder, now, tmp_path).running == 0


def test_a_folder_that_became_read_only_is_a_mistake_told_at_once(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        assert run(disk, "run", "--trials", "1", *ALONE).returncode == 1
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        done = run(disk, "run", "--trials", "2", *ALONE)
        assert done.returncode == 2
        assert "cannot write to folder results/mnist: Read-only file system" in done.stderr
        assert "Traceback" not in done.stderr
        assert run(disk, "show", "results/mnist").returncode == 0


@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_ctrl_c_twice_ends_at_once_and_keeps_what_was_finished(
    tmp_path: Path, pause: float
) -> None:
    process = start(tmp_path, "--trials", "50", "--workers", "2", *QUICK)
    folder = tmp_path / "results" / "mnist"
    wait_for_rows(folder / "trials.csv", 2, process)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(pause)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    before = checked(folder, Kept({}, {}, 0), tmp_path)
    goal = len(before.trained) + before.unfinished + 1  # what was under way is done again first
    done = run(tmp_path, "run", "--trials", str(goal), *ALONE)
    assert done.returncode == 1, done.stderr
    assert checked(folder, before, tmp_path).unfinished == 0


def test_a_schedulers_sigterm_then_sigkill_loses_nothing(tmp_path: Path) -> None:
    process = start(tmp_path, "--trials", "50", "--workers", "2", *QUICK)
    folder = tmp_path / "results" / "mnist"
    wait_for_rows(folder / "trials.csv", 2, process)
    before = look(folder)
    os.killpg(process.pid, signal.SIGTERM)
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    now = checked(folder, before, tmp_path)
    goal = len(now.trained) + now.unfinished + 1  # what was under way is done again first
    done = run(tmp_path, "run", "--trials", str(goal), *ALONE)
    assert done.returncode == 1, done.stderr
    assert checked(folder, now, tmp_path).unfinished == 0


@pytest.mark.ci
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, "--trials", "50", "--workers", "2", *QUICK)
    wait_for_rows(tmp_path / "results" / "mnist" / "trials.csv", 1, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    for _ in range(300):
        if not group_of(process.pid):
            return
        time.sleep(0.1)
    raise AssertionError(f"these outlived it: {group_of(process.pid)}")


def test_a_kill_in_the_confirmation_costs_the_runs_that_were_under_way(tmp_path: Path) -> None:
    goal = (
        "--trials",
        "3",
        "--target",
        "0.01",
        "--finalists",
        "1",
        "--seeds",
        "4",
        "--workers",
        "1",
    )
    process = start(tmp_path, *goal, *QUICK)
    folder = tmp_path / "results" / "mnist"
    wait_for_rows(folder / "confirmations.csv", 2, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    before = checked(folder, Kept({}, {}, 0), tmp_path)
    assert 2 <= len(before.runs) < 8
    done = run(tmp_path, "run", *goal, *QUICK)
    assert done.returncode == 0, done.stderr
    after = checked(folder, before, tmp_path)
    assert {index for _, index in after.runs} == {0, 1, 2, 3}
    assert all(each.state == "done" for each in after.runs.values())
    assert len(read_study(folder).tables["confirmations"]) == len(after.runs)


def test_a_hanging_training_is_ended_and_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "mnist"
    process = start(tmp_path, "--trials", "10", "--hang-timeout", "60", *ALONE)
    wait_for_rows(folder / "trials.csv", 1, process)
    [worker] = workers_of(process.pid)
    os.kill(worker, signal.SIGSTOP)
    output, errors = process.communicate(timeout=500)
    assert (process.returncode, errors) == (1, b"")
    told = rb"attempt 1 of 3 on worker 0: no epoch ended for 60 seconds: its process was killed"
    assert re.search(told, output)
    now = checked(folder, Kept({}, {}, 0), tmp_path)
    assert len(now.trained) == 10


def test_a_torn_row_is_left_out_and_mended_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "mnist"
    assert run(tmp_path, "run", "--trials", "2", *ALONE).returncode == 1
    whole = (folder / "trials.csv").read_text()
    (folder / "trials.csv").write_text(whole[:-30])  # as a kill in mid-write leaves it
    assert run(tmp_path, "show", "results/mnist").returncode == 0
    assert len(read_study(folder).trials) == len(whole.splitlines()) - 2
    assert run(tmp_path, "run", "--trials", "2", *ALONE).returncode == 1
    assert (folder / "trials.csv").read_text() == whole
    assert read_study(folder).trials["state"].isin(TRAINED).sum() == 2
