"""Worker: what a worker of a confirmation does, one final run after another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna
import torch
from torch import nn

from mnist_arch.data import Digits, protocol_digits
from mnist_arch.engine import Engine, choose_engine
from search import facts, files, weights
from search.confirmation.final import Judgement, train_finally
from search.confirmation.runs import FinalRun, Order, store
from search.failures import DIVERGED, TrainingFailed, failures_named
from search.seeds import confirmation_seed
from search.settings import Settings
from search.study import open_storage
from search.workers import Answer, Assignment


def final_trainer(assignment: Assignment, folder: Path) -> Callable[[Order], Answer]:
    """A worker's job: join a study to do the final runs it is ordered; weights go to `folder`."""
    torch.set_num_threads(assignment.threads)
    settings = assignment.settings
    engine = choose_engine(assignment.engine, assignment.device)
    fit, test = protocol_digits("assignment", settings.train_images, assignment.data_folder)
    return FinalTraining(
        study=optuna.load_study(
            study_name=assignment.study_name, storage=open_storage(assignment.storage_url)
        ),
        settings=settings, engine=engine, fit=fit.to(engine.device), test=test.to(engine.device),
        folder=folder, worker=assignment.worker, commit=facts.commit(),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FinalTraining:
    """Does final runs and keeps each at once: its weights in a file, then itself in the study.

    `fit` (all training images, or the study's subset) and `test` stand on the engine's device.
    """

    study: optuna.Study
    settings: Settings
    engine: Engine
    fit: Digits
    test: Digits
    folder: Path
    worker: str
    commit: str

    def __call__(self, order: Order) -> Answer:
        """Do one run; a training that fails is kept as failed, not raised."""
        store(self.study, order, self._run(order))
        return "trained"

    def _run(self, order: Order) -> FinalRun:
        seed = confirmation_seed(self.settings.seed, order.index)
        try:
            with failures_named():
                network, judged = train_finally(
                    order.finalist.design, self.settings.rules, order.finalist.recipe,
                    self.settings.epochs, seed, self.engine, self.fit, self.test,
                )  # fmt: skip
        except TrainingFailed as failed:
            return self._kept(order, seed, None, str(failed))
        if not math.isfinite(judged.test_loss):
            return self._kept(order, seed, None, f"{DIVERGED}: test loss is {judged.test_loss}")
        self._write_weights(order, seed, network, judged)
        return self._kept(order, seed, judged, "")

    def _kept(self, order: Order, seed: int, judged: Judgement | None, reason: str) -> FinalRun:
        return FinalRun(
            trial=order.finalist.trial,
            fingerprint=order.finalist.design.fingerprint,
            index=order.index,
            seed=seed,
            state="failed" if judged is None else "done",
            reason=reason,
            epochs=self.settings.epochs,
            train_images=len(self.fit),
            train_loss=judged.train_loss if judged else None,
            train_accuracy=judged.train_accuracy if judged else None,
            test_loss=judged.test_loss if judged else None,
            test_accuracy=judged.test_accuracy if judged else None,
            seconds=round(judged.seconds, 3) if judged else None,
            engine=judged.engine if judged else self.engine.name,
            device=self.engine.device,
            worker=self.worker,
            commit=self.commit,
            weights=order.finalist.weights(order.index) if judged else "",
        )

    def _write_weights(
        self, order: Order, seed: int, network: nn.Module, judged: Judgement
    ) -> None:
        metadata = weights.metadata_of(
            order.finalist.design, seed, self.settings.epochs, len(self.fit), judged.test_accuracy
        )
        path = self.folder / order.finalist.weights(order.index)
        files.write_bytes(path, weights.content(network, metadata))
