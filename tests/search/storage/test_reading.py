from __future__ import annotations

import math
from collections.abc import Iterator

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from search.storage import opened_storage, reading
from search.storage.gathering import GatheringStorage


@pytest.fixture
def study(url: str) -> Iterator[optuna.Study]:
    """A study with a trial of each state, and all that a trial may hold."""
    with opened_storage(url) as storage:
        made = optuna.create_study(storage=storage, directions=("maximize", "minimize"))
        made.enqueue_trial({"width": 8}, user_attrs={"from_trial": 3})
        trials = [made.ask() for _ in range(5)]
        for trial in trials:
            trial.suggest_int("width", 4, 32, log=True)
            trial.suggest_float("rate", 0.01, 0.1, step=0.01)
            trial.suggest_categorical("kind", ("conv", None, 0.5, True))
            trial.set_user_attr("text", "ä")
            trial.set_user_attr("text", {"numbers": [1, 0.5, None]})
            trial.set_constraint("limit", 0.5)
        made.tell(trials[0], (math.inf, -0.5))
        made.tell(trials[1], state=TrialState.PRUNED)
        made.tell(trials[2], state=TrialState.FAIL)
        made.enqueue_trial({"width": 16})
        yield made


def storage_of(study: optuna.Study) -> GatheringStorage:
    """The storage behind Optuna's cache."""
    found = study._storage._backend  # type: ignore[attr-defined]
    assert isinstance(found, GatheringStorage)
    return found


def test_a_trial_is_read_as_optuna_reads_it(study: optuna.Study) -> None:
    storage = storage_of(study)
    numbers = {trial.number for trial in study.get_trials()}
    assert numbers == set(range(6))
    for trial in study.get_trials():
        by_optuna = RDBStorage.get_trial(storage, trial._trial_id)
        ours = storage.get_trial(trial._trial_id)
        assert ours == by_optuna
        assert list(ours.params) == list(by_optuna.params)
        assert {type(value) for value in ours.params.values()} == {
            type(value) for value in by_optuna.params.values()
        }


def test_intermediate_values_are_read_as_optuna_reads_them(url: str) -> None:
    with opened_storage(url) as storage:
        study = optuna.create_study(storage=storage)
        trial = study.ask()
        for step, value in enumerate((0.1, math.nan, math.inf, -math.inf)):
            trial.report(value, step)
        read = (RDBStorage.get_trial, GatheringStorage.get_trial)
        by_optuna, ours = (repr(each(storage, trial._trial_id)) for each in read)
        assert ours == by_optuna  # NaN equals nothing, but its text does
        assert "nan" in ours


@pytest.mark.parametrize(
    ("states", "included", "after"),
    [
        (None, (), None),
        (None, (1, 4), 2),
        (None, (), 2),
        ((TrialState.WAITING,), (), None),
        ((TrialState.RUNNING, TrialState.PRUNED), (0, 1), 3),
    ],
)
def test_trials_are_chosen_as_optuna_chooses_them(
    study: optuna.Study,
    states: tuple[TrialState, ...] | None,
    included: tuple[int, ...],
    after: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage, ids = storage_of(study), [trial._trial_id for trial in study.get_trials()]
    wanted = {ids[number] for number in included}
    last = -1 if after is None else ids[after]
    choice = (study._study_id, states, wanted, last)
    by_optuna = RDBStorage._get_trials(storage, *choice)
    assert by_optuna
    for few in (100, 0):  # by the ids of few trials, or by a range of many
        monkeypatch.setattr(reading, "FEW", few)
        assert storage._get_trials(*choice) == by_optuna


def test_trials_of_another_study_are_not_read(study: optuna.Study) -> None:
    storage = storage_of(study)
    other = optuna.create_study(storage=storage, study_name="other")
    other.ask({"x": FloatDistribution(0, 1)})
    assert [trial.params.keys() for trial in other.get_trials()] == [{"x"}]
    assert len(study.get_trials()) == 6


def test_what_is_not_there_is_a_key_error(study: optuna.Study) -> None:
    storage = storage_of(study)
    with pytest.raises(KeyError, match="no trial with the id 12345"):
        storage.get_trial(12345)
    with pytest.raises(KeyError):
        storage._get_trials(12345, None, set(), -1)
