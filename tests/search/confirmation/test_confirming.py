"""Whole confirmations: which runs are done, kept, done again; what a study's files then say."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import optuna
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from mnist_arch.build import build
from mnist_arch.data import Digits, protocol_digits
from mnist_arch.errors import MachineError, UserError
from mnist_arch.training import Diverged
from mnist_arch.training import evaluate as judge
from search import evaluate, files
from search.seeds import confirmation_seed
from search.storage import opened_storage, sqlite_url
from search.task import Budget, Task
from tests.search.confirmations import CPU, DyingHere, confirmed, failing, quick, runs
from tests.search.studies import EASY, HARD, THREE, add, small, started, three_designs, trial


@pytest.fixture(scope="module")
def digits() -> tuple[Digits, Digits]:
    """A hundred digits to fit, as the study's settings say, and 500 test images."""
    fit, test = protocol_digits("assignment", 100)
    return fit, test.take(torch.arange(500))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, digits: tuple[Digits, Digits]) -> None:
    quick(monkeypatch, digits)


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


def final_task(seed: int) -> Task:
    return Task(small(4), EASY.rules, EASY.recipe, Budget(1, 100), seed, "assignment", "last epoch")


def test_finalists_and_baseline_run_on_fresh_seeds_and_are_judged_on_the_test_images(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = confirmed(folder, top=1, seeds=2)
    assert (outcome.confirmed, outcome.is_yes, outcome.interrupted) == (True, True, False)
    table = runs(folder)
    assert table[["trial", "seed_index"]].to_numpy().tolist() == [[1, 0], [1, 1], [3, 0], [3, 1]]
    assert table["seed"].tolist() == [confirmation_seed(7, index) for index in (0, 1, 0, 1)]
    (oracle,) = evaluate.evaluate(final_task(confirmation_seed(7, 1)), CPU).epochs
    last = table.iloc[3]
    assert last["test_accuracy"] == oracle.validation_accuracy
    assert last["test_loss"] == pytest.approx(oracle.validation_loss)
    assert (last["train_images"], last["epochs"], last["engine"]) == (100, 1, "torch")
    output = capsys.readouterr().out
    assert (
        "most accurate trial 3; 2 fresh seeds each, 1 epoch on 100 images; 4 runs to do" in output
    )
    assert "[1/4] trial 3    seed 0   test" in output
    assert "[2/4] trial 1    seed 0   test" in output
    assert "1 (baseline)" in output
    assert "shortened as the study is: a try-out, not a result" in output
    assert "Test images were used for nothing else" in output
    assert "Luck: the best of 3 designs" in output
    document = json.loads((folder / "study.json").read_text())
    assert document["confirmations"][0]["workers"] >= 1
    assert document["confirmations"][0]["command"].startswith("search.confirm, called")
    assert document["confirmations"][0]["seconds"] > 0


def test_the_weights_are_those_that_were_judged(
    folder: Path, digits: tuple[Digits, Digits]
) -> None:
    confirmed(folder, trials=(3,), seeds=1, quiet=True)
    row = runs(folder).set_index("trial").loc[3]
    with safe_open(folder / "weights" / row["weights"], "pt") as file:
        metadata, names = file.metadata(), file.offset_keys()
        state = {name: file.get_tensor(name) for name in names}
    assert row["weights"] == f"{small(4).fingerprint}-0.safetensors"
    assert metadata == {
        "fingerprint": small(4).fingerprint, "seed": str(row["seed"]), "epochs": "1",
        "images": "100", "test_accuracy": str(row["test_accuracy"]), "study": EASY.identity("test"),
    }  # fmt: skip
    network = build(small(4))
    network.load_state_dict(state)
    assert judge(network, digits[1])[1] == row["test_accuracy"]


@pytest.mark.ci
@pytest.mark.slow
def test_more_seeds_are_added_and_nothing_is_done_twice(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    confirmed(folder, top=1, seeds=1, quiet=True)
    before = runs(folder)
    capsys.readouterr()
    confirmed(folder, top=1, seeds=1)
    assert "0 runs to do" in capsys.readouterr().out
    pd.testing.assert_frame_equal(runs(folder), before)
    confirmed(folder, top=2, seeds=2, rank_by="accuracy")
    assert "4 runs to do" in capsys.readouterr().out
    after = runs(folder)
    assert after["trial"].tolist() == [1, 1, 2, 2, 3, 3]
    kept = after[(after["seed_index"] == 0) & (after["trial"] != 2)].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before)


@pytest.mark.slow
def test_two_trials_of_one_design_share_their_seeds_and_their_verdict(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    confirmed(folder, trials=(3,), seeds=1, quiet=True)
    with started(folder) as study:
        add(study, trial(4, small(4), 0.9))  # another driver's, better by its luck
    capsys.readouterr()
    outcome = confirmed(folder, top=2, seeds=3, rank_by="accuracy")
    output = capsys.readouterr().out
    assert "trials 4, 2; 3 fresh seeds each" in output
    assert (
        runs(folder).groupby("fingerprint")["seed_index"].apply(sorted).tolist() == [[0, 1, 2]] * 3
    )
    found = outcome.study.tables["finalists"]
    assert found["seeds"].tolist() == [3, 3, 3]
    assert set(found["trial"]) == {1, 2, 3}
    assert outcome.confirmed
    assert f"Next:  python -m search.export {folder} --trial 3\n" in output


def test_what_is_exported_next_is_the_first_confirmed_not_rank_1(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = Diverged("training loss became nan in epoch 1")
    monkeypatch.setattr(evaluate, "_judged_once", failing(error, lambda _, before: before == 0))
    outcome = confirmed(folder, top=2, seeds=1, rank_by="accuracy")
    assert outcome.study.leaderboard["trial"].tolist() == [3, 2, 1]
    assert outcome.confirmed
    output = capsys.readouterr().out
    assert output.endswith(f"Next:  python -m search.export {folder} --trial 2\n")


@pytest.mark.slow
def test_where_an_answer_is_not_confirmed_the_next_of_its_kind_is_tried(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best and smallest, trial 3, diverges; for each answer the next that passes is trial 2."""
    error = Diverged("training loss became nan in epoch 1")
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "_judged_once", failing(error, lambda _, before: before == 0))
        assert confirmed(folder, seeds=2).is_yes
    output = capsys.readouterr().out
    assert "most accurate trial 3, smallest trial 3, fewest epochs trial 3; 2 fresh" in output
    assert "Where one is not confirmed the next of its kind is tried, 4 at most for each." in output
    ran = runs(folder)[["trial", "seed_index"]].to_numpy().tolist()
    assert ran == [[1, 0], [1, 1], [2, 0], [2, 1], [3, 0]]
    assert "  smallest       trial 2 " in output
    assert "  baseline       trial 1 " in output
    confirmed(folder, seeds=2)
    assert "0 runs to do" in capsys.readouterr().out  # it diverged, and would again


@pytest.mark.slow
def test_each_finalist_is_trained_as_long_as_its_trial_was(folder: Path) -> None:
    epoch = THREE[2].epochs[0]
    config = replace(EASY, epochs=2)
    shutil.rmtree(folder)
    three_designs(folder, config)  # one epoch each: shorter than the study's
    with started(folder, config) as study:
        add(study, replace(trial(4, small(6), 0.6), epochs=(epoch, replace(epoch, epoch=2))))
    confirmed(folder, trials=(3, 4), seeds=1)
    assert runs(folder).set_index("trial")["epochs"].to_dict() == {1: 1, 3: 1, 4: 2}
    names = runs(folder).set_index("trial")["weights"]
    assert names[3] == f"{small(4).fingerprint}-e1-0.safetensors"
    assert names[4] == f"{small(6).fingerprint}-0.safetensors"


@pytest.mark.ci
@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt = failing(KeyboardInterrupt(), lambda _, before: before == 2)
        patch.setattr(evaluate, "_judged_once", interrupt)
        assert confirmed(folder, top=1, seeds=2).interrupted
    assert "Interrupted; finished runs are kept. Continue with the same" in capsys.readouterr().out
    assert runs(folder)["seed_index"].tolist() == [0, 0]  # both designs, the same seed
    assert not confirmed(folder, top=1, seeds=2).interrupted
    assert len(runs(folder)) == 4


def test_a_dead_workers_run_is_done_again(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DyingHere, "deaths", 2)
    confirmed(folder, top=1, seeds=1)
    output = capsys.readouterr().out
    assert "attempt 2 of 3 on worker 0: its process ended with exit status -9" in output
    assert len(runs(folder)) == 2
    assert set(runs(folder)["state"]) == {"done"}


@pytest.mark.slow
def test_a_run_whose_worker_dies_each_time_failed_and_can_be_done_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DyingHere, "deaths", 3)
    assert not confirmed(folder, trials=(3,), seeds=1).is_yes
    state = runs(folder).set_index("trial")["state"].to_dict()
    assert state == {3: "failed", 1: "done"}
    assert confirmed(folder, trials=(3,), seeds=1).is_yes
    assert set(runs(folder)["state"]) == {"done"}


@pytest.mark.slow
def test_a_diverged_run_counts_as_not_passed_and_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    diverged = Diverged("training loss became nan in epoch 1")
    bad = confirmation_seed(7, 1)
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "_judged_once", failing(diverged, lambda seed, _: seed == bad))
        assert not confirmed(folder, trials=(3,), seeds=2).is_yes
    output = capsys.readouterr().out
    reason = "diverged: training loss became nan in epoch 1"
    assert f"trial 3    seed 1   failed: {reason}; it counts as not passed" in output
    assert "1 failed" in output
    assert "No finalist is confirmed." in output
    row = pd.read_csv(folder / "finalists.csv").set_index("trial").loc[3]
    assert (row["seeds"], row["failed_seeds"], row["pass_share"]) == (2, 1, 0.5)
    assert not row["confirmed"]
    assert runs(folder)["reason"].dropna().tolist() == [reason, reason]
    confirmed(folder, trials=(3,), seeds=2)
    assert "0 runs to do" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_that_lacked_memory_three_times_is_done_again_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        lacking = failing(MemoryError(), lambda _, before: before < 6)
        patch.setattr(evaluate, "_judged_once", lacking)
        assert not confirmed(folder, trials=(3,), seeds=1).is_yes
    assert set(runs(folder)["reason"]) == {"out of memory: host memory"}
    assert confirmed(folder, trials=(3,), seeds=1).is_yes
    assert set(runs(folder)["state"]) == {"done"}


def test_an_error_of_ours_is_not_hidden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bug = failing(RuntimeError("a bug"), lambda *_: True)
    monkeypatch.setattr(evaluate, "_judged_once", bug)
    with pytest.raises(RuntimeError, match="a bug"):
        confirmed(folder)


def test_a_full_disk_says_so_and_keeps_the_runs_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.write_bytes

    def full(path: Path, content: bytes) -> None:
        if path.name.endswith("-1.safetensors"):
            raise MachineError(f"cannot write {path}: {files.disk_fault(OSError(28, 'full'))}")
        write(path, content)

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(MachineError, match="full; finished trials are kept: free some space"):
        confirmed(folder, top=1, seeds=2)
    assert runs(folder)["seed_index"].tolist() == [0, 0]


def test_the_tables_are_made_again_from_the_database(folder: Path) -> None:
    confirmed(folder, top=1, seeds=1, quiet=True)
    names = ("confirmations.csv", "finalists.csv", "leaderboard.csv")
    before = [(folder / name).read_bytes() for name in names]
    for name in names:
        (folder / name).unlink()
    confirmed(folder, top=1, seeds=1, quiet=True)
    assert [(folder / name).read_bytes() for name in names] == before


def test_a_study_in_which_nothing_passes_offers_the_nearest(tmp_path: Path) -> None:
    three_designs(tmp_path, HARD, "missed")
    with pytest.raises(UserError, match=r"no design passes 100.00 %; the nearest is trial 3 with"):
        confirmed(tmp_path)
    assert not confirmed(tmp_path, trials=(3,), seeds=1).is_yes
    assert runs(tmp_path)["trial"].tolist() == [1, 3]


def test_designs_chosen_on_the_test_images_are_refused(tmp_path: Path) -> None:
    three_designs(tmp_path, replace(EASY, protocol="assignment"))
    for numbers in (None, (3,)):
        with pytest.raises(UserError, match="chosen by the test images"):
            confirmed(tmp_path, trials=numbers)


def test_a_searched_recipe_is_the_trials_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(EASY, search_recipe=True)
    three_designs(tmp_path, config)
    own = replace(config.recipe, learning_rate=0.02)
    with started(tmp_path, config) as study:
        add(study, trial(4, small(2), 0.9, recipe=own.to_dict()))
    recipes = []
    judged_once = evaluate._judged_once

    def noted(network: torch.nn.Module, task: Task, *more: object) -> object:
        recipes.append(task.recipe)
        return judged_once(network, task, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate, "_judged_once", noted)
    confirmed(tmp_path, top=1, seeds=1)
    assert recipes == [own, config.recipe]


def test_folders_that_hold_no_study_of_ours(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no study to confirm: study.db is missing"):
        confirmed(tmp_path)
    with opened_storage(sqlite_url(tmp_path)) as storage:
        with pytest.raises(UserError, match="must hold one study, it holds 0"):
            confirmed(tmp_path)
        optuna.create_study(storage=storage, study_name="foreign")
    with pytest.raises(UserError, match=r"study 'foreign' was not started by python -m search.run"):
        confirmed(tmp_path)


def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database" * 100)
    with pytest.raises(MachineError, match=r"study.db cannot be used .*not a database"):
        confirmed(tmp_path)


def test_one_command_at_a_time(folder: Path) -> None:
    with files.held(folder), pytest.raises(UserError, match="another run is at work"):
        confirmed(folder)
