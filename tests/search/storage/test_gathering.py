from __future__ import annotations

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from search.storage import opened_storage
from tests.search.drivers import driver


def suggest(trial: optuna.Trial) -> None:
    """One parameter of each kind."""
    trial.suggest_int("width", 4, 32, log=True)
    trial.suggest_float("size", 1_500, 20_000, log=True)
    trial.suggest_float("rate", 0.01, 0.1, step=0.01)
    trial.suggest_categorical("kind", ("conv", "separable"))
    trial.suggest_categorical("sum", (False, True))


def test_what_is_gathered_is_stored_as_optuna_would_have_stored_it(url: str) -> None:
    with driver(url) as each:
        told = {"text": "ä", "numbers": [1, 0.5, None], "yes": True}
        one, other = each.ask(), each.ask()
        with each.gathered():
            suggest(one)
            for key, value in told.items():
                one.set_user_attr(key, value)
        for name, distribution in one.distributions.items():
            other._suggest(name, distribution)
        stored, by_optuna = each.look(0), each.look(1)
        assert stored.params == one.params
        assert list(stored.params) == list(by_optuna.params)
        assert stored.distributions == by_optuna.distributions
        assert {key: stored.user_attrs[key] for key in told} == told


def test_constraints_are_gathered_too(url: str) -> None:
    with driver(url) as each:
        one, other = each.ask(), each.ask()
        other.set_constraint("parameters", 0.5)
        other.set_constraint("epochs", -1.0)
        with each.gathered():
            one.set_constraint("parameters", 0.5)
            one.set_constraint("epochs", -1.0)
            assert each.look(0).constraints == {}
        assert each.look(0).constraints == each.look(1).constraints
        assert each.look(0).constraints == {"parameters": 0.5, "epochs": -1.0}


def test_nothing_is_stored_before_the_end_and_all_of_it_then(url: str) -> None:
    with driver(url) as each, opened_storage(url) as seen:
        trial = each.ask()
        with each.gathered():
            trial.suggest_float("x", 0, 1)
            with each.gathered():
                trial.set_user_attr("inner", 1)
            trial.set_user_attr("state", "missed")
            trial.set_user_attr("state", "passed")
            assert seen.get_trial(trial._trial_id).params == {}
            assert "inner" not in seen.get_trial(trial._trial_id).user_attrs
        there = seen.get_trial(trial._trial_id)
        assert there.params == trial.params
        assert (there.user_attrs["inner"], there.user_attrs["state"]) == (1, "passed")


def test_a_block_that_raises_stores_nothing(url: str) -> None:
    with driver(url) as each:
        trial = each.ask()

        def interrupted() -> None:
            with each.gathered():
                trial.suggest_float("x", 0, 1)
                trial.set_user_attr("state", "passed")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert each.look(0).params == {}
        assert "state" not in each.look(0).user_attrs
        trial.set_user_attr("state", "missed")
        assert each.look(0).user_attrs["state"] == "missed"


def test_a_trial_that_has_ended_is_left_as_it_is(url: str) -> None:
    with driver(url) as each:
        trial = each.ask()
        assert each.tell(trial, TrialState.COMPLETE, (0.5,))
        with pytest.raises(UpdateFinishedTrialError, match="trial 1 has ended"), each.gathered():
            trial.set_user_attr("state", "passed")
        assert "state" not in each.look(0).user_attrs
