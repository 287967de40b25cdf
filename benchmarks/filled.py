"""Filled: large studies in little time, the first trials searched and the others copied."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import sqlalchemy

from search import RunConfig, StudyConfig, search
from search.storage import opened_storage, storage_url

NAME = "simulated"
"""Of the executor, and of the study."""

BLOCK = 16
"""Trained designs of the trials that are searched; with those that are not, a hundred or so."""


def fill(results: Path, config: StudyConfig, trials: int, storage: str = "sqlite") -> None:
    """Fill a study up to so many trials: search for the first block, copy it for the others.

    The first `BLOCK` trained designs are searched, by the program as it is. Optuna has no quick way
    to add trials, so their rows are then copied in its database, each design as one of its own.
    """
    run = RunConfig(
        NAME, results, BLOCK, finalists=0, executor=NAME, quiet=True, storage=storage, report=False
    )
    with contextlib.redirect_stdout(io.StringIO()):
        search(config, run)
    url = storage_url(storage, run.folder)
    with opened_storage(url) as opened, opened.engine.begin() as connection:
        block = there = int(connection.execute(_LAST).scalar_one())
        while there < trials:
            _copy(connection, min(block, trials - there))
            there = int(connection.execute(_LAST).scalar_one())


_LAST = sqlalchemy.text("SELECT max(trial_id) FROM trials")


def _copy(connection: sqlalchemy.Connection, last: int) -> None:
    """Copy all trials up to this id to the end of the study."""
    shift = connection.execute(_LAST).scalar_one()
    for table in sqlalchemy.inspect(connection).get_table_names():
        columns = [each["name"] for each in sqlalchemy.inspect(connection).get_columns(table)]
        if "trial_id" not in columns:
            continue
        values = {name: name for name in columns if not _is_own_key(table, name)}
        values["trial_id"] = f"trial_id + {shift}"
        if table == "trials":
            values["number"] = f"number + {shift}"
        if table == "trial_user_attributes":
            values["value_json"] = (
                "CASE key WHEN 'identity' "
                f"THEN '\"copy ' || CAST(trial_id + {shift} AS TEXT) || '\"' ELSE value_json END"
            )
        connection.exec_driver_sql(
            f"INSERT INTO {table} ({', '.join(values)}) "
            f"SELECT {', '.join(values.values())} FROM {table} WHERE trial_id <= {last}"
        )

    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            "SELECT setval(pg_get_serial_sequence('trials', 'trial_id'), max(trial_id)) FROM trials"
        )


def _is_own_key(table: str, column: str) -> bool:
    return table != "trials" and column.endswith("_id") and column != "trial_id"
