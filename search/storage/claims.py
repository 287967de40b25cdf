"""Claims: what drivers say of trials in Optuna's tables, and of other work that they share.

The SQL on Optuna's tables is for a transaction that is alone on the study.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, DateTime, text
from sqlalchemy.exc import SQLAlchemyError

from search.storage.patience import PatientStorage


@dataclass(slots=True)
class Claim:
    """What decides about a trial: its design, whether it is in training, how it ended."""

    state: str
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> object:
        """The design, see `record.identity`."""
        return self.values.get("identity")

    @property
    def is_claimed(self) -> bool:
        """Whether some driver trains or looks at it now."""
        return self.state == "RUNNING" and "claimed" in self.values

    @property
    def is_admitted(self) -> bool:
        """Whether some driver trains it now for at least an epoch, so that it will count."""
        return self.state == "RUNNING" and "admitted" in self.values

    @property
    def result(self) -> str:
        """The state that the trial ended in; nothing while it has not ended."""
        return str(self.values.get("state", "")) if self.state in ("COMPLETE", "PRUNED") else ""


def read_claims(connection: Connection, study: int, below: int) -> dict[int, Claim]:
    """What decides about a study's trials, by their numbers, from number `below` on."""
    claims: dict[int, Claim] = {}
    for row in connection.execute(_CLAIMS, {"study": study, "below": below}):
        claim = claims.setdefault(row.number, Claim(row.state))
        if row.key is not None:
            claim.values[row.key] = json.loads(row.value_json)
    return claims


def queue(
    connection: Connection, ids: Sequence[int], only: str = "", values: dict[str, str] | None = None
) -> None:
    """Put running trials back into the queue; those that hold a condition, if one is given."""
    for each in ids:
        values_of = {"trial": each, **(values or {})}
        if connection.execute(text(_QUEUE + only), values_of).rowcount:
            connection.execute(_FORGET_HEARTBEAT, {"trial": each})
            connection.execute(_FORGET_CLAIM, {"trial": each})


_QUEUE = "UPDATE trials SET state = 'WAITING' WHERE trial_id = :trial AND state = 'RUNNING'"
ONLY_MINE = (
    " AND EXISTS (SELECT 1 FROM trial_user_attributes AS a WHERE a.trial_id = :trial "
    "AND a.key = 'driver' AND a.value_json = :driver)"
)
_FORGET_HEARTBEAT = text("DELETE FROM trial_heartbeats WHERE trial_id = :trial")
_FORGET_CLAIM = text(
    "DELETE FROM trial_user_attributes WHERE trial_id = :trial AND key IN ('claimed', 'admitted')"
)
MARK = text(
    "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (:trial, :mark, 'true')"
)
RUNNING = text(
    "SELECT t.trial_id, t.datetime_start, h.heartbeat FROM trials AS t "
    "LEFT JOIN trial_heartbeats AS h ON h.trial_id = t.trial_id "
    "WHERE t.study_id = :study AND t.state = 'RUNNING'"
).columns(sqlalchemy.column("trial_id", sqlalchemy.Integer),
          sqlalchemy.column("datetime_start", DateTime),
          sqlalchemy.column("heartbeat", DateTime))  # fmt: skip
_CLAIMS = text(
    "SELECT t.number, t.state, a.key, a.value_json FROM trials AS t "
    "LEFT JOIN trial_user_attributes AS a ON a.trial_id = t.trial_id "
    "AND a.key IN ('state', 'identity', 'claimed', 'admitted') "
    "WHERE t.study_id = :study AND t.number >= :below"
)


@dataclass(slots=True)
class SharedWork:
    """Work other than trials that a study's drivers share; each piece is done by one at a time.

    A claim lasts as long as the driver's connection to the server, and so ends with the driver. A
    study in a file has one driver, who may have everything.
    """

    storage: PatientStorage
    study: int
    _connection: Connection | None = None

    @property
    def is_shared(self) -> bool:
        """Whether there may be other drivers."""
        return self.storage.engine.dialect.name != "sqlite"

    def claim(self, piece: str) -> bool:
        """Claim a piece for this driver; False if another has it."""
        return not self.is_shared or self.storage.retried(lambda: self._claim(piece))

    def _claim(self, piece: str) -> bool:
        if self._connection is None:
            connection = self.storage.engine.connect()
            self._connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            answer = self._connection.execute(_CLAIM, {"piece": f"{self.study} {piece}"})
        except SQLAlchemyError:
            self.close()  # the next try needs another
            raise
        return bool(answer.scalar_one())

    def close(self) -> None:
        """Give all claims back."""
        if self._connection is not None:
            with suppress(SQLAlchemyError), self._connection:  # it may be lost, and the claims too
                self._connection.execute(_GIVE_BACK)
            self._connection = None


_GIVE_BACK = text("SELECT pg_advisory_unlock_all()")
_CLAIM = text("SELECT pg_try_advisory_lock(hashtextextended(:piece, 6063))")
