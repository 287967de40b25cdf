"""Proposals: one proposal of Optuna's, noted, and held against the rules."""

from __future__ import annotations

from dataclasses import dataclass

import optuna

from mnist_arch.design import Design
from mnist_arch.plan import Plan
from mnist_arch.recipe import Recipe
from mnist_arch.rules import Rejected, Rejection
from search import record
from search.config import StudyConfig
from search.driver import Driver
from search.goals import GOALS
from search.space import Space
from search.tables.describe import describe


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a trial proposes; `plan` is None where the rules refuse the design.

    `identity` tells whether two proposals are the same, see `record.identity`.
    """

    trial: optuna.Trial
    design: Design
    recipe: Recipe
    identity: str
    plan: Plan | None


def propose(driver: Driver, config: StudyConfig) -> Proposal:
    """Ask for a trial and note what it proposes, with every limit that it breaks.

    Optuna learns by how much limits are broken.
    """
    trial = driver.ask()
    space = Space(config.rules.strict, config.search_recipe)
    design = space.suggest_design(trial)
    recipe = space.suggest_recipe(trial, config.recipe)
    searched = recipe.to_dict() if config.search_recipe else None
    record.write_proposal(trial, design, searched)
    trial.set_user_attr("network", describe(design))
    plan, rejections = _checked(design, config)
    if rejections:
        record.write_rejections(trial, rejections)
    known = driver.look(trial.number).constraints  # of a trial that was cut short
    for name, value in GOALS[config.goal].constraints(rejections).items():
        if name not in known:
            trial.set_constraint(name, value)
    return Proposal(trial, design, recipe, record.identity(design, searched), plan)


def _checked(design: Design, config: StudyConfig) -> tuple[Plan | None, tuple[Rejection, ...]]:
    try:
        return config.rules.check(design, config.full_epochs), ()
    except Rejected as rejected:
        return None, rejected.rejections
