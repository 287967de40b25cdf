"""Optuna's own tools work on our studies: its command line, and a notebook."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from tests.search.commands import environment
from tests.search.studies import three_designs

CLI = "import sys; from optuna.cli import main; sys.exit(main())"


def optuna_says(folder: Path, verb: str, *arguments: str) -> str:
    """What Optuna's command line prints of a study's database, as docs/scale.md calls it."""
    where = ("--storage", "sqlite:///study.db", *arguments)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CLI, verb, *where], cwd=folder, env=environment(),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_optunas_command_line_lists_our_trials(tmp_path: Path) -> None:
    three_designs(tmp_path)
    trials = json.loads(optuna_says(tmp_path, "trials", "--study-name", "test", "-f", "json"))
    assert [trial["number"] for trial in trials] == [0, 1, 2, 3]
    assert [trial["state"] for trial in trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    best = json.loads(optuna_says(tmp_path, "best-trial", "--study-name", "test", "-f", "json"))
    assert best["number"] == 3


def test_a_notebook_loads_our_study(tmp_path: Path) -> None:
    """The snippet of docs/scale.md."""
    three_designs(tmp_path)
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.load_study(study_name="test", storage=storage)
    frame = study.trials_dataframe(attrs=("number", "value", "state", "user_attrs"))
    assert frame["value"].dropna().tolist() == [0.5, 0.6, 0.7]
    assert frame["user_attrs_state"].tolist()[1:] == ["passed"] * 3
    assert study.best_trial.user_attrs["design"]["layers"][0]["type"] == "conv"
    storage.engine.dispose()
