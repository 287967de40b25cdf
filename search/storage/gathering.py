"""Gathering: what is noted of a trial in one go is stored in one transaction, and read in another.

Optuna stores every parameter and every attribute in a transaction of its own. A proposal has more
than sixty, which was two thirds of what the search itself costs a trial
(`python -m benchmarks.scale`); and a kill between two of them left half a proposal.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, text

from search.storage.patience import PatientStorage
from search.storage.reading import ONE, SOME, Which, read_trials


class GatheringStorage(PatientStorage):
    """Optuna's storage, which can store many parameters and attributes of trials together."""

    _gathered: list[tuple[str, dict[str, Any]]] | None = None

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Store what the block sets at its end, all of it or, where the block raises, nothing.

        What is read from the storage within the block does not know of it yet. Raises
        `UpdateFinishedTrialError` for a trial that has ended, as Optuna does.
        """
        if self._gathered is not None:  # within another block, whose end stores it
            yield
            return
        self._gathered = []
        try:
            yield
            gathered = self._gathered
        finally:
            self._gathered = None
        if gathered:
            self.transaction(lambda connection: _store(connection, gathered))

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        if self._gathered is None:
            super()._set_trial_param(
                trial_id, param_name, param_value_internal, distribution, previous_distribution
            )
            return
        values = {
            "trial": trial_id, "name": param_name, "value": param_value_internal,
            "distribution": distribution_to_json(distribution),
        }  # fmt: skip
        self._gathered.append((_PARAMETER, values))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Store a user attribute, now or at the end of the block."""
        if self._gathered is None:
            super().set_trial_user_attr(trial_id, key, value)
            return
        values = {"trial": trial_id, "key": key, "value": json.dumps(value)}
        self._gathered.append((_ATTRIBUTE, values))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Store an attribute of Optuna's own, now or at the end of the block."""
        if self._gathered is None:
            super().set_trial_system_attr(trial_id, key, value)
            return
        values = {"trial": trial_id, "key": key, "value": json.dumps(value)}
        self._gathered.append((_SYSTEM_ATTRIBUTE, values))

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """A trial as it is stored; raises `KeyError` if there is none."""
        found = self._read(ONE, trial=trial_id)
        if not found:
            raise KeyError(f"there is no trial with the id {trial_id}")
        return found[0]

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        after, some = trial_id_greater_than, list(included_trial_ids)
        least = min((after + 1, *some))
        found = self._read(SOME, study=study_id, least=least, after=after, among=some)
        if not found:
            self.get_study_name_from_id(study_id)  # a study that is not there is a `KeyError`
        return [trial for trial in found if states is None or trial.state in states]

    def _read(self, which: Which, **values: object) -> list[FrozenTrial]:
        return self.transaction(lambda connection: read_trials(connection, which, **values))


def _store(connection: Connection, gathered: Sequence[tuple[str, dict[str, Any]]]) -> None:
    for trial in {values["trial"] for _, values in gathered}:
        state = connection.execute(_STATE, {"trial": trial}).scalar_one()
        if state not in ("RUNNING", "WAITING"):
            raise UpdateFinishedTrialError(f"trial {trial} has ended: {state}")
    for statement in (_PARAMETER, _ATTRIBUTE, _SYSTEM_ATTRIBUTE):
        rows = [values for kind, values in gathered if kind == statement]
        if rows:
            connection.execute(text(statement), rows)


_STATE = text("SELECT state FROM trials WHERE trial_id = :trial")
_PARAMETER = (
    "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) "
    "VALUES (:trial, :name, :value, :distribution) "
    "ON CONFLICT (trial_id, param_name) DO NOTHING"  # a step that is done again
)
_ATTRIBUTE, _SYSTEM_ATTRIBUTE = (
    f"INSERT INTO trial_{kind}_attributes (trial_id, key, value_json) "
    "VALUES (:trial, :key, :value) "
    "ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json"
    for kind in ("user", "system")
)
