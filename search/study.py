"""Study: storage, sampler and pruner of a search; starting, continuing and counting it."""

from __future__ import annotations

import platform
import warnings
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
import sqlalchemy.event
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from mnist_arch.errors import UserError
from search import record
from search.sampler import SeededSampler
from search.settings import Settings, differences

FIRST_RUNG_EPOCHS = 3
REDUCTION_FACTOR = 3
"""Successive halving: after 3 and after 9 epochs the best third goes on.

A first rung of 2 would put the third one at 18 of 19 epochs, where stopping saves nothing.
"""

HEARTBEAT_SECONDS = 30
LOCK_TIMEOUT_SECONDS = 600
"""How long a worker waits for a locked database before it gives up."""


def sqlite_url(directory: Path) -> str:
    """The storage URL of a study that lives in a directory."""
    return f"sqlite:///{directory.resolve() / 'study.db'}"


def open_storage(url: str) -> RDBStorage:
    """Open a study's storage.

    A trial whose worker sends no heartbeat for four intervals is dead: Optuna marks it failed
    and its parameters are proposed again.
    """
    connect = {"timeout": LOCK_TIMEOUT_SECONDS} if url.startswith("sqlite") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats
        storage = RDBStorage(
            url,
            engine_kwargs={"connect_args": connect},
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=4 * HEARTBEAT_SECONDS,
            heartbeat_stale_trial_callback=_propose_again,
        )
    if url.startswith("sqlite"):
        _serialise(storage)
    return storage


def _serialise(storage: RDBStorage) -> None:
    """Make each SQLite transaction take the write lock at its start.

    SQLite has no row locks: without this, two workers that look for a queued trial at the same
    moment both get it. By SQLAlchemy's documentation of its SQLite dialect, "Serializable
    isolation / Savepoints / Transactional DDL".
    """

    def leave_begin_to_us(connection: Any, _: object) -> None:
        connection.isolation_level = None

    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sqlalchemy.event.listen(storage.engine, "connect", leave_begin_to_us)
    sqlalchemy.event.listen(storage.engine, "begin", begin)
    storage.engine.dispose()  # connections made before know nothing of this


def load_study(storage: RDBStorage, name: str, settings: Settings) -> optuna.Study:
    """Load a study that was started before, with the sampler and pruner of its settings."""
    return optuna.load_study(
        study_name=name,
        storage=storage,
        sampler=SeededSampler(settings.seed),
        pruner=pruner(settings.pruning),
    )


def start_study(storage: RDBStorage, name: str, settings: Settings) -> optuna.Study:
    """Start a study, or continue one that was started under the same settings.

    Raises `UserError` naming every setting that differs from those it was started with.
    """
    study = optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True,
        sampler=SeededSampler(settings.seed), pruner=pruner(settings.pruning),
    )  # fmt: skip
    before = study.user_attrs.get("settings")
    if before is None:
        study.set_user_attr("settings", settings.to_dict())
        study.enqueue_trial(settings.space.first_params())
        return study
    changed = differences(before, settings.to_dict())
    if changed:
        raise UserError(
            f"study {name!r} was started under other settings: {'; '.join(changed)}. "
            "Give the settings it was started with, or start another with --study NAME"
        )
    return study


def pruner(pruning: bool) -> BasePruner:
    """Asynchronous successive halving (Li et al., arXiv:1810.05934) on validation accuracy.

    `python -m benchmarks.pruners` compares it with others on whole learning curves. Without
    `pruning`, nothing is stopped early.
    """
    if not pruning:
        return NopPruner()
    return SuccessiveHalvingPruner(
        min_resource=FIRST_RUNG_EPOCHS, reduction_factor=REDUCTION_FACTOR
    )


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """All trials that have ended, in order of their numbers."""
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    return study.get_trials(deepcopy=False, states=states)


def records(study: optuna.Study) -> list[record.TrialRecord]:
    """The records of all trials that have ended, in order of their numbers."""
    return [record.read(trial) for trial in finished_trials(study)]


def running_trials(study: optuna.Study) -> list[FrozenTrial]:
    """All trials that run now, in order of their numbers."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def count_states(study: optuna.Study) -> dict[str, int]:
    """How many finished trials are in each of `record.STATES`."""
    counts = dict.fromkeys(record.STATES, 0)
    for trial in finished_trials(study):
        counts[record.state_of(trial)] += 1
    return counts


def count_trained(study: optuna.Study) -> int:
    """How many designs the study has trained."""
    counts = count_states(study)
    return sum(counts[state] for state in record.TRAINED)


def host_name() -> str:
    """This machine's name: workers note it, so that a restart knows its own dead trials."""
    return platform.node()


def clear_interrupted(study: optuna.Study, worker: str | None = None) -> int:
    """End the running trials of this machine, whose workers are gone, and propose them again.

    Call it only while no worker of the study runs on this machine; or, with `worker`, for the
    trials of one that is dead. Returns how many there were.
    """
    here = host_name()
    left = [
        trial
        for trial in running_trials(study)
        if trial.user_attrs.get("host", here) == here
        and (worker is None or trial.user_attrs.get("worker", worker) == worker)
    ]
    for trial in left:
        study.tell(trial.number, state=TrialState.FAIL)
        _propose_again(study, trial)
    return len(left)


def _propose_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a dead trial's parameters, so that its design is trained after all."""
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    study.enqueue_trial(params, user_attrs={"retry_of": trial.number})
