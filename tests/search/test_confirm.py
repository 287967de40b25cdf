"""The command of the confirmation, and the last stage of a search."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
import torch
from scipy import stats

from mnist_arch.data import Digits, protocol_digits
from mnist_arch.datasets import FOLDS
from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from search import ConfirmConfig, Machine, RunConfig, StudyConfig, cli, evaluate, search
from search.searching import Outcome
from search.statistics.confidence import compare_answers
from search.task import Budget, Task
from tests.search.commands import QUICK, ROOT, command, environment
from tests.search.commands import run as run_command
from tests.search.confirmations import CPU, confirmed, quick, runs
from tests.search.studies import EASY, HARD, small, three_designs

confirm = importlib.import_module("search.confirm")
"""The command; the attribute `search.confirm` is the API's function."""

show = importlib.import_module("search.show")


@pytest.fixture(scope="module")
def digits() -> tuple[Digits, Digits]:
    """A hundred digits to fit and 500 test images."""
    fit, test = protocol_digits("assignment", 100)
    return fit, test.take(torch.arange(500))


@pytest.fixture(autouse=True)
def _quick(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, digits: tuple[Digits, Digits]
) -> None:
    if "slow" not in request.keywords:
        quick(monkeypatch, digits)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three designs that pass, none confirmed."""
    folder = tmp_path_factory.mktemp("prepared")
    three_designs(folder)
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A copy of that study, where its search looks for it."""
    shutil.copytree(prepared, tmp_path / "test")
    return tmp_path / "test"


def test_the_api_stays_a_function_beside_the_command_of_its_name() -> None:
    import search as package

    assert callable(package.confirm)
    assert callable(package.search)
    assert sys.modules["search.confirm"] is confirm


def test_options_become_the_choices_of_a_confirmation(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[ConfirmConfig] = []

    def note(choices: ConfirmConfig) -> Outcome:
        given.append(choices)
        return Outcome(study=None, confirmed=len(given) > 1)  # type: ignore[arg-type]

    monkeypatch.setattr(confirm, "confirm", note)
    assert confirm.main(["there"]) == 1
    more = ["--trial", "3", "--trial", "1", "--seeds", "6", "--workers", "4", "--judge", "folds"]
    assert confirm.main(["there", *more, "--rank-by", "macs", "--quiet", "--device", "cpu"]) == 0
    plain, full = given
    assert (plain.folder, plain.top, plain.trials, plain.runs) == (Path("there"), 3, None, 3)
    assert (plain.rank_by, plain.judge, full.judge) == (None, "test", "folds")
    assert (plain.workers, plain.quiet, plain.machine) == (None, False, Machine())
    assert (full.trials, full.seeds, full.workers, full.rank_by) == ((3, 1), 6, 4, "macs")
    assert (full.quiet, full.machine) == (True, Machine(device="cpu"))


def test_an_interrupted_confirmation_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = Outcome(study=None, interrupted=True, confirmed=True)  # type: ignore[arg-type]
    monkeypatch.setattr(confirm, "confirm", lambda _: ended)
    assert confirm.main(["there"]) == 130


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv")


@pytest.mark.slow
def test_a_comparison_is_paired_over_seeds_and_images(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    confirmed(folder, top=1, seeds=3, quiet=True)
    capsys.readouterr()
    assert confirm.main([str(folder), "--compare", "3", "1"]) == 0
    values = runs(folder).pivot(index="seed_index", columns="trial", values="test_accuracy")
    wrong = table(folder, "errors").groupby(["trial", "seed_index"])["image"].agg(set)
    oracle = compare_answers(wrong[3].tolist(), wrong[1].tolist(), 500)
    text = capsys.readouterr().out
    assert f"over 3 common seeds: {(values[3] - values[1]).mean() * 100:+.3f} points" in text
    assert oracle.low is not None
    assert oracle.high is not None
    assert f"95 % interval {oracle.low * 100:+.3f} to {oracle.high * 100:+.3f}, p = " in text
    assert "(paired over seeds and images): these runs cannot tell them apart, for any" in text
    shutil.rmtree(folder / "weights")
    (folder / "study.db").unlink()  # the files are enough
    assert confirm.main([str(folder), "--compare", "3", "1"]) == 0


@pytest.mark.slow
def test_a_comparison_without_answers_is_paired_over_seeds(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in studies of earlier versions, whose tables have neither judge nor answers."""
    confirmed(folder, top=1, seeds=3, quiet=True)
    (folder / "errors.csv").unlink()
    old = runs(folder).drop(columns=["judge", "judged_images", "misread"])
    old.to_csv(folder / "confirmations.csv", index=False)
    capsys.readouterr()
    assert confirm.main([str(folder), "--compare", "3", "1"]) == 0
    values = old.pivot(index="seed_index", columns="trial", values="test_accuracy")
    oracle = stats.ttest_rel(values[3], values[1])
    low, high = oracle.confidence_interval(0.95)
    text = capsys.readouterr().out
    assert f"95 % interval {low * 100:+.3f} to {high * 100:+.3f}, p = {oracle.pvalue:.2g}" in text
    assert "(paired t test)" in text


@pytest.mark.slow
def test_six_folds_are_judged_compared_and_shown(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, judged = protocol_digits("assignment", 100)
    parts: list[int] = []

    def fold_here(fold: int, *_: object) -> tuple[Digits, Digits, torch.Tensor]:
        parts.append(fold)
        numbers = torch.arange(200 * fold, 200 * (fold + 1))
        return fit, judged.take(numbers), numbers

    monkeypatch.setattr(evaluate, "fold_here", fold_here)
    confirmed(folder, trials=(3,), seeds=2, quiet=True)
    before = runs(folder)
    outcome = confirmed(folder, judge="folds", top=1)
    assert outcome.is_yes
    assert sorted(parts) == [fold for fold in range(6) for _ in range(2)]
    output = capsys.readouterr().out
    assert "6 parts of all images, each judged by its own training, 1 epoch" in output
    assert "[ 1/12] trial 3    part 0   unseen" in output
    assert "confirmation by folds: six runs, each judged once on 10,000 unseen" in output
    after = runs(folder)
    pd.testing.assert_frame_equal(
        after[after["judge"] == "test"].reset_index(drop=True), before, check_dtype=False
    )
    mine = after[after["judge"] == "folds"]
    assert mine["judged_images"].tolist() == [200] * 12
    assert mine["weights"].isna().all()
    errors = table(folder, "errors").query("judge == 'folds' and trial == 3")
    per_fold = errors.groupby("seed_index")["image"]
    assert ((per_fold.min() // 200) == per_fold.min().index).all()
    verdict = table(folder, "finalists").query("judge == 'folds' and trial == 3").iloc[0]
    assert verdict["test_accuracy"] == pytest.approx(1 - len(errors) / 1_200)
    confirmed(folder, judge="folds", top=1)
    assert "0 runs to do" in capsys.readouterr().out
    assert confirm.main([str(folder), "--judge", "folds", "--compare", "3", "1"]) == 0
    assert "over 6 parts of the images" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"--compare 2: .* have: 1, 3.*--trial 2 --judge folds"):
        confirm.main([str(folder), "--judge", "folds", "--compare", "2", "1"])


def test_folds_have_six_trainings_whatever_is_asked_for() -> None:
    assert ConfirmConfig(Path("x"), judge="folds").runs == FOLDS
    assert ConfirmConfig(Path("x"), judge="folds", seeds=6).runs == FOLDS
    with pytest.raises(UserError, match="--seeds 5: --judge folds has 6 trainings, one seed each"):
        ConfirmConfig(Path("x"), judge="folds", seeds=5)


def test_a_committed_confirmation_is_compared_as_readme_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first_light = ROOT / "results" / "first-light"
    assert confirm.main([str(first_light), "--compare", "40", "0"]) == 0
    text = capsys.readouterr().out
    assert "over 5 common seeds: -0.008 points" in text
    assert "95 % interval -0.072 to +0.056" in text


def test_a_comparison_needs_final_runs(folder: Path) -> None:
    confirmed(folder, trials=(3,), seeds=1, quiet=True)
    with pytest.raises(UserError, match="--compare 2: it has no final run; trials that have: 1, 3"):
        confirm.main([str(folder), "--compare", "3", "2"])
    (folder / "confirmations.csv").unlink()
    with pytest.raises(UserError, match=r"has no confirmations.csv: confirm first"):
        confirm.main([str(folder), "--compare", "3", "1"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--judge", "luck"], "argument --judge: invalid choice: 'luck'"),
        (["--judge", "folds", "--seeds", "7"], "--seeds 7: --judge folds has 6 trainings, one"),
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
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # a command replaces it
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        cli.run_command(confirm.main, [str(folder), *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_show_prints_the_verdicts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    confirmed(folder, top=1, seeds=2, quiet=True)
    capsys.readouterr()
    assert show.main([str(folder)]) == 0
    output = capsys.readouterr().out
    mean = runs(folder).query("trial == 3")["test_accuracy"].mean()
    assert "test (seeds)" in output
    assert f"{mean * 100:.2f} (2)" in output
    assert "1 (baseline)" in output
    assert "Measured drop from validation to confirmation: the best one by" in output


def resumed(folder: Path, config: StudyConfig = EASY, **choices: object) -> Outcome:
    """Search the study again, which has all its designs."""
    run = RunConfig(
        "test", folder.parent, trials=3, executor="here", machine=CPU, **choices  # type: ignore[arg-type]
    )  # fmt: skip
    return search(config, run)


@pytest.mark.slow
def test_a_search_that_has_its_designs_completes_their_confirmation(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resumed(folder, finalists=1, seeds=1).is_yes
    assert "already has 3 trained designs" in capsys.readouterr().out
    assert runs(folder)["trial"].tolist() == [1, 3]
    assert resumed(folder, finalists=1, seeds=1).is_yes
    assert "0 runs to do" in capsys.readouterr().out
    assert resumed(folder, finalists=1, seeds=2, rank_by="seconds").is_yes
    assert runs(folder)["trial"].tolist() == [1, 1, 3, 3]


def test_a_search_without_finalists_confirms_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = resumed(folder, finalists=0)
    assert (outcome.confirmed, outcome.is_yes) == (None, True)
    assert "onfirmation" not in capsys.readouterr().out
    assert not (folder / "confirmations.csv").exists()


def test_a_search_in_which_nothing_passed_says_so_in_one_line_and_is_no_yes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three_designs(tmp_path / "test", HARD, "missed")
    assert not resumed(tmp_path / "test", HARD).is_yes
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("No confirmation: no design passes 100.00 %; the nearest is trial 3")
    assert not resumed(tmp_path / "test", HARD, finalists=0).is_yes


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
    task = Task(
        small(4), EASY.rules, EASY.recipe, Budget(1, 100), int(row["seed"]), "assignment",
        "last epoch",
    )  # fmt: skip
    (oracle,) = evaluate.evaluate(task, Machine(device="cpu", threads=1)).epochs
    assert row["test_accuracy"] == oracle.validation_accuracy
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)


@pytest.mark.ci
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
    with closing(sqlite3.connect(tmp_path / "study.db")) as database:
        (kept,) = database.execute(
            "SELECT count(*) FROM study_user_attributes WHERE key LIKE 'confirmation%'"
        ).fetchone()
    assert kept >= len(before)
    seeds = int(before["seed_index"].max()) + 2
    done = run_command(tmp_path, "confirm", tmp_path, "--seeds", str(seeds), "--device", "cpu")
    assert done.returncode == 0, done.stderr
    after = runs(tmp_path)
    assert set(after["trial"]) == set(before["trial"])  # two or three: one may be two answers
    assert len(after) >= kept
    for _, of_design in after.groupby("trial"):
        assert set(of_design["seed_index"]) >= set(range(seeds))
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
    table = runs(tmp_path / "results" / "mnist")
    best = pd.read_csv(tmp_path / "results" / "mnist" / "leaderboard.csv")["trial"][0]
    following = f"Next:  python -m search.export results/mnist --trial {best}\n"
    assert done.stdout.endswith(following)
    assert set(table["seed_index"]) == {0, 1}
    assert BASELINE.fingerprint in set(table["fingerprint"])
