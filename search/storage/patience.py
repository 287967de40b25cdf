"""Patience: Optuna's storage on a database server, which may restart or lose its connections.

What fails for want of a connection is done again, with growing pauses, up to a limit. Every step of
Optuna's storage is one transaction, so a step that was cut off has left nothing; one whose end was
not heard may have been done, and doing it again changes nothing or leaves a trial that is taken
back as any dead driver's.
"""

from __future__ import annotations

import functools
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError

LIMIT_SECONDS = 600.0
"""How long a server may be away before a driver gives up."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 10.0

Answer = TypeVar("Answer")

STEPS = (
    "create_new_study", "set_study_user_attr", "set_study_system_attr", "get_study_id_from_name",
    "get_study_name_from_id", "get_study_directions", "get_study_user_attrs",
    "get_study_system_attrs", "get_all_studies", "_create_new_trial", "_set_trial_param",
    "get_trial_id_from_study_id_trial_number", "set_trial_state_values",
    "set_trial_intermediate_value", "set_trial_user_attr", "set_trial_system_attr", "get_trial",
    "_get_trials", "record_heartbeat",
)  # fmt: skip
"""Methods of Optuna's storage that its studies call, each a transaction or two of them."""


def _say(text: str) -> object:
    return print(text, file=sys.stderr)


class PatientStorage(RDBStorage):
    """Optuna's storage, whose steps are done again when the server was away.

    `say` is told of it. A file of SQLite's has no server: there nothing is done twice.
    """

    say: Callable[[str], object] = staticmethod(_say)
    limit_seconds = LIMIT_SECONDS
    _away_since: float | None = None
    _back_since = float("-inf")

    def seconds_since_away(self) -> float:
        """Seconds since the server was last away; infinite if it never was."""
        return time.monotonic() - self._back_since

    def retried(self, step: Callable[[], Answer]) -> Answer:
        """Do a step, again and again while the server is away.

        Raises what the last try raised when the limit is reached.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                answer = step()
            except (StorageInternalError, DBAPIError, PendingRollbackError) as error:
                if self.engine.dialect.name == "sqlite" or not is_away(error) or self._give_up():
                    raise
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                if self._away_since is not None:
                    self._away_since, self._back_since = None, time.monotonic()
                    self.say("The database is there again.")
                return answer

    @contextmanager
    def hurried(self, seconds: float) -> Iterator[None]:
        """Give up after so many seconds while the block runs: at the end of a run."""
        before, self.limit_seconds = self.limit_seconds, seconds
        try:
            yield
        finally:
            self.limit_seconds = before

    def _give_up(self) -> bool:
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            self.say(
                "The database does not answer; trying again for up to "
                f"{self.limit_seconds:,.0f} seconds. Trainings go on meanwhile."
            )
        return now - self._away_since > self.limit_seconds

    def transaction(self, step: Callable[[sqlalchemy.Connection], Answer]) -> Answer:
        """Do something of ours in one transaction."""

        def whole() -> Answer:
            with self.engine.begin() as connection:
                return step(connection)

        return self.retried(whole)


def is_away(error: BaseException) -> bool:
    """Whether a fault may pass when it is tried again: a server that cannot be reached or is full.

    A server that shuts down, starts, has no room for a connection or ends a deadlock says so by
    an operational error, too. Optuna answers some operational errors with another statement in the
    same transaction, which a lost connection refuses until it is rolled back.
    """
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, OperationalError | InterfaceError | PendingRollbackError) or (
        isinstance(cause, DBAPIError) and cause.connection_invalidated
    )


def _patient(name: str) -> Callable[..., Any]:
    method = getattr(RDBStorage, name)

    @functools.wraps(method)
    def step(self: PatientStorage, *arguments: Any, **options: Any) -> Any:
        return self.retried(lambda: method(self, *arguments, **options))

    return step


for _name in STEPS:
    setattr(PatientStorage, _name, _patient(_name))
