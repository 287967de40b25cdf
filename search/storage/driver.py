"""Driver: one process that asks a study for trials and tells it their results.

It claims each trial under its own name and sends heartbeats for it, so that others can take back
what it leaves behind when it dies. What several drivers could get wrong together (a design trained
twice, more designs than asked for, a trial taken back twice) is decided in a transaction that is
alone on the study.
"""

from __future__ import annotations

import json
import os
import platform
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple, TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, text

from search.storage.claims import MARK, ONLY_MINE, RUNNING, Claim, SharedWork, queue, read_claims
from search.storage.gathering import GatheringStorage

HEARTBEAT_SECONDS = 30
GRACE_SECONDS = 4 * HEARTBEAT_SECONDS
"""A trial without a heartbeat for so long has lost its driver."""

RELEASE_SECONDS = 10.0
"""How long a driver that ends waits for a server that is away."""

Answer = TypeVar("Answer")


def _name() -> str:
    return f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True, slots=True)
class Known:
    """What a driver knows for good: trials below number `below` are finished, `trained` of them."""

    below: int = 0
    trained: int = 0


class Elsewhere(NamedTuple):
    """What other drivers have in hand: trials, and those of them that will count as trained."""

    running: int = 0
    admitted: int = 0


@dataclass(frozen=True, slots=True)
class Driver:
    """Asks a study for trials and tells their results, under a name of its own."""

    study: optuna.Study
    storage: GatheringStorage
    name: str = field(default_factory=_name)
    _ids: dict[int, int] = field(default_factory=dict)

    def ask(self) -> optuna.Trial:
        """The next trial, claimed by this driver: a queued or taken back one, or a new one."""
        trial = self.study.ask()
        self._ids[trial.number] = trial._trial_id
        self.beat([trial.number])
        trial.set_user_attr("driver", self.name)
        return trial

    def gathered(self) -> AbstractContextManager[None]:
        """A block whose end stores what it sets of trials, in one transaction."""
        return self.storage.gathered()

    def tell(
        self, trial: optuna.Trial, state: TrialState, values: tuple[float, ...] | None = None
    ) -> bool:
        """Tell a trial's end; False if another driver has taken it back in the meantime."""
        if not self._is_mine(trial.number, finished=False):
            return False
        try:
            self.study.tell(trial, values, state=state)
        except (UpdateFinishedTrialError, ValueError):
            if self._is_mine(trial.number, finished=False):
                raise
            return self._is_mine(trial.number, finished=True)  # told, but not heard
        return True

    def _is_mine(self, number: int, finished: bool) -> bool:
        there = self.look(number)
        known = there.state.is_finished() if finished else there.state == TrialState.RUNNING
        return known and there.user_attrs.get("driver") == self.name

    def look(self, number: int) -> FrozenTrial:
        """A trial as it is stored now."""
        return self.storage.get_trial(self._id(number))

    def claim(self, trial: optuna.Trial, known: Known, not_tried: Sequence[str]) -> int | None:
        """Claim a trial's design; returns the number of another trial that has it, None if none.

        Another has it that trains it now, or that ended in any state but `not_tried`.
        """

        def decide(connection: Connection) -> int | None:
            rows = read_claims(connection, self._study_id, known.below)
            mine = rows.pop(trial.number)
            for number in sorted(rows):
                row = rows[number]
                tried = row.is_claimed or (row.result and row.result not in not_tried)
                if tried and row.identity == mine.identity:
                    return number
            self._mark(connection, trial, mine, "claimed")
            return None

        self._id(trial.number)  # read before, outside of the transaction
        return self._alone(decide)

    def admit(self, trial: optuna.Trial, most: int, known: Known, trained: Sequence[str]) -> bool:
        """Let a claimed design be trained for an epoch or more; False if there are enough.

        With those that were trained, states `trained`, and those that are in training anywhere
        there are never more than `most`.
        """

        def decide(connection: Connection) -> bool:
            rows = read_claims(connection, self._study_id, known.below)
            mine = rows.pop(trial.number)
            count = sum(row.is_admitted or row.result in trained for row in rows.values())
            if known.trained + count >= most:
                return False
            self._mark(connection, trial, mine, "admitted")
            return True

        return self._alone(decide)

    def _mark(self, connection: Connection, trial: optuna.Trial, claim: Claim, mark: str) -> None:
        if mark not in claim.values:
            connection.execute(MARK, {"trial": self._id(trial.number), "mark": mark})

    def elsewhere(self) -> Elsewhere:
        """What other drivers have in hand now."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        others = [t.user_attrs for t in running if t.user_attrs.get("driver") != self.name]
        return Elsewhere(len(others), sum("admitted" in attributes for attributes in others))

    @contextmanager
    def shared_work(self) -> Iterator[SharedWork]:
        """Claims of other work than trials, given back at the end."""
        work = SharedWork(self.storage, self._study_id)
        try:
            yield work
        finally:
            work.close()

    def beat(self, numbers: list[int]) -> None:
        """Send a heartbeat for the trials of these numbers."""
        for number in numbers:
            self.storage.record_heartbeat(self._id(number))

    def release(self, numbers: list[int]) -> None:
        """Put this driver's running trials back into the queue, to be asked as they are.

        If the server is away they are left to others, who take them back later.
        """
        if not numbers:
            return
        mine = {"driver": json.dumps(self.name)}
        with self.storage.hurried(RELEASE_SECONDS):
            ids = [self._id(number) for number in numbers]
            self._alone(lambda connection: queue(connection, ids, ONLY_MINE, mine))

    def take_back_all(self) -> int:
        """Put all running trials back into the queue; only while no other driver is at work."""
        return self._take_back(everything=True)

    def take_back_stale(self) -> int:
        """Put trials back into the queue whose drivers' heartbeats have stopped.

        Not after a time in which the server was away: the others could not send any either.
        """
        if self.storage.seconds_since_away() < GRACE_SECONDS:
            return 0
        return self._take_back(everything=False)

    def _take_back(self, everything: bool) -> int:
        def step(connection: Connection) -> int:
            now = connection.execute(sqlalchemy.select(sqlalchemy.func.now())).scalar_one()
            limit = now.replace(tzinfo=None) - timedelta(seconds=GRACE_SECONDS)
            rows = connection.execute(RUNNING, {"study": self._study_id}).all()
            lost = [
                row.trial_id
                for row in rows
                if everything or (row.heartbeat or row.datetime_start or limit) < limit
            ]
            if lost:
                queue(connection, lost)
            return len(lost)

        return self._alone(step)

    def _alone(self, step: Callable[[Connection], Answer]) -> Answer:
        """Do something in a transaction while no other driver does; SQLite's are alone anyway."""

        def alone(connection: Connection) -> Answer:
            if connection.dialect.name != "sqlite":
                lock = text("SELECT study_id FROM studies WHERE study_id = :study FOR UPDATE")
                connection.execute(lock, {"study": study})
            return step(connection)

        study = self._study_id
        return self.storage.transaction(alone)

    @property
    def _study_id(self) -> int:
        return self.study._study_id

    def _id(self, number: int) -> int:
        if number not in self._ids:
            of = self.storage.get_trial_id_from_study_id_trial_number
            self._ids[number] = of(self._study_id, number)
        return self._ids[number]


def seed_number(trial: FrozenTrial | optuna.Trial) -> int:
    """The number from which a trial's seeds follow: its own, or that of the trial it retries.

    Only studies that earlier versions made have trials that retry another.
    """
    return int(trial.user_attrs.get("retry_of", trial.number))
