from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from mnist_arch.errors import MachineError, UserError
from search import storage
from search.storage import opened_storage, sqlite_url, storage_url
from tests.search.drivers import driver

if TYPE_CHECKING:
    from benchmarks.postgres import Server


@pytest.mark.parametrize(
    "name",
    ["plain", "a?b", "a#b", "50% off", "[bold]", "mnist & co", "{curly}", "{SCHEMA_VERSION}"],
)
def test_a_folder_of_any_name_holds_its_own_database(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    with driver(sqlite_url(folder)):
        pass
    assert [path.name for path in folder.iterdir()] == ["study.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_storage_is_a_name_a_servers_url_or_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql+psycopg://me@machine:5433/db"
    assert storage_url("sqlite", tmp_path) == sqlite_url(tmp_path)
    assert storage_url(url, tmp_path) == url
    assert storage_url("postgresql://me@machine:5433/db", tmp_path) == url
    assert storage_url("postgres://me@machine:5433/db", tmp_path) == url
    monkeypatch.setenv("PLACE", "postgresql://me:pass%40word@machine/db?sslmode=require")
    assert storage_url("env:PLACE", tmp_path) == (
        "postgresql+psycopg://me:pass%40word@machine/db?sslmode=require"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "mongo",
            r"--storage mongo: must be one of sqlite, postgresql\+psycopg://HOST/DATABASE or",
        ),
        ("mysql://host/db", r"^--storage URL: must be one of sqlite, postgresql"),
        ("env:NOWHERE_AT_ALL", r"--storage env:NOWHERE_AT_ALL: the environment has no NOWHERE_AT"),
        ("env:", "--storage env:: the environment has no such name"),
        (
            "postgresql://host:port/db",
            r"--storage URL: cannot be read as postgresql\+psycopg://USER:",
        ),
    ],
)
def test_another_storage_is_a_mistake(tmp_path: Path, given: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        storage_url(given, tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:secret@host/db",
        "postgresql+psycopg://me:sec/ret@host/db",
        "postgresql+psycopg://me:sec@ret@host/db",
        "postgresql+psycopg://host/db?password=secret",
        "postgresql+psycopg://host/db?user=me&PASSWORD=secret",
        "mysql://me:secret@host/db",
    ],
)
def test_a_password_on_the_command_line_is_refused_and_not_repeated(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(UserError, match=r"holds a password.*give --storage env:NAME") as refusal:
        storage_url(url, tmp_path)
    assert "sec" not in str(refusal.value)


@pytest.mark.parametrize("url", ["mysql://me:secret@host/db", "postgresql://me:secret@host:x/db"])
def test_a_password_in_the_environment_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("PLACE", url)
    with pytest.raises(UserError, match="--storage env:PLACE: ") as refusal:
        storage_url("env:PLACE", tmp_path)
    assert "secret" not in str(refusal.value)


def test_a_database_is_named_without_user_and_password() -> None:
    assert storage.place_of("sqlite:////a/study.db") == "/a/study.db"
    assert storage.place_of("postgresql+psycopg://me:secret@host:5433/db") == "db on host:5433"
    assert storage.place_of("postgresql+psycopg:///db") == "db on this machine"


def test_a_damaged_database_is_the_machines_fault_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database" * 100)
    with (
        pytest.raises(MachineError, match=r"study.db cannot be used \(.*not a database\)"),
        driver(sqlite_url(tmp_path)),
    ):
        pass


def test_no_password_is_told() -> None:
    url = "postgresql+psycopg://user:secret@127.0.0.1:1/none"
    with pytest.raises(MachineError) as fault, storage.storage_faults_told(url):
        raise optuna.exceptions.StorageInternalError("refused") from OperationalError(
            "SELECT 1", {}, Exception("no secret here")
        )
    assert str(fault.value).startswith(
        "the study's database none on 127.0.0.1:1 cannot be used (no *** here); finished"
    )


def test_a_server_that_is_not_there_is_told_at_once_without_the_password() -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    url = "postgresql+psycopg://user:secret@127.0.0.1:1/none"
    with (
        pytest.raises(
            MachineError, match=r"none on 127.0.0.1:1 cannot be used \(.*refused"
        ) as fault,
        opened_storage(url),
    ):
        pass
    assert "secret" not in str(fault.value)


def test_a_wrong_password_is_told_without_it(postgres: Server) -> None:
    with (
        pytest.raises(MachineError, match="password authentication failed") as fault,
        opened_storage(postgres.url(password="wrong%3Asecret")),
    ):
        pass
    assert "secret" not in str(fault.value)


def test_a_study_on_a_server_is_there_by_its_name(postgres: Server) -> None:
    url = postgres.fresh()
    assert not storage.is_there(url, "test")
    with driver(url):
        pass
    assert storage.is_there(url, "test")
    assert not storage.is_there(url, "another")
