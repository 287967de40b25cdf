"""Objective: one trial of a study, from the proposal to the value that Optuna is told."""

from __future__ import annotations

from dataclasses import dataclass

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from mnist_arch.build import build
from mnist_arch.data import Digits
from mnist_arch.design import Design
from mnist_arch.engine import Engine, engine_of, gather_for, prepare
from mnist_arch.recipe import Recipe
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejected, Rejection
from mnist_arch.training import seed_everything, train
from search import record
from search.failures import TrainingFailed, failures_named
from search.seeds import trial_seed
from search.settings import Settings
from search.study import host_name


class AlreadyInTraining(Exception):
    """The proposal equals a design that another worker trains at this moment.

    Optuna records the trial as failed, from which TPE learns nothing: its value is not known yet.
    """


@dataclass(frozen=True, slots=True)
class Objective:
    """What Optuna calls with a trial: propose, check, train, record.

    `fit` and `validation` stand on the engine's device. `worker` names who trains.
    """

    settings: Settings
    engine: Engine
    fit: Digits
    validation: Digits
    worker: str

    def __call__(self, trial: optuna.Trial) -> float:
        """Return the validation accuracy after the last epoch.

        Raises `TrialPruned` for a proposal that is rejected, pruned or failed in training; the
        trial's attributes say which.
        """
        trial.set_user_attr("host", host_name())
        trial.set_user_attr("worker", self.worker)
        design = self.settings.space.suggest_design(trial)
        recipe = self.settings.space.suggest_recipe(trial, self.settings.recipe)
        searched = recipe.to_dict() if self.settings.search_recipe else None
        record.write_proposal(trial, design, searched)
        self._require_allowed(trial, design)
        earlier = _same_proposal(trial, record.identity(design, searched))
        if earlier is not None:
            return _repeat(trial, earlier)
        return self._train(trial, design, recipe)

    def _require_allowed(self, trial: optuna.Trial, design: Design) -> None:
        """Record the limits that a design breaks and end its trial, if it breaks any.

        Optuna learns by how much: a constraint above zero, relative to the limit.
        """
        rejections: tuple[Rejection, ...] = ()
        try:
            self.settings.rules.check(design, self.settings.epochs)
        except Rejected as rejected:
            rejections = rejected.rejections
        broken = {r.limit: abs(r.counted - r.allowed) / max(r.allowed, 1) for r in rejections}
        trial.set_constraint("parameters", broken.pop("parameters", 0.0))
        trial.set_constraint("structure", sum(broken.values()))
        if rejections:
            record.write_rejections(trial, rejections)
            raise optuna.TrialPruned(str(Rejected(rejections)))

    def _train(self, trial: optuna.Trial, design: Design, recipe: Recipe) -> float:
        """Train a design, telling Optuna after each epoch; a failure is recorded, not raised.

        The baseline is never pruned, so that every study has its figure.
        """
        seed = trial_seed(self.settings.seed, trial.number, "training")
        trial.set_user_attr("seed", seed)
        trial.set_user_attr("device", self.engine.device)
        try:
            with failures_named():
                return self._epochs(trial, design, recipe, seed)
        except TrainingFailed as failed:
            record.write_state(trial, "failed", str(failed))
            raise optuna.TrialPruned(str(failed)) from None

    def _epochs(self, trial: optuna.Trial, design: Design, recipe: Recipe, seed: int) -> float:
        seed_everything(seed)
        network = build(design, self.settings.rules)
        prepared = prepare(network, self.engine, torch.get_num_threads())
        trial.set_user_attr("engine", engine_of(prepared))
        accuracy = 0.0
        for epoch in train(
            prepared, recipe, self.settings.epochs, self.fit, self.validation, seed,
            gather_for(self.engine),
        ):  # fmt: skip
            accuracy = epoch.validation_accuracy
            record.write_epoch(trial, epoch)
            trial.report(accuracy, epoch.epoch)
            last = epoch.epoch == self.settings.epochs
            if not last and trial.should_prune() and design != BASELINE:
                reason = f"below the best third after {epoch.epoch} epochs"
                record.write_state(trial, "pruned", reason)
                raise optuna.TrialPruned(reason)
        passed = accuracy >= self.settings.rules.target
        record.write_state(trial, "passed" if passed else "missed")
        return accuracy


def _same_proposal(trial: optuna.Trial, identity: str) -> FrozenTrial | None:
    """The trial that trained the same proposal before, if any.

    Raises `AlreadyInTraining` if another worker trains it now.
    """
    for other in trial.study.get_trials(deepcopy=False):
        if other.number == trial.number or other.user_attrs.get("identity") != identity:
            continue
        if other.state == TrialState.RUNNING and other.number < trial.number:
            record.write_state(trial, "repeat", f"the same as trial {other.number}, in training")
            trial.set_user_attr("repeat_of", other.number)
            raise AlreadyInTraining
        finished = other.state in (TrialState.COMPLETE, TrialState.PRUNED)
        if finished and other.user_attrs.get("state") in record.TRAINED:
            return other
    return None


def _repeat(trial: optuna.Trial, earlier: FrozenTrial) -> float:
    """Tell Optuna what the same proposal was worth before, without training it again."""
    record.write_state(trial, "repeat", f"the same as trial {earlier.number}")
    trial.set_user_attr("repeat_of", earlier.number)
    if earlier.value is not None and earlier.state == TrialState.COMPLETE:
        return earlier.value
    for step, value in earlier.intermediate_values.items():
        trial.report(value, step)
    raise optuna.TrialPruned(f"the same as trial {earlier.number}")
