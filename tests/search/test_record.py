from __future__ import annotations

import optuna
import pytest

from mnist_arch.recipe import RECIPES
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejected, Rules
from mnist_arch.training import EpochRecord
from search import record

EPOCH = EpochRecord(1, 0.1, 0.5, 0.9, 0.4, 0.93, 10.0, 12.0, 5000.0)


def test_what_is_written_is_read_back(opened: optuna.Study) -> None:
    trial = opened.ask()
    recipe = RECIPES["default"].to_dict()
    record.write_proposal(trial, BASELINE, recipe)
    record.write_epoch(trial, EPOCH)
    running = record.read(opened.trials[0])
    assert (running.state, running.design, running.epochs) == ("running", BASELINE, (EPOCH,))
    assert running.recipe == recipe
    record.write_state(trial, "failed", "diverged")
    opened.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert record.read(opened.trials[0]).state == "failed"
    assert record.read(opened.trials[0]).reason == "diverged"


def test_rejections_are_read_back(opened: optuna.Study) -> None:
    with pytest.raises(Rejected) as rejected:
        Rules(parameter_limit=100, strict=True).check(BASELINE)
    trial = opened.ask()
    record.write_rejections(trial, rejected.value.rejections)
    opened.tell(trial, state=optuna.trial.TrialState.PRUNED)
    read = record.read(opened.trials[0])
    assert (read.state, read.rejections) == ("rejected", rejected.value.rejections)
    assert read.reason == str(rejected.value)


def test_epochs_are_read_in_order_beyond_the_tenth(opened: optuna.Study) -> None:
    trial = opened.ask()
    for number in (11, 2, 1, 10):
        record.write_epoch(trial, EpochRecord(number, 0.1, 0.5, 0.9, 0.4, 0.93, 10.0, 12.0, 5.0))
    assert [epoch.epoch for epoch in record.read(opened.trials[0]).epochs] == [1, 2, 10, 11]


def test_the_same_design_under_another_recipe_is_another_proposal() -> None:
    recipe = RECIPES["default"].to_dict()
    assert record.identity(BASELINE, None) == BASELINE.fingerprint
    assert record.identity(BASELINE, recipe) == record.identity(BASELINE, dict(recipe))
    assert record.identity(BASELINE, recipe) != record.identity(
        BASELINE, recipe | {"learning_rate": 0.2}
    )
