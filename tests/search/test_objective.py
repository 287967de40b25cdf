from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import optuna
import pytest
from optuna.trial import TrialState

from mnist_arch.references import BASELINE
from mnist_arch.rules import Rules
from mnist_arch.training import EpochRecord
from search import objective as objective_module
from search import record, study
from search.objective import AlreadyInTraining, Objective
from search.seeds import trial_seed
from search.settings import Settings
from search.space import ASSIGNMENT_PARAMS

SMALL = ASSIGNMENT_PARAMS | {f"width_{i}": 4 for i in range(1, 7)}


def epoch(number: int, accuracy: float) -> EpochRecord:
    return EpochRecord(number, 0.1, 0.5, 0.9, 0.4, accuracy, 1.0, 1.2, 1000.0)


def last(opened: optuna.Study) -> record.TrialRecord:
    return record.read(opened.get_trials()[-1])


def run(opened: optuna.Study, objective: Objective, params: dict[str, Any] | None = None) -> None:
    if params is not None:
        opened.enqueue_trial(params)
    opened.optimize(objective, n_trials=1, catch=(AlreadyInTraining,))


@pytest.fixture
def fake_training(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """Trainings whose validation accuracies are given, one list a training."""
    curves: list[list[float]] = []

    def train(*_: object) -> Iterator[EpochRecord]:
        for number, accuracy in enumerate(curves.pop(0), 1):
            yield epoch(number, accuracy)

    monkeypatch.setattr(objective_module, "train", train)
    return curves


def test_trial_0_trains_the_assignments_design(opened: optuna.Study, objective: Objective) -> None:
    run(opened, objective)
    trial = last(opened)
    assert trial.design == BASELINE
    assert trial.state == "missed"
    assert [e.epoch for e in trial.epochs] == [1, 2]
    assert trial.seed == trial_seed(7, 0, "training")
    assert (trial.engine, trial.device, trial.worker) == ("torch", "cpu", "0")
    assert opened.trials[0].value == trial.epochs[-1].validation_accuracy


def test_the_last_epoch_decides_whether_a_design_passes(
    opened: optuna.Study, objective: Objective, fake_training: list[list[float]]
) -> None:
    fake_training += [[0.9, 0.994], [0.999, 0.9939]]
    run(opened, objective)
    assert last(opened).state == "passed"
    run(opened, objective, SMALL)
    assert last(opened).state == "missed"
    assert opened.trials[-1].value == 0.9939


def test_a_rejected_design_is_pruned_with_its_reasons_and_by_how_much(
    opened: optuna.Study, objective: Objective
) -> None:
    strict = replace(objective, settings=Settings(epochs=2, rules=Rules(parameter_limit=10_000)))
    run(opened, strict)
    trial = opened.trials[-1]
    assert trial.state == TrialState.PRUNED
    assert last(opened).state == "rejected"
    assert last(opened).reason == "parameters: 18,430, must be fewer than 10,000"
    assert last(opened).rejections[0].counted == 18_430
    assert trial.constraints["parameters"] == pytest.approx((18_430 - 9_999) / 9_999)
    assert trial.constraints["structure"] == 0
    assert trial.params.keys() == ASSIGNMENT_PARAMS.keys()


def test_an_accepted_design_is_feasible_to_optuna(
    opened: optuna.Study, objective: Objective, fake_training: list[list[float]]
) -> None:
    fake_training += [[0.9, 0.99]]
    run(opened, objective)
    assert opened.trials[-1].constraints == {"parameters": 0.0, "structure": 0.0}


def test_a_repeat_is_told_its_earlier_value_and_not_trained_again(
    opened: optuna.Study, objective: Objective, fake_training: list[list[float]]
) -> None:
    fake_training += [[0.9, 0.995]]
    run(opened, objective)
    run(opened, objective, ASSIGNMENT_PARAMS)
    assert opened.trials[-1].state == TrialState.COMPLETE
    assert opened.trials[-1].value == 0.995
    trial = last(opened)
    assert (trial.state, trial.repeat_of, trial.reason) == ("repeat", 0, "the same as trial 0")
    assert study.count_trained(opened) == 1


def test_a_repeat_of_a_pruned_design_is_pruned_at_the_same_epoch(
    opened: optuna.Study, objective: Objective, fake_training: list[list[float]]
) -> None:
    fake_training += [[0.95] * 4, [0.1, 0.2, 0.3, 0.4]]
    longer = replace(objective, settings=replace(objective.settings, epochs=4))
    run(opened, longer)
    run(opened, longer, SMALL)
    assert last(opened).state == "pruned"
    assert last(opened).reason == "below the best third after 3 epochs"
    run(opened, longer, SMALL)
    assert last(opened).state == "repeat"
    assert opened.trials[-1].state == TrialState.PRUNED
    assert opened.trials[-1].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}


def test_the_baseline_is_never_pruned(
    opened: optuna.Study, objective: Objective, fake_training: list[list[float]]
) -> None:
    longer = replace(objective, settings=replace(objective.settings, epochs=4))
    fake_training += [[0.9] * 4, [0.1] * 4]
    opened.enqueue_trial(SMALL)
    opened.tell(opened.ask(), state=TrialState.FAIL)  # the queued baseline never ran
    run(opened, longer)
    run(opened, longer, ASSIGNMENT_PARAMS)
    assert last(opened).design == BASELINE
    assert last(opened).state == "missed"


def test_a_diverged_training_is_failed_and_pruned_and_counts(
    opened: optuna.Study, objective: Objective
) -> None:
    recipe = replace(objective.settings.recipe, learning_rate=1e30)
    run(opened, replace(objective, settings=replace(objective.settings, recipe=recipe)))
    assert opened.trials[-1].state == TrialState.PRUNED
    assert last(opened).state == "failed"
    assert last(opened).reason == "diverged: validation loss became nan in epoch 1"
    assert study.count_trained(opened) == 1


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 byte")],
)
def test_running_out_of_memory_is_failed_and_pruned(
    opened: optuna.Study,
    objective: Objective,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    monkeypatch.setattr(objective_module, "train", Mock(side_effect=error))
    run(opened, objective)
    assert last(opened).state == "failed"
    assert last(opened).reason.startswith("out of memory: ")


def test_our_own_bugs_rise(
    opened: optuna.Study, objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective_module, "train", Mock(side_effect=RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        run(opened, objective)


def test_a_design_in_training_elsewhere_is_passed_over(
    opened: optuna.Study, objective: Objective
) -> None:
    elsewhere = opened.ask()  # the queued baseline, on another worker
    record.write_proposal(elsewhere, BASELINE, None)
    run(opened, objective, ASSIGNMENT_PARAMS)
    assert last(opened).state == "repeat"
    assert opened.trials[-1].state == TrialState.FAIL
    assert study.count_trained(opened) == 0
