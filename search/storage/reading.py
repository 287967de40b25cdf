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
from sqlalchemy import ColumnElement, Connection

TRIALS = models.TrialModel.__table__
_VALUES = models.TrialValueModel.__table__
_PARAMETERS = models.TrialParamModel.__table__
_USER_ATTRIBUTES = models.TrialUserAttributeModel.__table__
_SYSTEM_ATTRIBUTES = models.TrialSystemAttributeModel.__table__
_INTERMEDIATE = models.TrialIntermediateValueModel.__table__


def read_trials(connection: Connection, which: ColumnElement[bool]) -> list[FrozenTrial]:
    """The trials that meet a condition on `TRIALS`, by their ids, as Optuna reads them itself."""
    trials = connection.execute(
        sqlalchemy.select(TRIALS).where(which).order_by(TRIALS.c.trial_id)
    ).all()
    values, parameters, user, system, intermediate = (
        _rows(connection, table, which)
        for table in (_VALUES, _PARAMETERS, _USER_ATTRIBUTES, _SYSTEM_ATTRIBUTES, _INTERMEDIATE)
    )
    found = []
    for trial in trials:
        id_ = trial.trial_id
        distributions = {p.param_name: _distribution(p.distribution_json) for p in parameters[id_]}
        by_objective = sorted(values[id_], key=lambda value: int(value.objective))
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


def _rows(
    connection: Connection, table: sqlalchemy.FromClause, which: ColumnElement[bool]
) -> dict[int, list[Any]]:
    """The rows of a table that belong to the trials, by trial, in the order they were stored."""
    key = next(iter(table.primary_key))
    of_trials = table.join(TRIALS, TRIALS.c.trial_id == table.c.trial_id)
    rows = sqlalchemy.select(table).select_from(of_trials).where(which).order_by(key)
    found: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(rows):
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
