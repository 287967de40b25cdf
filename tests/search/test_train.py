from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from search import train
from tests.search.commands import QUICK

ENGINE = ("--engine", "torch", "--device", "cpu")


@pytest.mark.slow
def test_a_training_keeps_its_log_and_overwrites_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--design", "assignment", *QUICK, *ENGINE, "--results", str(tmp_path)]
    assert train.main([*arguments]) == 0
    assert train.main([*arguments]) == 0
    logs = [
        pd.read_csv(tmp_path / name / "epochs.csv")
        for name in ("train-assignment", "train-assignment-2")
    ]
    times = ["train_seconds", "seconds", "images_per_second"]
    pd.testing.assert_frame_equal(logs[0].drop(columns=times), logs[1].drop(columns=times))
    document = json.loads((tmp_path / "train-assignment" / "training.json").read_text())
    assert document["finished"]
    assert document["settings"]["train_images"] == 200
    printed = capsys.readouterr().out
    assert "after the last epoch: misses 99.40 %" in printed
    assert "a try-out, not a result" in printed


def test_the_assignments_protocol_says_that_it_selects_on_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--design", "assignment", *QUICK, *ENGINE, "--results", str(tmp_path)]
    arguments += ["--protocol", "assignment", "--recipe", "assignment", "--study", "log"]
    assert train.main(arguments) == 0
    assert json.loads((tmp_path / "log" / "training.json").read_text())["selected_on_test"]
    assert "Validated on the test images" in capsys.readouterr().out
