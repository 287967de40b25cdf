from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError, ProgrammingError

from search.storage import driver as driver_module
from search.storage import opened_storage
from search.storage.patience import STEPS, PatientStorage, is_away
from tests.search.drivers import driver, states

if TYPE_CHECKING:
    from benchmarks.postgres import Server


CUT_ALL = sqlalchemy.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
)


def fault(kind: type[Exception] = OperationalError) -> Exception:
    return kind("SELECT 1", {}, Exception("gone"))


def test_every_step_is_optunas_own() -> None:
    for name in STEPS:
        assert callable(getattr(RDBStorage, name))
        assert getattr(PatientStorage, name) is not getattr(RDBStorage, name)


def test_a_lost_server_is_away_and_a_bad_statement_is_a_fault() -> None:
    wrapped = StorageInternalError("commit")
    wrapped.__cause__ = fault()
    assert is_away(fault())
    assert is_away(wrapped)
    assert not is_away(fault(ProgrammingError))
    assert not is_away(StorageInternalError("other"))


def test_a_restart_in_mid_run_is_ridden_out(postgres: Server) -> None:
    said: list[str] = []
    with driver(postgres.fresh()) as only:
        only.storage.say = said.append
        trial = only.ask()
        postgres.stop()
        threading.Timer(1.0, postgres.start).start()
        trial.report(0.5, 1)
        assert only.tell(trial, TrialState.COMPLETE, (0.5,))
        assert states(only) == [TrialState.COMPLETE]
        assert only.storage.seconds_since_away() < 600
    assert said == [
        "The database does not answer; trying again for up to 600 seconds. Trainings go on "
        "meanwhile.",
        "The database is there again.",
    ]


def test_a_connection_that_was_cut_is_made_again(postgres: Server) -> None:
    with driver(postgres.fresh()) as only, driver(only.storage.url) as other:
        trial = only.ask()
        with other.storage.engine.begin() as connection:
            connection.execute(CUT_ALL)
        trial.set_user_attr("still", "here")
        assert only.look(0).user_attrs["still"] == "here"


def test_a_connection_that_is_cut_between_two_statements_of_a_step_is_made_again(
    postgres: Server,
) -> None:
    with driver(postgres.fresh()) as only, driver(only.storage.url) as other:
        only.ask()
        cut: list[str] = []

        def cut_once(_: object, __: object, statement: str, *___: object) -> None:
            if "ORDER BY trials.trial_id" in statement and not cut:  # Optuna has another for it
                cut.append(statement)
                with other.storage.engine.begin() as connection:
                    connection.execute(CUT_ALL)

        only.storage.say = str
        sqlalchemy.event.listen(only.storage.engine, "before_cursor_execute", cut_once)
        assert len(only.study.get_trials()) == 1
        assert cut


def test_patience_has_an_end(postgres: Server) -> None:
    with opened_storage(postgres.fresh()) as opened:
        opened.say, opened.limit_seconds = str, 1.0
        start = time.monotonic()
        with pytest.raises(OperationalError, match="gone"):
            opened.retried(always_gone)
        assert 1.0 <= time.monotonic() - start < 30


def test_a_run_that_ends_is_in_a_hurry(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "RELEASE_SECONDS", 1.0)
    with driver(postgres.fresh()) as only:
        only.storage.say = str
        trial = only.ask()
        postgres.stop()
        try:
            start = time.monotonic()
            with pytest.raises((OperationalError, StorageInternalError)):
                only.release([trial.number])
            assert time.monotonic() - start < 120
            assert only.storage.limit_seconds == 600
        finally:
            postgres.start()


def always_gone() -> None:
    raise fault()


def test_a_file_is_not_asked_twice() -> None:
    calls: list[int] = []

    def gone() -> None:
        calls.append(1)
        raise fault()

    with opened_storage("sqlite://") as opened, pytest.raises(OperationalError):
        opened.retried(gone)
    assert len(calls) == 1
