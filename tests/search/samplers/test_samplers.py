from __future__ import annotations

import optuna
import pytest
from optuna.samplers import TPESampler

from mnist_arch.errors import UserError
from search.samplers import STARTUP_TRIALS, make_sampler
from search.seeds import trial_seed
from search.space import Space


def proposals(seed: int, count: int, name: str = "tpe") -> list[str]:
    """Fingerprints of a study's first proposals, each told a value that follows from it."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler(name, seed))
    found = []
    for _ in range(count):
        trial = study.ask()
        design = Space().suggest_design(trial)
        found.append(design.fingerprint)
        study.tell(trial, int(design.fingerprint, 16) / 16**12)
    return found


@pytest.mark.parametrize("name", ["mutation", "tpe", "nsga2", "random"])
def test_equal_seeds_propose_equally_and_others_otherwise(name: str) -> None:
    first = proposals(7, STARTUP_TRIALS + 4, name)
    assert proposals(7, STARTUP_TRIALS + 4, name) == first
    assert proposals(8, STARTUP_TRIALS + 4, name) != first
    assert len(set(first)) == len(first)


def test_a_proposal_is_that_of_a_fresh_tpe_with_the_trials_seed() -> None:
    study = optuna.create_study(direction="maximize", sampler=make_sampler("tpe", 7))
    for number in range(STARTUP_TRIALS + 3):
        fresh = TPESampler(seed=trial_seed(7, number, "sampling"), n_startup_trials=STARTUP_TRIALS)
        oracle = optuna.create_study(direction="maximize", sampler=fresh)
        oracle.add_trials(study.get_trials())
        expected = Space().suggest_design(oracle.ask())
        trial = study.ask()
        assert Space().suggest_design(trial) == expected
        study.tell(trial, number / 100)


def test_an_unknown_sampler_is_a_mistake() -> None:
    with pytest.raises(UserError, match="--sampler gp3: must be one of mutation, tpe"):
        make_sampler("gp3", 0)
