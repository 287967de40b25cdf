from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from search import RunConfig, open_study, show
from search.confirm import main as confirm
from search.export import main as export
from search.record import TrialRecord
from search.terminal.search import closing, nothing_to_do
from tests.search.commands import ROOT, environment
from tests.search.studies import EASY, HARD, final_run, folds_alone, small, study_files, trial

STUDIES = ("first-light", "under-8000", "curves")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert show.main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def study_of(folder: Path, *records: TrialRecord, state: str = "passed") -> Path:
    """A folder with the files of a study of these trials."""
    folder.mkdir(parents=True, exist_ok=True)
    written = study_files(folder, EASY if state == "passed" else HARD)
    written.load([replace(record, state=state) for record in records])
    written.rewrite()
    return folder


@pytest.mark.parametrize("form", ["", "--csv", "--json"])
def test_a_study_is_shown_at_once_without_what_searches_and_trains(form: str) -> None:
    code = (
        "import sys; from search import show; show.main(sys.argv[1:]); "
        "print({'torch', 'optuna', 'sqlalchemy'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "results/seed-0", *form.split()],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == "set()\n"


@pytest.mark.parametrize("name", STUDIES)
def test_committed_studies_are_shown_without_their_database(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    shutil.copytree(ROOT / "results" / name, tmp_path / name)
    (tmp_path / name / "study.db").unlink(missing_ok=True)
    before = {path: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
    text = shown(capsys, tmp_path / name)
    assert text.startswith(f"Study '{name}' in {tmp_path / name}: ")
    own = "Baseline, trial 0 (the assignment's own design): 99."
    assert (own in text) == (name != "under-8000")  # whose rules refuse it
    assert ("confirmation: fresh seeds" in text) == (name != "curves")
    assert ("leaderboard: 7 designs pass" in text) == (name == "first-light")
    assert "Not confirmed yet" not in text  # it could not be, here
    after = {path: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
    assert after == before


def test_a_design_judged_by_folds_alone_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = shown(capsys, folds_alone(tmp_path / "class-proof"))
    assert "leaderboard: 1 design passes" in text
    assert "99.46 (folds)" in text


def test_the_leaderboard_of_a_committed_study_is_its_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "shown.csv").write_text(shown(capsys, ROOT / "results" / "first-light", "--csv"))
    committed = pd.read_csv(ROOT / "results" / "first-light" / "leaderboard.csv")
    found = pd.read_csv(tmp_path / "shown.csv")
    common = [column for column in committed if column in found]
    assert {"rank", "trial", "validation_accuracy", "test_accuracy", "proven"} <= set(common)
    pd.testing.assert_frame_equal(found[common], committed[common], check_dtype=False)


def test_an_order_and_a_number_of_rows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = study_of(tmp_path, trial(1, small(8), 0.7), trial(2, small(4), 0.6))
    text = shown(capsys, folder, "--csv", "--sort", "parameters", "--top", "1")
    assert [line.split(",")[:2] for line in text.splitlines()[1:]] == [["2", "2"]]


@pytest.mark.parametrize("name", ["[red]", "[/red]", "a b", "a?b"])
def test_a_name_is_printed_as_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    folder = study_of(tmp_path / name, trial(1, small(8), 0.7))
    assert f" in {folder}: 1 passed" in shown(capsys, folder)


def test_a_pareto_optimal_design_has_a_star(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    large, little = small(8), small(4)
    folder = study_of(tmp_path, trial(1, large, 0.6), trial(2, little, 0.7))
    cells = open_study(folder).leaderboard.set_index("trial")["parameters"]
    text = shown(capsys, folder)
    assert f"{cells[2]:,}*" in text
    assert f"{cells[1]:,}*" not in text


def test_the_best_is_rank_1_on_a_tie(tmp_path: Path) -> None:
    folder = study_of(tmp_path, trial(1, small(8), 0.7), trial(2, small(4), 0.7))
    study = open_study(folder)
    assert study.leaderboard["trial"].tolist() == [2, 1]
    assert "Best:     trial 2, validation 70.00 % after epoch 1," in closing(study, False)


def test_the_three_answers_stand_beside_the_baseline(tmp_path: Path) -> None:
    folder = study_of(
        tmp_path, trial(1, BASELINE, 0.6), trial(2, small(8), 0.9), trial(3, small(4), 0.7)
    )
    words = closing(open_study(folder), False)
    assert "Most accurate, fewest epochs: trial 2, validation 90.00 %" in words
    assert "Smallest:                     trial 3, validation 70.00 %" in words
    assert "Baseline:                     trial 1, validation 60.00 %" in words


def test_the_best_and_the_baseline_stand_beside_each_other_once(tmp_path: Path) -> None:
    both = closing(open_study(study_of(tmp_path / "a", trial(1, BASELINE, 0.6),
                                       trial(2, small(4), 0.7))), False)  # fmt: skip
    assert "Best:     trial 2" in both
    assert "Baseline: trial 1" in both
    alone = closing(open_study(study_of(tmp_path / "b", trial(1, BASELINE, 0.6))), False)
    assert "Best:     trial 1" in alone
    assert "Baseline:" not in alone


def test_a_study_in_which_nothing_passes_names_the_nearest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = study_of(tmp_path, trial(1, small(8), 0.7), trial(2, small(4), 0.6), state="missed")
    text = shown(capsys, folder)
    assert "No design passes 100.00 % after its last epoch." in text
    assert "nearest: trial 1, 70.00 %" in text
    words = closing(open_study(folder), False)
    assert "No design reached 100.00 %; a larger --trials may." in words
    assert "Best:     trial 1" in words


def test_a_study_without_a_whole_training(tmp_path: Path) -> None:
    words = closing(open_study(study_of(tmp_path)), False)
    assert "No design was trained to its last epoch yet." in words
    assert words.endswith(f"Next:  python -m search.show {tmp_path}")
    assert "Next:" not in closing(open_study(tmp_path), True)


def test_trials_that_the_machine_failed_are_counted(tmp_path: Path) -> None:
    folder = tmp_path
    written = study_files(folder)
    written.load([trial(1, small(4), 0.7), replace(trial(2, small(8), 0.1, "broken"), epochs=())])
    written.rewrite()
    words = closing(open_study(folder), False)
    assert "1 design trained: 1 passed" in words
    assert "0 duplicates, 1 that the machine failed." in words


def test_a_folder_with_a_space_is_quoted() -> None:
    words = nothing_to_do(RunConfig("a b"), 50)
    assert "study 'a b' already has 50 trained designs and --trials is 50" in words
    assert words.endswith("To see it: python -m search.show 'results/a b'")


def test_a_table_of_another_study_is_told(tmp_path: Path) -> None:
    study_of(tmp_path / "one", trial(1, small(8), 0.7))
    (tmp_path / "two").mkdir()
    other = study_files(tmp_path / "two", runs=[final_run(1, 0, 0.99)], name="two")
    other.load([trial(1, small(8), 0.7)])
    other.rewrite()
    shutil.copy(tmp_path / "two" / "finalists.csv", tmp_path / "one")
    with pytest.raises(UserError, match=r"finalists.csv is of another study"):
        show.main([str(tmp_path / "one")])


def test_a_study_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(shown(capsys, ROOT / "results" / "first-light", "--json"))
    assert told["counts"]["proposed"] == 56
    assert [row["trial"] for row in told["leaderboard"]] == [40, 54, 0, 22, 43, 41, 33]
    assert [answer["parameters"] for answer in told["answers"]] == [18_498, 13_748, 18_498, 18_430]
    assert {row["trial"] for row in told["finalists"]} == {0, 22, 40, 54}


def test_a_design_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(shown(capsys, "design", "assignment", "--json"))
    assert told["parameters"] == sum(row["parameters"] for row in told["layers"]) == 18_430
    assert told["allowed"]
    assert show.main(["design", "assignment", "--json", "--parameter-limit", "100"]) == 1
    refused = json.loads(capsys.readouterr().out)
    assert refused["broken"] == ["parameters: 18,430, must be fewer than 100"]


def test_a_study_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"did you mean .*results/first-light\?$"):
        show.main([str(ROOT / "results" / "first-lihgt")])


@pytest.mark.parametrize("command", [show.main, export, confirm])
def test_a_study_called_by_its_name_alone_is_found_in_results(
    command: Callable[[list[str]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=r"; did you mean results/first-light\?$"):
        command(["first-light"])
