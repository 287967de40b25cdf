"""Storage: the only code on Optuna's storage: where a study lives, who may use it, taking back.

A driver is one process that asks a study for trials and tells it their results. It claims each
trial under its own name and sends heartbeats for it, so that others can take back what it leaves
behind when it dies.
"""

from __future__ import annotations

import os
import platform
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
import sqlalchemy.event
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from mnist_arch.errors import MachineError, UserError
from search.config import StudyConfig
from search.goals import Direction

DATABASE = "study.db"

HEARTBEAT_SECONDS = 30
GRACE_SECONDS = 4 * HEARTBEAT_SECONDS
"""A trial without a heartbeat for so long has lost its driver."""

LOCK_TIMEOUT_SECONDS = 600
"""How long a driver waits for a locked database before it gives up."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


def sqlite_url(folder: Path) -> str:
    """The URL of the database in a study's folder, whatever characters its path has."""
    place = str(folder.resolve() / DATABASE)
    return sqlalchemy.URL.create("sqlite", database=place).render_as_string()


STORAGES: dict[str, Callable[[Path], str]] = {"sqlite": sqlite_url}
"""Storages by name: a study's folder -> the URL of its database. Yours: one entry."""


def storage_url(name: str, folder: Path) -> str:
    """The URL of a study's database; raises `UserError` for an unknown storage."""
    if name not in STORAGES:
        raise UserError(f"--storage {name}: must be one of {', '.join(STORAGES)}")
    return STORAGES[name](folder)


def is_there(url: str, study: str) -> bool:
    """Whether a database holds a study already; makes no file."""
    where = sqlalchemy.make_url(url)
    if where.drivername.startswith("sqlite"):
        return where.database is not None and Path(where.database).is_file()
    with opened_storage(url) as storage:
        return study in optuna.get_all_study_names(storage)


@contextmanager
def opened_storage(url: str) -> Iterator[RDBStorage]:
    """Open a storage by its URL and close its connections at the end.

    Raises `MachineError` for a database that cannot be used, in this block or in opening it.
    """
    with storage_faults_told(url):
        storage = _open(url)
        try:
            yield storage
        finally:
            storage.engine.dispose()


def _open(url: str) -> RDBStorage:
    local = url.startswith("sqlite")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats
        storage = RDBStorage(
            url,
            engine_kwargs={"connect_args": {"timeout": LOCK_TIMEOUT_SECONDS}} if local else {},
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            heartbeat_stale_trial_callback=_propose_again,
        )
    if local:
        _serialise(storage)
    return storage


def _serialise(storage: RDBStorage) -> None:
    """Make each SQLite transaction take the write lock at its start.

    SQLite has no row locks: without this, two drivers that look for a queued trial at the same
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


@contextmanager
def storage_faults_told(url: str) -> Iterator[None]:
    """Turn a database that cannot be used into one message, without its address or password."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        where = sqlalchemy.make_url(url)
        place = where.database if where.drivername.startswith("sqlite") else where.drivername
        detail = str(error.__cause__ or error).splitlines()[0].strip()
        raise MachineError(
            f"the study's database {place} cannot be used ({detail}); finished trials in it are "
            "kept. Free some disk space or mend the database, then run the same command again"
        ) from None


def start_study(
    storage: RDBStorage,
    name: str,
    config: StudyConfig,
    directions: tuple[Direction, ...],
    sampler: BaseSampler,
    first_proposal: dict[str, Any],
) -> optuna.Study:
    """Start a study, or continue one that was started under the same choices.

    A new study has one proposal in its queue. Raises `UserError` naming every choice that differs
    from those that it was started with.
    """
    study = optuna.create_study(
        storage=storage, study_name=name, directions=list(directions), load_if_exists=True,
        sampler=sampler,
    )  # fmt: skip
    before = study.user_attrs.get("settings")
    if before is None:
        study.set_user_attr("id", config.identity(name))
        study.set_user_attr("settings", {**config.to_dict(), **_foundations()})
    else:
        _require_same(name, before, config)
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(first_proposal)  # after a kill in between, too
    return study


def _foundations() -> dict[str, Any]:
    """What a study stands on besides its choices: the versions of the space and of the data."""
    from mnist_arch.data import MD5_SUMS, SPLIT_SEED
    from search.space import VERSION

    data = MD5_SUMS["train-images-idx3-ubyte"]
    return {"space_version": VERSION, "split_seed": SPLIT_SEED, "data_md5": data}


def _require_same(name: str, before: dict[str, Any], config: StudyConfig) -> None:
    changed = StudyConfig.from_dict(before).differences(config)
    changed += [
        f"{key} was {before[key]!r}, now {value!r}"
        for key, value in _foundations().items()
        if before.get(key, value) != value
    ]
    if changed:
        raise UserError(
            f"study {name!r} was started under other settings: {'; '.join(changed)}. Give the "
            "settings it was started with, or start another with --study NAME"
        )


def load_only_study(storage: RDBStorage, place: object) -> tuple[optuna.Study, StudyConfig]:
    """The one study of a storage, with its choices; raises `UserError` where it is not ours."""
    names = optuna.get_all_study_names(storage)
    if len(names) != 1:
        raise UserError(
            f"{place} must hold one study, it holds {len(names)}; search in a folder of its own: "
            "python -m search.run --study NAME"
        )
    study = optuna.load_study(study_name=names[0], storage=storage)
    values = study.user_attrs.get("settings")
    if values is None:
        raise UserError(
            f"study {names[0]!r} was not started by python -m search.run: it has no settings to "
            "train finalists with"
        )
    return study, StudyConfig.from_dict(values)


def identity_of(study: optuna.Study) -> str:
    """What tells this study's files from another's; earlier versions did not store it."""
    stored = study.user_attrs.get("id")
    if stored is None:
        config = StudyConfig.from_dict(study.user_attrs["settings"])
        stored = config.identity(study.study_name)
        study.set_user_attr("id", stored)
    return str(stored)


def _name() -> str:
    return f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True, slots=True)
class Driver:
    """Asks a study for trials and tells their results, under a name of its own."""

    study: optuna.Study
    storage: RDBStorage
    name: str = field(default_factory=_name)

    def ask(self) -> optuna.Trial:
        """The next trial, claimed by this driver: a queued or taken back one, or a new one."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Heartbeat of storage is supposed", UserWarning)
            trial = self.study.ask()
        self.beat([trial.number])
        trial.set_user_attr("driver", self.name)
        return trial

    def tell(
        self, trial: optuna.Trial, state: TrialState, values: tuple[float, ...] | None = None
    ) -> bool:
        """Tell a trial's end; False if another driver has taken it back in the meantime."""
        there = self.look(trial.number)
        if there.state != TrialState.RUNNING or there.user_attrs.get("driver") != self.name:
            return False
        try:
            self.study.tell(trial, values, state=state)
        except UpdateFinishedTrialError:
            return False
        return True

    def look(self, number: int) -> FrozenTrial:
        """A trial as it is stored now."""
        return self.storage.get_trial(self._id(number))

    def claimed_before(self, trial: optuna.Trial, identity: str) -> FrozenTrial | None:
        """The earlier trial of another driver that has the same design in training, if any."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return next(
            (
                other
                for other in running
                if other.number < trial.number and other.user_attrs.get("identity") == identity
            ),
            None,
        )

    def beat(self, numbers: list[int]) -> None:
        """Send a heartbeat for the trials of these numbers."""
        for number in numbers:
            self.storage.record_heartbeat(self._id(number))

    def release(self, numbers: list[int]) -> None:
        """Put running trials back into the queue: whoever asks next gets them as they are."""
        for number in numbers:
            self.storage.set_trial_state_values(self._id(number), state=TrialState.WAITING)

    def take_back_all(self) -> int:
        """Put all running trials back into the queue; only while no other driver is at work."""
        left = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        self.release([trial.number for trial in left])
        return len(left)

    def take_back_stale(self) -> None:
        """End the trials of drivers whose heartbeat has stopped, and queue their proposals."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            fail_stale_trials(self.study)

    def _id(self, number: int) -> int:
        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        return self.storage.get_trial_id_from_study_id_trial_number(study_id, number)


def _propose_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a dead driver's proposal; its seeds stay those of the trial that it was."""
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    study.enqueue_trial(params, user_attrs={"retry_of": seed_number(trial)})


def seed_number(trial: FrozenTrial | optuna.Trial) -> int:
    """The number from which a trial's seeds follow: its own, or that of the trial it retries."""
    return int(trial.user_attrs.get("retry_of", trial.number))
