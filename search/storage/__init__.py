"""Storage: where studies live, by names and URLs, and opening them there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
import sqlalchemy.event
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from mnist_arch.errors import MachineError, UserError
from search.files import DATABASE
from search.storage.gathering import GatheringStorage

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


SERVER = "postgresql+psycopg"
"""How the URL of a database server starts."""


_PASSWORD = re.compile(r"://[^?]*:[^?]*@|password=", re.IGNORECASE)


def storage_url(storage: str, folder: Path) -> str:
    """The URL of a study's database, by a name in `STORAGES`, a server's URL or `env:NAME`.

    `env:NAME` takes the URL from the environment, where it may hold a password. Raises `UserError`
    for any other, without repeating what may be secret.
    """
    if storage in STORAGES:
        return STORAGES[storage](folder)
    if _PASSWORD.search(storage):
        raise UserError(
            "--storage: the URL holds a password, which the list of processes and study.json would "
            "show; put the URL into an environment variable and give --storage env:NAME"
        )
    if storage.startswith("env:"):
        name = storage.removeprefix("env:")
        if not os.environ.get(name):
            raise UserError(f"--storage {storage}: the environment has no {name or 'such name'}")
        return _server_url(os.environ[name], storage)
    return _server_url(storage, "URL")


def _server_url(text: str, given: str) -> str:
    known = f"{', '.join(STORAGES)}, {SERVER}://HOST/DATABASE or env:NAME"
    text = re.sub("^postgres(ql)?://", f"{SERVER}://", text)
    if not text.startswith(f"{SERVER}://"):
        shown = text if "://" not in text and given == "URL" else given
        raise UserError(f"--storage {shown}: must be one of {known}")
    try:
        url = sqlalchemy.make_url(text)
    except (ArgumentError, ValueError):
        raise UserError(
            f"--storage {given}: cannot be read as {SERVER}://USER:PASSWORD@HOST:PORT/DATABASE; "
            "in a password write %40 for @, %2F for /, %3A for :"
        ) from None
    return url.render_as_string(hide_password=False)


def is_on_server(url: str) -> bool:
    """Whether a database may have other drivers than this machine's: it is no file in a folder."""
    return not url.startswith("sqlite")


def place_of(url: str) -> str:
    """Where a database is, in words: its file, or its server without user and password."""
    where = sqlalchemy.make_url(url)
    if not is_on_server(url):
        return str(where.database)
    return f"{where.database or ''} on {where.host or 'this machine'}" + (
        f":{where.port}" if where.port else ""
    )


def is_there(url: str, study: str) -> bool:
    """Whether a database holds a study already; makes no file."""
    if not is_on_server(url):
        where = sqlalchemy.make_url(url)
        return where.database is not None and Path(where.database).is_file()
    with opened_storage(url) as storage:
        return study in optuna.get_all_study_names(storage)


@contextmanager
def opened_storage(url: str) -> Iterator[GatheringStorage]:
    """Open a storage by its URL and close its connections at the end.

    Raises `MachineError` for a database that cannot be used, in this block or in opening it.
    """
    with storage_faults_told(url):
        storage = _open(url)
        try:
            yield storage
        finally:
            storage.engine.dispose()


def _open(url: str) -> GatheringStorage:
    if not is_on_server(url):
        options: dict[str, Any] = {"connect_args": {"timeout": LOCK_TIMEOUT_SECONDS}}
        storage = GatheringStorage(_escaped(url), options)
        _serialise(storage)
        return storage
    options = {"pool_pre_ping": True, "connect_args": SERVER_OPTIONS}
    try:
        engine = sqlalchemy.create_engine(url, **options)
    except ImportError:
        raise UserError(
            "--storage on PostgreSQL needs psycopg: pip install 'mnist-arch[cluster]'"
        ) from None
    with engine.begin() as connection:  # one driver at a time makes the tables
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(6061)"))
        storage = GatheringStorage(_escaped(url), options)
    engine.dispose()
    return storage


def _escaped(url: str) -> str:
    """Optuna takes a URL for a template; a brace in a folder's name or a password is none."""
    return url.replace("{", "{{").replace("}", "}}")


SERVER_OPTIONS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "options": "-c timezone=UTC -c idle_in_transaction_session_timeout=60000 "
    "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3",
}
"""Both sides notice within a minute when the other is gone, and no lock outlives its driver."""


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
    """Turn a database that cannot be used into one message, without its user or password."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise MachineError(
            f"the study's database {place_of(url)} cannot be used ({_detail(error, url)}); "
            "finished trials in it are kept. Free some disk space, mend the database or wait for "
            "its server, then run the same command again"
        ) from None


def _detail(error: BaseException, url: str) -> str:
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    original = getattr(cause or error, "orig", None) or cause or error
    text = " ".join(line.strip() for line in str(original).splitlines() if line.strip())
    password = sqlalchemy.make_url(url).password
    return text.replace(str(password), "***") if password else text
