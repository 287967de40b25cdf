"""Drivers of a study that has just been started, for tests of several at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from search.config import StudyConfig
from search.samplers import make_sampler
from search.space import Space
from search.storage import opened_storage
from search.storage.driver import Driver
from search.storage.starting import start_study

CONFIG = StudyConfig(seed=7, epochs=2, goal="accuracy", sampler="tpe", schedule="halving")


@contextmanager
def driver(url: str, config: StudyConfig = CONFIG) -> Iterator[Driver]:
    """A driver of the study `test` in a database, with a storage of its own."""
    with opened_storage(url) as opened:
        yield Driver(start(opened, config), opened)


def start(
    opened: RDBStorage,
    config: StudyConfig = CONFIG,
    name: str = "test",
    earlier: Mapping[str, Any] | None = None,
) -> optuna.Study:
    """Start a study, or go on with it."""
    sampler, first = make_sampler("tpe", config.seed), [Space().first_params()]
    return start_study(opened, name, config, ("maximize",), sampler, first, earlier)


def states(of: Driver) -> list[TrialState]:
    """The states of all trials, as they are stored now."""
    return [trial.state for trial in of.study.get_trials()]
