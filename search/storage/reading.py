"""Reading: Optuna's trials, read as rows of its tables.

Optuna makes an object of each row that it reads; a trial of ours has more than a hundred rows
(parameters and attributes), and reading trials back in that way was two fifths of what the search
itself costs a trial (`python -m benchmarks.scale`).
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import ColumnElement, Connection, FromClause, Select, bindparam

_TRIALS = models.TrialModel.__table__
_VALUES = models.TrialValueModel.__table__
_PARAMETERS = models.TrialParamModel.__table__
_USER_ATTRIBUTES = models.TrialUserAttributeModel.__table__
_SYSTEM_ATTRIBUTES = models.TrialSystemAttributeModel.__table__
_INTERMEDIATE = models.TrialIntermediateValueModel.__table__

ONE = _TRIALS.c.trial_id == bindparam("trial")
"""Which trials: the one with the id `trial`."""

SOME = (
    (_TRIALS.c.study_id == bindparam("study"))
    & (_TRIALS.c.trial_id >= bindparam("least"))
    & (
        (_TRIALS.c.trial_id > bindparam("after"))
        | _TRIALS.c.trial_id.in_(bindparam("among", expanding=True))
    )
)
"""Which trials: those of a `study` whose ids are greater than `after` or `among` some.

None of these ids is less than `least`, so that a database need not go through the others.
"""

_THESE = _TRIALS.c.trial_id.in_(bindparam("these", expanding=True))

Which = ColumnElement[bool]

FEW = 100
"""Trials up to which rows are sought by the trials' own ids: PostgreSQL plans a statement that it
had before without its values, takes a range of ids for a third of all, and reads whole tables."""


def read_trials(connection: Connection, which: Which, **values: object) -> list[FrozenTrial]:
    """The trials that are `ONE` or `SOME` with these values, by their ids, as Optuna reads them."""
    trials = connection.execute(_statement(_TRIALS, which), values).all()
    if which is SOME and len(trials) <= FEW:
        which, values = _THESE, {"these": [trial.trial_id for trial in trials]}
    objectives, parameters, user, system, intermediate = (
        _rows(connection.execute(_statement(table, which), values))
        for table in (_VALUES, _PARAMETERS, _USER_ATTRIBUTES, _SYSTEM_ATTRIBUTES, _INTERMEDIATE)
    )
    found = []
    for trial in trials:
        id_ = trial.trial_id
        distributions = {p.param_name: _distribution(p.distribution_json) for p in parameters[id_]}
        by_objective = sorted(objectives[id_], key=lambda value: int(value.objective))
        found.append(
            FrozenTrial(
                number=trial.number,
                state=trial.state,
                value=None,
                values=[_value(each) for each in by_objective] or None,
                datetime_start=_local(trial.datetime_start),
                datetime_complete=_local(trial.datetime_complete),
                params={
                    p.param_name: distributions[p.param_name].to_external_repr(p.param_value)
                    for p in parameters[id_]
                },
                distributions=distributions,
                user_attrs=_attributes(user[id_]),
                system_attrs=_attributes(system[id_]),
                intermediate_values={each.step: _reported(each) for each in intermediate[id_]},
                trial_id=id_,
            )
        )
    return found


@functools.cache  # or SQLAlchemy builds each anew, which takes as long as the database
def _statement(table: FromClause, which: Which) -> Select[Any]:
    """The rows of a table that belong to some trials, in the order in which they were stored."""
    rows = sqlalchemy.select(table).where(which).order_by(*table.primary_key)
    if table is _TRIALS:
        return rows
    return rows.join_from(table, _TRIALS, table.c.trial_id == _TRIALS.c.trial_id)


def _rows(rows: Iterable[Any]) -> dict[int, list[Any]]:
    """Rows by the id of their trial."""
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.trial_id].append(row)
    return found


@functools.lru_cache(maxsize=4096)
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)


def _attributes(rows: Iterable[Any]) -> dict[str, Any]:
    return {row.key: json.loads(row.value_json) for row in rows}


def _value(row: Any) -> float:
    return models.TrialValueModel.stored_repr_to_value(row.value, row.value_type)


def _reported(row: Any) -> float:
    return models.TrialIntermediateValueModel.stored_repr_to_intermediate_value(
        row.intermediate_value, row.intermediate_value_type
    )


def _local(moment: datetime | None) -> datetime | None:
    """A moment of Optuna's tables, in UTC, as its trials say it, in the machine's time."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
