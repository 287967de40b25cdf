from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from mnist_arch.errors import UserError
from mnist_arch.rules import Rules
from search import record, study
from search.settings import Settings
from search.space import ASSIGNMENT_PARAMS


def reopen(folder: Path, settings: Settings) -> optuna.Study:
    return study.start_study(study.open_storage(study.sqlite_url(folder)), "test", settings)


def test_a_new_study_queues_the_assignments_design_once(tmp_path: Path, settings: Settings) -> None:
    reopen(tmp_path, settings)
    again = reopen(tmp_path, settings)
    waiting = again.get_trials(states=(TrialState.WAITING,))
    assert [trial.system_attrs["fixed_params"] for trial in waiting] == [ASSIGNMENT_PARAMS]


def test_a_study_refuses_other_settings_and_names_them(tmp_path: Path, settings: Settings) -> None:
    reopen(tmp_path, settings)
    other = Settings(seed=7, epochs=3, rules=Rules(strict=True))
    with pytest.raises(UserError) as refusal:
        reopen(tmp_path, other)
    assert str(refusal.value) == (
        "study 'test' was started under other settings: epochs was 2, now 3; rules.strict was "
        "False, now True. Give the settings it was started with, or start another with "
        "--study NAME"
    )


def test_a_trial_whose_worker_is_gone_is_ended_and_proposed_again(opened: optuna.Study) -> None:
    trial = opened.ask()
    trial.set_user_attr("host", study.host_name())
    trial.suggest_int("convs", 4, 6)
    assert study.clear_interrupted(opened) == 1
    assert opened.trials[0].state == TrialState.FAIL
    assert record.state_of(opened.trials[0]) == "interrupted"
    queued = opened.trials[-1]
    assert queued.state == TrialState.WAITING
    assert queued.system_attrs["fixed_params"] == ASSIGNMENT_PARAMS
    assert queued.user_attrs["retry_of"] == 0
    assert study.running_trials(opened) == []


def test_a_trial_on_another_machine_is_left_alone(opened: optuna.Study) -> None:
    opened.ask().set_user_attr("host", "another machine")
    assert study.clear_interrupted(opened) == 0
    assert len(study.running_trials(opened)) == 1


def test_only_the_dead_workers_trials_are_ended(opened: optuna.Study) -> None:
    for worker in ("0", "1"):
        trial = opened.ask()
        trial.set_user_attr("host", study.host_name())
        trial.set_user_attr("worker", worker)
    assert study.clear_interrupted(opened, "1") == 1
    assert [t.user_attrs["worker"] for t in study.running_trials(opened)] == ["0"]


def test_only_trained_trials_count(opened: optuna.Study) -> None:
    for state in record.STATES:
        trial = opened.ask()
        if state == "interrupted":
            opened.tell(trial, state=TrialState.FAIL)
            continue
        record.write_state(trial, state)
        opened.tell(trial, state=TrialState.PRUNED)
    assert study.count_trained(opened) == 4
    assert study.count_states(opened) == dict.fromkeys(record.STATES, 1)


def test_a_trial_that_was_not_told_to_optuna_does_not_count(opened: optuna.Study) -> None:
    record.write_state(opened.ask(), "passed")  # killed between this and the last step
    study.clear_interrupted(opened)
    assert study.count_trained(opened) == 0
    assert study.count_states(opened)["interrupted"] == 1


def test_a_queued_trial_goes_to_one_worker_only(tmp_path: Path, settings: Settings) -> None:
    opened = reopen(tmp_path, settings)
    for width in range(4, 16):
        opened.enqueue_trial({"width_1": width})

    def ask(_: int) -> int:
        storage = study.open_storage(study.sqlite_url(tmp_path))
        return study.load_study(storage, "test", settings).ask().number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(ask, range(13)))
    assert sorted(numbers) == list(range(13))


def test_without_pruning_nothing_is_stopped(tmp_path: Path) -> None:
    opened = reopen(tmp_path, Settings(pruning=False))
    for accuracy in (0.99, 0.1):
        trial = opened.ask()
        for step in range(1, 19):
            trial.report(accuracy, step)
            assert not trial.should_prune()
        opened.tell(trial, accuracy)


def test_halving_keeps_the_best_third_after_three_epochs(opened: optuna.Study) -> None:
    opened.tell(opened.ask(), state=TrialState.FAIL)
    kept = []
    for accuracy in (0.95, 0.96, 0.97, 0.90, 0.98):
        trial = opened.ask()
        for step in (1, 2, 3):
            trial.report(accuracy, step)
        kept.append(not trial.should_prune())
        opened.tell(trial, state=TrialState.PRUNED)
    assert kept == [True, True, True, False, True]
