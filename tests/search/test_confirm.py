"""The confirmation as a user runs it, most of it with workers in this process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import optuna
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from scipy import stats

from mnist_arch.build import build
from mnist_arch.data import Digits, protocol_digits
from mnist_arch.engine import choose_engine
from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from mnist_arch.training import Diverged, evaluate
from search import confirm, files, options, run, show, study
from search.conductors import confirming, searching
from search.confirmation import worker
from search.confirmation.final import train_finally
from search.confirmation.runs import Order, finalist_of
from search.seeds import confirmation_seed
from search.settings import Settings
from search.workers import Assignment, Event, Workers
from tests.search.commands import QUICK, command, environment
from tests.search.commands import run as run_command
from tests.search.studies import EASY, HARD, add, small, three_designs, trial

ENGINE = ("--engine", "torch", "--device", "cpu")


class HereWorkers:
    """Workers that work in this process, one order at a time; the first `deaths` orders kill."""

    deaths = 0

    def __init__(self, assignments: list[Assignment]) -> None:
        self._do = assignments[0].job(assignments[0])
        self._order: Order | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def busy(self) -> int:
        return int(self._order is not None)

    def hand_out(self, orders: Sequence[Order]) -> int:
        assert self._order is None
        self._order = orders[0] if orders else None
        return self.busy

    def events(self, _: float) -> list[Event]:
        assert self._order is not None
        order, self._order = self._order, None
        if HereWorkers.deaths > 0:
            HereWorkers.deaths -= 1
            return [Event("died", "0", "exit status -9", order)]
        return [Event(self._do(order), "0", "", order)]


@pytest.fixture(scope="module")
def digits() -> tuple[Digits, Digits]:
    """A hundred digits to fit, as the study's settings say, and 500 test images."""
    fit, test = protocol_digits("assignment", 100)
    return fit, test.take(torch.arange(500))


@pytest.fixture(autouse=True)
def _quick(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, digits: tuple[Digits, Digits]
) -> None:
    """Unless a test is slow, workers work in this process, on few digits that are read once."""
    if "slow" in request.keywords:
        return
    monkeypatch.setattr(confirming, "Workers", HereWorkers)
    monkeypatch.setattr(HereWorkers, "deaths", 0)
    monkeypatch.setattr(worker, "protocol_digits", lambda *_: digits)
    for module in (confirming, searching):
        monkeypatch.setattr(module, "load", lambda *_: None)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three designs that pass, none confirmed."""
    folder = tmp_path_factory.mktemp("prepared")
    three_designs(folder)
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A copy of that study."""
    shutil.copytree(prepared, tmp_path / "study")
    return tmp_path / "study"


def confirmed(folder: Path, *arguments: str) -> int:
    return confirm.main([str(folder), *ENGINE, *arguments])


def runs(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "confirmations.csv")


def test_finalists_and_baseline_run_on_fresh_seeds_and_are_judged_on_the_test_images(
    folder: Path, capsys: pytest.CaptureFixture[str], digits: tuple[Digits, Digits]
) -> None:
    assert confirmed(folder, "--top", "1", "--seeds", "2") == 0
    table = runs(folder)
    assert table[["trial", "seed_index"]].to_numpy().tolist() == [[1, 0], [1, 1], [3, 0], [3, 1]]
    assert table["seed"].tolist() == [confirmation_seed(7, index) for index in (0, 1, 0, 1)]
    _, oracle = train_finally(
        small(4), EASY.rules, EASY.recipe, 1, confirmation_seed(7, 1),
        choose_engine("torch", "cpu"), *digits,
    )  # fmt: skip
    last = table.iloc[3]
    assert last["test_accuracy"] == oracle.test_accuracy
    assert last["test_loss"] == pytest.approx(oracle.test_loss)
    assert (last["train_images"], last["epochs"], last["engine"]) == (100, 1, "torch")
    output = capsys.readouterr().out
    assert "trials 3; 2 fresh seeds each, 1 epochs on 100 training images; 4 runs to do" in output
    assert "[1/4] trial 3    seed 0   test" in output
    assert "[2/4] trial 1    seed 0   test" in output
    assert "1 (baseline)" in output
    assert "shortened as the study is: a try-out, not a result" in output
    assert "Test images were used for nothing else" in output
    assert "Luck: the best of 3 designs" in output
    assert output.endswith(f"Next:  python -m search.export {folder} --rank 1\n")
    document = json.loads((folder / "study.json").read_text())
    assert document["confirmations"][0]["workers"] >= 1
    assert document["confirmations"][0]["command"].startswith("python -m search.confirm")


def test_the_weights_are_those_that_were_judged(
    folder: Path, digits: tuple[Digits, Digits]
) -> None:
    confirmed(folder, "--trial", "3", "--seeds", "1", "--quiet")
    row = runs(folder).set_index("trial").loc[3]
    with safe_open(folder / "weights" / row["weights"], "pt") as file:
        metadata, names = file.metadata(), file.offset_keys()
        state = {name: file.get_tensor(name) for name in names}
    assert row["weights"] == f"{small(4).fingerprint}-0.safetensors"
    assert metadata == {
        "fingerprint": small(4).fingerprint, "seed": str(row["seed"]), "epochs": "1",
        "images": "100", "test_accuracy": str(row["test_accuracy"]),
    }  # fmt: skip
    network = build(small(4))
    network.load_state_dict(state)
    assert evaluate(network, digits[1])[1] == row["test_accuracy"]


def test_more_seeds_are_added_and_nothing_is_done_twice(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    confirmed(folder, "--top", "1", "--seeds", "1", "--quiet")
    before = runs(folder)
    capsys.readouterr()
    assert confirmed(folder, "--top", "1", "--seeds", "1") == 0
    assert "0 runs to do" in capsys.readouterr().out
    pd.testing.assert_frame_equal(runs(folder), before)
    assert confirmed(folder, "--top", "2", "--seeds", "2") == 0
    assert "4 runs to do" in capsys.readouterr().out
    after = runs(folder)
    assert after["trial"].tolist() == [1, 1, 2, 2, 3, 3]
    kept = after[(after["seed_index"] == 0) & (after["trial"] != 2)].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before)


def test_ctrl_c_keeps_what_is_finished(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []

    def interrupted(*arguments: Any) -> Any:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(1)
        return train_finally(*arguments)

    monkeypatch.setattr(worker, "train_finally", interrupted)
    assert confirmed(folder, "--top", "1", "--seeds", "2") == 130
    assert "Interrupted; finished runs are kept. Continue with the same" in capsys.readouterr().out
    assert runs(folder)["seed_index"].tolist() == [0, 0]  # both designs, the same seed
    monkeypatch.setattr(worker, "train_finally", train_finally)
    assert confirmed(folder, "--top", "1", "--seeds", "2") == 0
    assert len(runs(folder)) == 4


def test_a_dead_workers_run_is_done_again(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HereWorkers, "deaths", 2)
    assert confirmed(folder, "--top", "1", "--seeds", "1") == 0
    output = capsys.readouterr().out
    assert output.count("worker 0 died (exit status -9); its run is done again") == 2
    assert len(runs(folder)) == 2


def test_workers_that_die_one_after_another_end_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HereWorkers, "deaths", 9)
    with pytest.raises(UserError, match=r"3 workers died one after another .* Try --workers 1"):
        confirmed(folder)


def failing(error: Exception, at: int) -> Callable[..., Any]:
    """A final training that fails for one of its seeds."""

    def fail(*arguments: Any) -> Any:
        if arguments[4] == confirmation_seed(7, at):
            raise error
        return train_finally(*arguments)

    return fail


def test_a_diverged_run_counts_as_not_passed_and_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    diverged = Diverged("training loss became nan in epoch 1")
    monkeypatch.setattr(worker, "train_finally", failing(diverged, 1))
    assert confirmed(folder, "--trial", "3", "--seeds", "2") == 1
    output = capsys.readouterr().out
    reason = "diverged: training loss became nan in epoch 1"
    assert f"trial 3    seed 1   failed: {reason}; it counts as not passed" in output
    assert "1 failed" in output
    assert "No finalist is confirmed." in output
    row = pd.read_csv(folder / "finalists.csv").set_index("trial").loc[3]
    assert (row["seeds"], row["failed_seeds"], row["pass_share"]) == (2, 1, 0.5)
    assert not row["confirmed"]
    assert runs(folder)["reason"].dropna().tolist() == [reason, reason]
    monkeypatch.setattr(worker, "train_finally", train_finally)
    confirmed(folder, "--trial", "3", "--seeds", "2")
    assert "0 runs to do" in capsys.readouterr().out


def test_a_run_that_lacked_memory_is_done_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "train_finally", failing(MemoryError(), 0))
    assert confirmed(folder, "--trial", "3", "--seeds", "1") == 1
    assert set(runs(folder)["reason"]) == {"out of memory: host memory"}
    monkeypatch.setattr(worker, "train_finally", train_finally)
    assert confirmed(folder, "--trial", "3", "--seeds", "1") == 0
    assert set(runs(folder)["state"]) == {"done"}


def test_an_error_of_ours_is_not_hidden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "train_finally", failing(RuntimeError("a bug"), 0))
    with pytest.raises(RuntimeError, match="a bug"):
        confirmed(folder)


def test_a_full_disk_says_so_and_keeps_the_runs_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.write_bytes

    def full(path: Path, content: bytes) -> None:
        if path.name.endswith("-1.safetensors"):
            raise UserError(f"cannot write {path}: {files.storage_trouble(OSError(28, 'full'))}")
        write(path, content)

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(UserError, match="full; finished trials are kept: free some space"):
        confirmed(folder, "--top", "1", "--seeds", "2")
    assert runs(folder)["seed_index"].tolist() == [0, 0]


def test_the_views_are_made_again_from_the_storage(folder: Path) -> None:
    confirmed(folder, "--top", "1", "--seeds", "1", "--quiet")
    names = ("confirmations.csv", "finalists.csv", "leaderboard.csv")
    before = [(folder / name).read_bytes() for name in names]
    for name in names:
        (folder / name).unlink()
    confirmed(folder, "--top", "1", "--seeds", "1", "--quiet")
    assert [(folder / name).read_bytes() for name in names] == before


def test_a_comparison_is_paired_over_seeds(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    confirmed(folder, "--top", "1", "--seeds", "3", "--quiet")
    capsys.readouterr()
    assert confirm.main([str(folder), "--compare", "3", "1"]) == 0
    values = runs(folder).pivot(index="seed_index", columns="trial", values="test_accuracy")
    oracle = stats.ttest_rel(values[3], values[1])
    low, high = oracle.confidence_interval(0.95)
    text = capsys.readouterr().out
    assert f"over 3 common seeds: {(values[3] - values[1]).mean() * 100:+.3f} points" in text
    assert f"95 % interval {low * 100:+.3f} to {high * 100:+.3f}, p = {oracle.pvalue:.2g}" in text


def test_a_comparison_needs_final_runs(folder: Path) -> None:
    with pytest.raises(UserError, match=r"has no confirmations.csv: confirm first"):
        confirm.main([str(folder), "--compare", "3", "1"])
    confirmed(folder, "--trial", "3", "--seeds", "1", "--quiet")
    with pytest.raises(UserError, match="--compare 2: it has no final run; trials that have: 1, 3"):
        confirm.main([str(folder), "--compare", "3", "2"])


def test_a_study_in_which_nothing_passes_offers_the_nearest(tmp_path: Path) -> None:
    three_designs(tmp_path, HARD, "missed")
    with pytest.raises(UserError, match=r"no design passes 100.00 %; the nearest is trial 3 with"):
        confirmed(tmp_path)
    assert confirmed(tmp_path, "--trial", "3", "--seeds", "1") == 1
    assert runs(tmp_path)["trial"].tolist() == [1, 3]


def test_designs_chosen_on_the_test_images_are_refused(tmp_path: Path) -> None:
    three_designs(tmp_path, replace(EASY, protocol="assignment"))
    for arguments in ([], ["--trial", "3"]):
        with pytest.raises(UserError, match="chosen by the test images"):
            confirmed(tmp_path, *arguments)


def test_a_searched_recipe_is_the_trials_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(EASY, search_recipe=True)
    opened = three_designs(tmp_path, settings)
    own = replace(settings.recipe, learning_rate=0.02)
    add(opened, trial(4, small(2), 0.9, recipe=own.to_dict()))
    recipes = []

    def noted(*arguments: Any) -> Any:
        recipes.append(arguments[2])
        return train_finally(*arguments)

    monkeypatch.setattr(worker, "train_finally", noted)
    confirmed(tmp_path, "--top", "1", "--seeds", "1")
    assert recipes == [own, settings.recipe]


def test_folders_that_hold_no_study_of_ours(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no study to confirm: study.db is missing"):
        confirmed(tmp_path)
    storage = study.open_storage(study.sqlite_url(tmp_path))
    with pytest.raises(UserError, match="must hold one study, it holds 0"):
        confirmed(tmp_path)
    optuna.create_study(storage=storage, study_name="foreign")
    with pytest.raises(UserError, match=r"study 'foreign' was not started by python -m search.run"):
        confirmed(tmp_path)


def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database" * 100)
    with pytest.raises(UserError, match=r"study.db cannot be used .*not a database"):
        confirmed(tmp_path)


def test_one_command_at_a_time(folder: Path) -> None:
    with files.only_one(folder), pytest.raises(UserError, match="another run is at work"):
        confirmed(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "argument --seeds: 0 given, must be 1 to 1,000"),
        (["--top", "0"], "argument --top: 0 given, must be 1 to 1,000"),
        (["--rank-by", "luck"], "argument --rank-by: invalid choice: 'luck'"),
        (["--trial", "-1"], "argument --trial: -1 given, must be at least 0"),
        (["--compare", "1"], "argument --compare: expected 2 arguments"),
        (["--top", "2", "--trial", "1"], "argument --trial: not allowed with argument --top"),
        (["--device", "mps"], "--device mps: not on this machine"),
    ],
)
def test_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as end:
        options.run_command(confirm.main, [str(tmp_path), *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_show_prints_the_verdicts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    confirmed(folder, "--top", "1", "--seeds", "2", "--quiet")
    capsys.readouterr()
    assert show.main([str(folder)]) == 0
    output = capsys.readouterr().out
    mean = runs(folder).query("trial == 3")["test_accuracy"].mean()
    assert "test (seeds)" in output
    assert f"{mean * 100:.2f} (2)" in output
    assert "1 (baseline)" in output
    assert "Measured drop from validation to confirmation: the best one by" in output


def resumed(folder: Path, *arguments: str, settings: Settings = EASY) -> int:
    """Run the study's own `search.run` again, which has all its designs."""
    opened = study.open_storage(study.sqlite_url(folder))
    assert opened.get_all_studies()[0].user_attrs["settings"] == settings.to_dict()
    return run.main(
        ["--results", str(folder.parent), "--study", "test", "--trials", "3", "--seed", "7",
         "--epochs", "1", "--train-images", "100", "--target", str(settings.rules.target),
         *ENGINE, *arguments]
    )  # fmt: skip


@pytest.fixture
def whole(prepared: Path, tmp_path: Path) -> Path:
    """The study where its `search.run` looks for it."""
    shutil.copytree(prepared, tmp_path / "test")
    return tmp_path / "test"


def test_a_search_that_has_its_designs_completes_their_confirmation(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resumed(whole, "--finalists", "1", "--seeds", "1") == 0
    assert "already has 3 trained designs" in capsys.readouterr().out
    assert runs(whole)["trial"].tolist() == [1, 3]
    assert resumed(whole, "--finalists", "1", "--seeds", "1") == 0
    assert "0 runs to do" in capsys.readouterr().out
    assert resumed(whole, "--finalists", "1", "--seeds", "2", "--rank-by", "seconds") == 0
    assert runs(whole)["trial"].tolist() == [1, 1, 3, 3]


def test_a_search_without_finalists_confirms_nothing(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resumed(whole, "--finalists", "0") == 0
    assert "onfirmation" not in capsys.readouterr().out
    assert not (whole / "confirmations.csv").exists()


def test_a_search_in_which_nothing_passed_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three_designs(tmp_path / "test", HARD, "missed")
    assert resumed(tmp_path / "test", settings=HARD) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("No confirmation: no design passes 100.00 %; the nearest is trial 3")


@pytest.mark.slow
def test_one_worker_and_two_give_equal_results_and_data_are_the_whole_test_images(
    tmp_path: Path,
) -> None:
    tables = []
    for workers in ("1", "2"):
        folder = tmp_path / workers
        three_designs(folder)
        done = run_command(
            tmp_path, "confirm", folder, "--seeds", "2", "--workers", workers, "--device", "cpu"
        )
        assert done.returncode == 0, done.stderr
        tables.append(runs(folder).drop(columns=["seconds", "worker", "commit"]))
    row = tables[0].query("trial == 3").iloc[0]
    _, oracle = train_finally(
        small(4), EASY.rules, EASY.recipe, 1, int(row["seed"]), choose_engine("auto", "cpu"),
        *protocol_digits("assignment", 100),
    )  # fmt: skip
    assert row["test_accuracy"] == oracle.test_accuracy
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)


@pytest.mark.slow
def test_a_killed_worker_tells_its_order(tmp_path: Path) -> None:
    opened = three_designs(tmp_path, replace(EASY, train_images=20_000))
    settings = Settings.from_dict(opened.user_attrs["settings"])
    order = Order(finalist_of(study.records(opened)[1], settings), 0)
    (tmp_path / "weights").mkdir()
    joined = Assignment(
        study.sqlite_url(tmp_path), "test", settings, "torch", "cpu", None, 1, "0",
        partial(worker.final_trainer, folder=tmp_path / "weights"),
    )  # fmt: skip
    with Workers([joined]) as workers:
        assert workers.hand_out([order, order]) == 1
        os.kill(workers._workers[0].process.pid or 0, signal.SIGKILL)
        died = workers.events(60)
        assert [(event.kind, event.order) for event in died] == [("died", order)]
        assert workers.busy == 0
        workers.hand_out([order])
        assert workers.busy == 1
        events = workers.events(300)
        assert [(event.kind, event.order) for event in events] == [("trained", order)]
    assert order.finalist.key(0) in opened.user_attrs


@pytest.mark.slow
def test_kill_of_everything_loses_no_finished_run(tmp_path: Path) -> None:
    three_designs(tmp_path)
    line = command("confirm", tmp_path, "--seeds", "40", "--device", "cpu")
    process = subprocess.Popen(
        line, env=environment(), stdout=subprocess.DEVNULL, start_new_session=True
    )
    while not (tmp_path / "confirmations.csv").exists() or len(runs(tmp_path)) < 3:
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = runs(tmp_path)
    with sqlite3.connect(tmp_path / "study.db") as database:
        (kept,) = database.execute(
            "SELECT count(*) FROM study_user_attributes WHERE key LIKE 'confirmation%'"
        ).fetchone()
    assert kept >= len(before)
    goal = str(before["seed_index"].max() + 2)
    done = run_command(tmp_path, "confirm", tmp_path, "--seeds", goal, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    after = runs(tmp_path)
    assert len(after) == max(3 * int(goal), kept)
    same = after.merge(before, how="inner")
    assert len(same) == len(before)


@pytest.mark.slow
def test_a_whole_search_ends_with_its_confirmation(tmp_path: Path) -> None:
    done = run_command(
        tmp_path, "run", "--trials", "2", "--target", "0.01", "--finalists", "1", "--seeds", "2",
        *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Next:") == 1
    assert done.stdout.endswith("Next:  python -m search.export results/mnist --rank 1\n")
    table = runs(tmp_path / "results" / "mnist")
    assert set(table["seed_index"]) == {0, 1}
    assert BASELINE.fingerprint in set(table["fingerprint"])
