"""What all tests share: databases that need not outlive a power cut."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import sqlalchemy.event
from hypothesis import settings
from sqlalchemy.engine import Engine

if TYPE_CHECKING:
    from benchmarks.postgres import Server

settings.register_profile("patient", deadline=None)  # a busy machine makes no test fail
settings.load_profile("patient")


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk() -> Iterator[None]:
    """SQLite does not wait for the disk after each transaction of a test."""

    def relax(connection: object, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(Engine, "connect", relax)
    yield
    sqlalchemy.event.remove(Engine, "connect", relax)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A real PostgreSQL; tests that need one are skipped where it is not installed."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    from benchmarks.postgres import programs, server

    binaries = programs()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    with server(binaries) as running:
        yield running
