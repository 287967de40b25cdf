"""Loop: ask -> evaluate -> tell. The one place that changes a study while it is searched.

The driver asks Optuna for proposals, turns down those that break the rules or were trained
before, orders the trainings of the others, and tells their results. Workers only train.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from mnist_arch.epochs import EpochRecord
from mnist_arch.errors import MachineError
from search import record
from search.config import StudyConfig
from search.executors import Event, Executor
from search.executors.attempts import MOST_ATTEMPTS, Attempts
from search.goals import GOALS
from search.interrupts import Interrupts
from search.loop import judging
from search.loop.history import History
from search.loop.proposals import Proposal, propose
from search.loop.running import RunningTrial
from search.record import NOT_TRIED, TRAINED, TrialRecord
from search.schedules import SCHEDULES
from search.storage.driver import HEARTBEAT_SECONDS, Driver, Elsewhere, seed_number
from search.tables.files import StudyFiles
from search.task import Epoch, Result, Task

POLL_SECONDS = 1.0
OTHERS_SECONDS = 5.0
"""How often a driver looks for what other drivers have finished."""

PROPOSALS_IN_A_ROW = 300
"""Proposals without a new design after which the space is called exhausted."""

BROKEN_IN_A_ROW = 3
"""Designs that the machine may fail to train, with none trained in between, before a run ends."""


class Watcher(Protocol):
    """Is told what happens in a loop: the terminal, or nobody."""

    def note(self, text: str) -> None:
        """Something that a user should know."""

    def finished(self, trial: TrialRecord, trained: int) -> None:
        """A design was trained; `trained` counts it."""

    def update(self, running: Sequence[RunningTrial], counts: Mapping[str, int]) -> None:
        """What is in training now, and how many finished trials are in each state."""


@dataclass(slots=True)
class Loop:
    """One run of a search by one driver, until the study has `trials` trained designs."""

    history: History
    config: StudyConfig
    executor: Executor
    watcher: Watcher
    trials: int
    timeout_seconds: float | None = None
    stop_reason: str = ""
    _running: dict[int, RunningTrial] = field(default_factory=dict)
    _in_a_row: int = 0
    _broken_in_a_row: int = 0
    _start: float = field(default_factory=time.monotonic)
    _last_beat: float = 0.0
    _last_look: float = 0.0
    _elsewhere: Elsewhere = field(default_factory=Elsewhere)
    _full_until: float = 0.0
    _said: bool = False

    @property
    def driver(self) -> Driver:
        """Who asks and tells."""
        return self.history.driver

    @property
    def files(self) -> StudyFiles:
        """The study's tables."""
        return self.history.files

    def run(self) -> None:
        """Search until the goal, the time limit or the end of the space is reached.

        However it ends, trials that are not finished go back into the study's queue.
        """
        attempts = Attempts(self.executor, self._note_failed_attempt)
        try:
            with attempts, Interrupts() as interrupts:
                while True:
                    interrupts.meet()
                    proposed = self._wants_more and self._propose(attempts)
                    if not (proposed or self._running or self._waits_for_others):
                        return
                    for event in attempts.events(0 if self._wants_more else POLL_SECONDS):
                        self._handle(event, attempts)
                    if self._waits_for_others and not (self._wants_more or self._running):
                        time.sleep(POLL_SECONDS)
                    self._keep_in_touch()
        finally:
            self._release()

    @property
    def time_is_up(self) -> bool:
        """Whether this run has taken longer than it may."""
        limit = self.timeout_seconds
        return limit is not None and time.monotonic() - self._start > limit

    @property
    def _wants_more(self) -> bool:
        """Whether to propose another design now."""
        if not self.stop_reason and self.time_is_up:
            self.stop_reason = f"Stopped by --timeout {self.timeout_seconds:g}."
        is_full = self._missing <= 0 or time.monotonic() < self._full_until
        return not (self.stop_reason or is_full) and self.executor.free > 0

    @property
    def _missing(self) -> int:
        """How many more designs may be trained for at least an epoch."""
        counting = sum(running.counts for running in self._running.values())
        return self.trials - self.files.trained - counting - self._elsewhere.admitted

    @property
    def _waits_for_others(self) -> bool:
        """Whether other drivers, any of which may die, have what is missing or anything at all.

        So the last driver of a study ends when nothing is left running, also by one that has died.
        """
        missing = self.files.trained < self.trials
        return not self.stop_reason and (missing or self._elsewhere.running > 0)

    # proposing

    def _propose(self, attempts: Attempts) -> bool:
        """Ask for one proposal; train it, or say why not. Returns True: there was one."""
        proposal = propose(self.driver, self.config)
        self._in_a_row += 1
        if proposal.plan is None:
            self._finish(proposal.trial, TrialState.PRUNED)
        elif not self._is_duplicate(proposal):
            self._train(proposal, attempts)
            if proposal.trial.number in self._running:
                self._in_a_row = 0
        if self._in_a_row >= PROPOSALS_IN_A_ROW:
            self.stop_reason = (
                f"Stopped: {PROPOSALS_IN_A_ROW:,} proposals in a row were rejected, duplicates or "
                "not wanted; the space holds nothing more under these rules."
            )
        return True

    def _is_duplicate(self, proposal: Proposal) -> bool:
        """Whether the same was proposed before; then it is told the same, now or when it ends."""
        for running in self._running.values():
            if running.proposal.identity == proposal.identity:
                running.duplicates.append(proposal.trial)
                return True
        original = self.history.original(proposal.identity)
        if original is None:
            twin = self.driver.claim(proposal.trial, self.history.known(), NOT_TRIED)
            original = None if twin is None else self.driver.look(twin)
        if original is not None:
            self._tell_duplicate(proposal.trial, original)
        return original is not None

    def _tell_duplicate(self, trial: optuna.Trial, original: FrozenTrial) -> None:
        """Tell Optuna what the same design was worth, without training it again.

        Of one that another driver trains now nothing is known yet: Optuna learns nothing.
        """
        with self.driver.gathered():
            record.write_state(trial, "duplicate", f"the same as trial {original.number}")
            trial.set_user_attr("duplicate_of", original.number)
        if original.state == TrialState.COMPLETE:
            self._finish(trial, TrialState.COMPLETE, tuple(original.values))
            return
        if not original.state.is_finished():
            self._finish(trial, TrialState.FAIL)
            return
        for step, value in original.intermediate_values.items():
            trial.report(value, step)
        self._finish(trial, TrialState.PRUNED)

    def _train(self, proposal: Proposal, attempts: Attempts) -> None:
        """Order a design's first training, unless too many attempts at it failed before."""
        number = proposal.trial.number
        there = self.driver.look(number)
        running = RunningTrial(
            proposal, seed_number(there), set(there.intermediate_values),
            list(record.read_looks(there.user_attrs)),
        )  # fmt: skip
        self._running[number] = running
        failed = there.user_attrs.get("failed_attempts", 0)
        if failed >= MOST_ATTEMPTS:
            reason = f"{there.user_attrs.get('last_failure', 'failed')}, {failed} times"
            self._conclude(running, Result("died", reason=reason))
        else:
            self._go_on(running, attempts, failed)

    def _go_on(self, running: RunningTrial, attempts: Attempts, failed: int = 0) -> None:
        """Order a design's next training, or conclude it with the looks that it has had."""
        decision = judging.decide(self.config, self.history, running, self.stop_reason)
        if decision.off_front:
            record.write_off_front(running.trial)
        if decision.budget is None:
            self._conclude(running, Result("stopped", reason=decision.reason))
            return
        if decision.budget.length >= 1 and not running.counts and not self._is_admitted(running):
            return
        running.budget, running.epochs = decision.budget, []
        task = Task(
            running.design, self.config.rules, running.proposal.recipe, running.budget,
            running.seed(self.config.seed), self.config.protocol, dataset=self.config.dataset,
        )  # fmt: skip
        attempts.submit(running.trial.number, task, failed)

    def _is_admitted(self, running: RunningTrial) -> bool:
        """Whether the study lacks a trained design still; if not, a design is left as it is.

        One that was looked at stays screened; any other goes back into the queue, for whoever lacks
        one later.
        """
        trial, known = running.trial, self.history.known()
        if self._missing > 0 and self.driver.admit(trial, self.trials, known, TRAINED):
            return True
        if running.looks:
            reason = f"the study has its {self.trials:,} trained designs"
            self._conclude(running, Result("stopped", reason=reason))
        else:
            del self._running[trial.number]
            self.driver.release([trial.number])
            self._full_until = time.monotonic() + OTHERS_SECONDS
        return False

    # what is heard of trainings

    def _note_failed_attempt(self, number: int, worker: str, reason: str, failed: int) -> None:
        running = self._running[number]
        if running.is_baseline and failed >= MOST_ATTEMPTS:
            raise MachineError(
                f"the assignment's own design could not be trained in {failed} attempts "
                f"({reason}), perhaps for lack of memory; finished trials are kept. Try "
                "--workers 1, then the same command again"
            )
        if not running.is_baseline:
            with suppress(UpdateFinishedTrialError):  # it is another driver's now
                running.trial.set_user_attr("failed_attempts", failed)
                running.trial.set_user_attr("last_failure", reason)
        self.watcher.note(
            f"trial {number}, attempt {failed} of {MOST_ATTEMPTS} on worker {worker}: {reason}"
        )

    def _handle(self, event: Event, attempts: Attempts) -> None:
        running = self._running[event.key]
        running.worker = event.worker
        try:
            if event.epoch is not None:
                self._hear_epoch(running, event.epoch)
            elif event.result is not None:
                self._hear_result(running, event.result, attempts)
        except UpdateFinishedTrialError:
            self._lose(running, event)

    def _lose(self, running: RunningTrial, event: Event) -> None:
        """Drop a training whose trial another driver has taken over and finished."""
        if event.result is not None:
            del self._running[event.key]
            self.watcher.note(f"trial {event.key} was taken over by another driver")
        elif (
            event.epoch is not None
            and running.budget
            and event.epoch.epoch in running.budget.checkpoints
        ):
            self.executor.answer(event.key, "taken over by another driver")

    def _hear_epoch(self, running: RunningTrial, epoch: Epoch) -> None:
        """Note an epoch; at a checkpoint, decide whether the training goes on."""
        running.epochs = [*running.epochs[: epoch.epoch - 1], epoch]
        assert isinstance(epoch, EpochRecord)
        accuracy = epoch.validation_accuracy
        assert running.budget is not None
        reports = running.budget.look is None and len(self.driver.study.directions) == 1
        if reports and epoch.epoch not in running.reported:
            running.trial.report(accuracy, epoch.epoch)
            running.reported.add(epoch.epoch)
        if epoch.epoch not in running.budget.checkpoints:
            return
        reason = ""
        if not running.is_baseline:  # so that every study has its figure
            others = self.history.other_curves(running.trial.number)
            schedule = SCHEDULES[self.config.schedule]
            reason = schedule.stop_reason(epoch.epoch, accuracy, others)
        self.executor.answer(running.trial.number, reason)

    def _hear_result(self, running: RunningTrial, result: Result, attempts: Attempts) -> None:
        """Go on after a look; whatever else ends is the design's last training."""
        assert running.budget is not None
        if running.budget.look is None or result.outcome != "finished":
            self._conclude(running, result)
            return
        running.keep_look(result, self.config.seed)
        with self.driver.gathered():
            record.write_looks(running.trial, running.looks)
            record.write_machine(running.trial, result, running.worker)
            if running.counts:  # a shorter look is not to be climbed on
                loss = self.history.predictor.loss(running.judged)
                values = GOALS[self.config.goal].values(running.judged, loss)
                record.write_values_so_far(running.trial, values)
        running.budget = None
        self._go_on(running, attempts)

    def _conclude(self, running: RunningTrial, result: Result) -> None:
        """Record a design's last result and tell Optuna; its duplicates are told the same."""
        state = judging.state_after(self.config, running, result)
        trial = running.trial
        with self.driver.gathered():
            if running.budget is not None and running.budget.look is None:
                record.write_result(trial, result, running.seed(self.config.seed), running.worker)
            record.write_state(trial, state, result.reason)
            if running.looks:
                record.write_prediction(trial, self.history.predictor.loss(running.judged))
        values = judging.told(self.config, self.history, running, state, result)
        self._finish(trial, TrialState.PRUNED if values is None else TrialState.COMPLETE, values)
        del self._running[trial.number]
        for duplicate in running.duplicates:
            self._tell_duplicate(duplicate, self.driver.look(trial.number))
        self._broken_in_a_row = self._broken_in_a_row + 1 if state == "broken" else 0
        if self._broken_in_a_row >= BROKEN_IN_A_ROW:
            raise MachineError(
                f"{BROKEN_IN_A_ROW} designs one after another could not be trained (last: "
                f"{result.reason}), perhaps for lack of memory; finished trials are kept. Try "
                "--workers 1, then the same command again"
            )

    def _finish(
        self, trial: optuna.Trial, state: TrialState, values: tuple[float, ...] | None = None
    ) -> None:
        """End a trial, and say that it was trained if it was."""
        found = self.history.finish(trial, state, values)
        if found is None:
            self.watcher.note(f"trial {trial.number} was taken over by another driver")
        else:
            self._say(found)

    def _say(self, trial: TrialRecord) -> None:
        if trial.state in TRAINED:
            self.watcher.finished(trial, self.files.trained)

    # others, and the end

    def _keep_in_touch(self) -> None:
        """Show what runs; send heartbeats; look at what other drivers have done."""
        running = list(self._running.values())
        self.watcher.update(running, self.files.counts)
        now = time.monotonic()
        if now - self._last_beat > HEARTBEAT_SECONDS / 2:
            self._last_beat = now
            self.driver.beat(self._held())
            self.driver.take_back_stale()
        if now - self._last_look > OTHERS_SECONDS:
            self._last_look = now
            for trial in self.history.others():
                self._say(trial)
            self._elsewhere = self.driver.elsewhere()
            self._say_why_it_waits()

    def _say_why_it_waits(self) -> None:
        """Once, where the study has its designs and only other drivers have anything in hand."""
        if self._said or self._running or self._missing > 0 or not self._elsewhere.running:
            return
        self._said = True
        self.watcher.note(
            f"the study has its {self.trials:,} trained designs; waiting until other drivers have "
            f"ended their trials ({self._elsewhere.running}), two minutes for one that died"
        )

    def _held(self) -> list[int]:
        """Numbers of all trials that this driver holds."""
        twins = [twin.number for each in self._running.values() for twin in each.duplicates]
        return [*self._running, *twins]

    def _release(self) -> None:
        """Put what is not finished back into the queue."""
        self.driver.release(self._held())
        self._running = {}
