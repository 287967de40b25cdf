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
from search.goals import GOALS, lengths
from search.space import Space
from search.storage.driver import Driver
from search.storage.starting import GIVEN_DESIGN
from search.tables.describe import describe


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a trial proposes; `plan` is None where the rules refuse the design.

    `epochs` is the length of the full training. `identity` tells whether two proposals are the
    same, see `record.identity`.
    """

    trial: optuna.Trial
    design: Design
    recipe: Recipe
    epochs: int
    identity: str
    plan: Plan | None


def space_of(config: StudyConfig) -> Space:
    """The space that a study's proposals come from."""
    proposed = None
    if GOALS[config.goal].lengths is not None:
        proposed = lengths(config.goal, config.full_epochs)
    return Space(config.rules.strict, config.search_recipe, config.rules.parameter_limit, proposed)


def propose(driver: Driver, config: StudyConfig) -> Proposal:
    """Ask for a trial and note what it proposes, with every limit that it breaks.

    Optuna learns by how much limits are broken.
    """
    trial = driver.ask()
    space = space_of(config)
    with driver.gathered():
        design = space.suggest_design(trial)
        recipe = space.suggest_recipe(trial, config.recipe)
        epochs = space.suggest_epochs(trial, config.full_epochs)
        given = trial.user_attrs.get(GIVEN_DESIGN) or trial.user_attrs.get(record.OWN_DESIGN)
        if given is not None:
            design, epochs = Design.from_dict(given), config.full_epochs
        searched = recipe.to_dict() if config.search_recipe else None
        record.write_proposal(trial, design, searched, epochs if space.lengths else None)
        trial.set_user_attr("network", describe(design))
        plan, rejections = _checked(design, config, epochs)
        if rejections:
            record.write_rejections(trial, rejections)
        known = trial.constraints  # of a trial that was cut short
        for name, value in GOALS[config.goal].constraints(rejections).items():
            if name not in known:
                trial.set_constraint(name, value)
    identity = record.identity(design, searched, epochs if space.lengths else None)
    return Proposal(trial, design, recipe, epochs, identity, plan)


def _checked(
    design: Design, config: StudyConfig, epochs: int
) -> tuple[Plan | None, tuple[Rejection, ...]]:
    try:
        return config.rules.check(design, epochs), ()
    except Rejected as rejected:
        return None, rejected.rejections
