from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from benchmarks.references import PUBLISHED, USED, main, missing, summary
from mnist_arch.references import REFERENCE_DESIGNS
from search.seeds import confirmation_seed

TRY_OUT = ["--epochs", "1", "--train-images", "64", "--workers", "1"]


def rows(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.ci
@pytest.mark.slow
def test_trainings_are_kept_as_they_end_and_never_done_again(tmp_path: Path) -> None:
    assert main([str(tmp_path), "--seeds", "1", *TRY_OUT]) == 0
    first = rows(tmp_path / "runs.csv")
    assert {(row["design"], row["recipe"]) for row in first} == {
        (design, recipe) for design in PUBLISHED for recipe in USED
    }
    assert {row["seed"] for row in first} == {str(confirmation_seed(0, 0))}
    assert {row["train_images"] for row in first} == {"64"}
    kept = (tmp_path / "runs.csv").read_bytes()
    assert main([str(tmp_path), "--seeds", "1", *TRY_OUT]) == 0
    assert (tmp_path / "runs.csv").read_bytes() == kept
    by_design = {row["design"]: row for row in rows(tmp_path / "summary.csv")}
    assert by_design["published-4392"]["parameters"] == "4392"
    assert by_design["published-7758"]["published_accuracy"] == "0.9963"


def test_runs_of_another_length_are_not_mixed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs.csv").write_text("design,recipe,seed_index,epochs,test_accuracy\na,b,0,3,0\n")
    assert main([str(tmp_path), *TRY_OUT]) == 2
    assert "another length" in capsys.readouterr().err


def test_a_summary_worked_by_hand() -> None:
    lines = summary(
        [
            {"design": "published-4392", "recipe": "default", "test_accuracy": text}
            for text in ("0.9930", "0.9950", "0.9952")
        ]
    )
    (line,) = lines
    assert (line["seeds"], line["failed_seeds"], line["test_minimum"]) == (3, 0, 0.993)
    assert line["test_accuracy"] == pytest.approx((0.9930 + 0.9950 + 0.9952) / 3, abs=1e-6)
    assert line["pass_share"] == pytest.approx(2 / 3, abs=1e-6)
    assert line["confirmed"]
    assert not line["proven"]


def test_what_is_missing_is_in_order_of_recipes_and_seeds() -> None:
    done = [{"design": "published-4392", "recipe": "default", "seed_index": "0"}]
    left = missing(done, 2)
    assert len(left) == len(PUBLISHED) * len(USED) * 2 - 1
    assert [run.recipe for run in left] == ["default"] * 3 + ["light decay"] * 4
    assert (left[0].design, left[0].seed_index) == ("published-7758", 0)
    task = left[0].task(19, None)
    assert task.design == REFERENCE_DESIGNS["published-7758"]
    assert (task.protocol, task.judged, task.budget.epochs) == ("assignment", "last epoch", 19)
