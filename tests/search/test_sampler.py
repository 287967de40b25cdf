from __future__ import annotations

from typing import Any

import optuna

from search.sampler import STARTUP_TRIALS, SeededSampler
from search.space import Space


def propose(study: optuna.Study, count: int) -> list[dict[str, Any]]:
    """Ask for proposals and reward narrow ones."""
    proposals = []
    for _ in range(count):
        trial = study.ask()
        Space().suggest_design(trial)
        proposals.append(trial.params)
        study.tell(trial, -float(trial.params["width_2"]))
    return proposals


def new_study(seed: int) -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=SeededSampler(seed))


def test_the_same_seed_repeats_and_another_differs() -> None:
    count = STARTUP_TRIALS + 5
    assert propose(new_study(1), count) == propose(new_study(1), count)
    assert propose(new_study(1), 3) != propose(new_study(2), 3)


def test_a_study_goes_on_as_if_it_had_not_been_interrupted() -> None:
    count = STARTUP_TRIALS + 5
    whole = propose(new_study(1), count)
    study = new_study(1)
    first = propose(study, STARTUP_TRIALS - 3)
    study.sampler = SeededSampler(1)  # what a new process makes
    assert first + propose(study, count - len(first)) == whole


def test_it_learns_once_it_has_something_to_learn_from() -> None:
    proposals = propose(new_study(0), 60)
    widths = [params["width_2"] for params in proposals]
    assert sum(widths[-20:]) / 20 < sum(widths[:STARTUP_TRIALS]) / STARTUP_TRIALS
