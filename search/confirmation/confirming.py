"""Confirming: the final runs that a study lacks, each kept as it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import optuna

from search import facts, files, weights
from search.config import StudyConfig
from search.evaluate import Budget, Result, Task
from search.executors import Executor
from search.executors.attempts import MOST_ATTEMPTS, Attempts
from search.final_run import Finalist, FinalRun, Order, read_runs, store
from search.interrupts import Interrupts
from search.loop import POLL_SECONDS
from search.seeds import confirmation_seed
from search.tables.files import WEIGHTS, StudyFiles


class Watcher(Protocol):
    """Is told how a confirmation goes on."""

    def note(self, text: str) -> None:
        """Something that a user should know."""

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
    commit: str = field(default_factory=facts.commit)

    def train(self, orders: Sequence[Order]) -> None:
        """Do the runs; each is kept, with its weights, as soon as it ends."""
        files.make_folder(self.folder / WEIGHTS)
        left = list(range(len(orders)))
        attempts = Attempts(self.executor, self._note_failed_attempt)
        with attempts, Interrupts() as interrupts:
            while left or attempts.running:
                interrupts.meet()
                while left and self.executor.free:
                    index = left.pop(0)
                    attempts.submit(index, self._task(orders[index]))
                for event in attempts.events(POLL_SECONDS):
                    if event.result is not None:
                        self._keep(orders[event.key], event.result, event.worker)

    def _task(self, order: Order) -> Task:
        return Task(
            order.finalist.design, self.config.rules, order.finalist.recipe,
            Budget(self.config.full_epochs, self.config.train_images),
            confirmation_seed(self.config.seed, order.index),
            protocol="assignment", judged="last epoch", keep_weights=True,
        )  # fmt: skip

    def _note_failed_attempt(self, _: int, worker: str, reason: str, failed: int) -> None:
        self.watcher.note(f"attempt {failed} of {MOST_ATTEMPTS} on worker {worker}: {reason}")

    def _keep(self, order: Order, result: Result, worker: str) -> None:
        """Keep a run: its weights in a file, then itself in the study, then in the tables."""
        run = self._run(order, result, worker)
        if result.weights is not None:
            metadata = weights.metadata_of(
                order.finalist.design, run.seed, run.epochs, run.train_images,
                run.test_accuracy or 0.0,
            )  # fmt: skip
            path = self.folder / WEIGHTS / run.weights
            own = metadata | {"study": self.files.identity}
            files.write_bytes(path, weights.with_metadata(result.weights, own))
        store(self.study, order, run)
        self.files.runs = read_runs(self.study.user_attrs)
        self.files.rewrite()
        self.watcher.finished(run, order.finalist)

    def _run(self, order: Order, result: Result, worker: str) -> FinalRun:
        last = result.epochs[-1] if result.outcome == "finished" else None
        return FinalRun(
            trial=order.finalist.trial,
            fingerprint=order.finalist.design.fingerprint,
            index=order.index,
            seed=confirmation_seed(self.config.seed, order.index),
            state="done" if last else "failed",
            reason=result.reason,
            epochs=self.config.full_epochs,
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
            weights=order.finalist.weights(order.index) if last else "",
            finalist=order.finalist.key,
        )
