"""Confirming: the final runs that a race lacks, each kept as it ends."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import optuna

from search import facts, files, weights
from search.config import StudyConfig
from search.confirmation.racing import Race
from search.executors import Executor
from search.executors.attempts import MOST_ATTEMPTS, Attempts
from search.final_run import Finalist, FinalRun, Order, read_runs, store
from search.interrupts import Interrupts
from search.loop import POLL_SECONDS
from search.seeds import confirmation_seed
from search.storage.claims import SharedWork
from search.tables.files import WEIGHTS, StudyFiles
from search.task import Budget, Result, Task


class Watcher(Protocol):
    """Is told how a confirmation goes on."""

    def note(self, text: str) -> None:
        """Something that a user should know."""

    def expected(self, total: int) -> None:
        """How many final runs there are to be in all, as things stand."""

    def finished(self, run: FinalRun, finalist: Finalist) -> None:
        """A final run ended."""


@dataclass(slots=True)
class Confirmation:
    """The final runs of a study that `train` is to do."""

    study: optuna.Study
    config: StudyConfig
    folder: Path
    files: StudyFiles
    executor: Executor
    watcher: Watcher
    work: SharedWork | None = None
    commit: str = field(default_factory=facts.commit)

    def train(self, race: Race) -> None:
        """Do the runs that a race wants; each is kept, with its weights, as soon as it ends.

        One that failed in an earlier confirmation, by other than divergence, is done again. Other
        drivers of the study may take part, with `work` to share the runs; this ends when all are
        done.
        """
        files.make_folder(self.folder / WEIGHTS)
        runs = [run for run in read_runs(self.study.user_attrs) if run.is_settled]
        begun: dict[str, Order] = {}
        attempts = Attempts(self.executor, self._note_failed_attempt)
        with attempts, Interrupts() as interrupts:
            while (left := self._left(race, runs, begun)) or attempts.running:
                interrupts.meet()
                self.watcher.expected(len(begun) + len(left))
                for order in left:
                    if self.executor.free and self._is_claimed(order):
                        begun[order.attribute] = order
                        attempts.submit(len(begun) - 1, self._task(order))
                events = attempts.events(POLL_SECONDS)
                for event in events:
                    if event.result is not None:
                        order = list(begun.values())[event.key]
                        runs.append(self._keep(order, event.result, event.worker))
                if left and not (events or attempts.running):  # others do what is left
                    time.sleep(POLL_SECONDS)
                runs = self._with_others(runs)

    def _is_claimed(self, order: Order) -> bool:
        """Whether this driver does a run; not if another does, or has done it just now."""
        if self.work is None or not self.work.is_shared:
            return True
        if not self.work.claim(order.attribute):
            return False
        done = {_key(run) for run in read_runs(self.study.user_attrs) if run.is_settled}
        return (order.finalist.key, order.index, order.judge) not in done

    def _with_others(self, runs: list[FinalRun]) -> list[FinalRun]:
        """These runs and those that other drivers have done in the meantime."""
        if self.work is None or not self.work.is_shared:
            return runs
        mine, everyones = set(map(_key, runs)), read_runs(self.study.user_attrs)
        others = [run for run in everyones if run.is_settled and _key(run) not in mine]
        if others:
            self.files.runs = everyones
        return [*runs, *others]

    @staticmethod
    def _left(race: Race, runs: list[FinalRun], begun: dict[str, Order]) -> list[Order]:
        return [order for order in race.wanted(runs) if order.attribute not in begun]

    def _task(self, order: Order) -> Task:
        return Task(
            order.finalist.design, self.config.rules, order.finalist.recipe,
            Budget(order.finalist.epochs, self.config.train_images),
            confirmation_seed(self.config.seed, order.index),
            protocol="assignment", judged="last epoch", keep_weights=order.judge == "test",
            fold=order.index if order.judge == "folds" else None, dataset=self.config.dataset,
        )  # fmt: skip

    def _note_failed_attempt(self, _: int, worker: str, reason: str, failed: int) -> None:
        self.watcher.note(f"attempt {failed} of {MOST_ATTEMPTS} on worker {worker}: {reason}")

    def _keep(self, order: Order, result: Result, worker: str) -> FinalRun:
        """Keep a run: its weights in a file, then itself in the study, then in the tables."""
        run = self._run(order, result, worker)
        if result.weights is not None:
            metadata = weights.metadata_of(
                order.finalist.design, run.seed, run.epochs, run.train_images,
                run.test_accuracy or 0.0, self.config.dataset,
            )  # fmt: skip
            path = self.folder / WEIGHTS / run.weights
            own = metadata | {"study": self.files.identity}
            files.write_bytes(path, weights.with_metadata(result.weights, own))
        store(self.study, order, run)
        self.files.runs = read_runs(self.study.user_attrs)
        self.files.rewrite()
        self.watcher.finished(run, order.finalist)
        return run

    def _run(self, order: Order, result: Result, worker: str) -> FinalRun:
        last = result.epochs[-1] if result.outcome == "finished" else None
        return FinalRun(
            trial=order.finalist.trial,
            fingerprint=order.finalist.design.fingerprint,
            index=order.index,
            seed=confirmation_seed(self.config.seed, order.index),
            state="done" if last else "failed",
            reason=result.reason,
            epochs=order.finalist.epochs,
            train_images=result.train_images,
            train_loss=last.train_loss if last else None,
            train_accuracy=last.train_accuracy if last else None,
            test_loss=last.validation_loss if last else None,
            test_accuracy=last.validation_accuracy if last else None,
            seconds=round(last.train_seconds, 3) if last else None,
            engine=result.engine,
            device=result.device,
            worker=worker,
            commit=self.commit,
            weights=order.finalist.weights(order.index) if result.weights else "",
            finalist=order.finalist.key,
            judge=order.judge,
            judged_images=result.judged_images,
            misread=result.misread if last else None,
        )


def _key(run: FinalRun) -> tuple[str, int, str]:
    return run.finalist, run.index, run.judge
