from __future__ import annotations

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_arch.design import AveragePool, Conv, Design, MaxPool
from mnist_arch.plan import plan
from mnist_arch.recipe import RECIPES
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejected, Rules, notes
from search.space import Space


def random_trial(seed: int) -> optuna.Trial:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask()


def test_the_first_point_is_the_assignments_design() -> None:
    trial = optuna.trial.FixedTrial(Space().first_params())
    assert Space().suggest_design(trial) == BASELINE  # type: ignore[arg-type]


def test_the_first_point_names_every_parameter_and_no_other() -> None:
    for space in (Space(), Space(search_recipe=True)):
        trial = random_trial(0)
        space.suggest_design(trial)
        space.suggest_recipe(trial, RECIPES["default"])
        assert trial.params.keys() == space.first_params().keys()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6))
def test_every_trial_suggests_the_same_parameters(seed: int) -> None:
    trial = random_trial(seed)
    Space().suggest_design(trial)
    assert trial.params.keys() == Space().first_params().keys()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6))
def test_every_proposal_is_ten_logits_with_two_pools_or_is_refused(seed: int) -> None:
    design = Space().suggest_design(random_trial(seed))
    assert sum(isinstance(layer, MaxPool) for layer in design.layers) == 2
    assert _limits_broken(design) <= {"feature map"}
    if not _limits_broken(design):
        assert plan(design).output_shape == (10, 1, 1)


def _limits_broken(design: Design, strict: bool = False) -> set[str]:
    """Names of the limits that a design breaks, whatever its size."""
    try:
        Rules(parameter_limit=None, strict=strict).check(design)
    except Rejected as rejected:
        return {broken.limit for broken in rejected.rejections}
    return set()


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("search_recipe", [False, True])
def test_the_first_point_can_be_queued_in_every_space(strict: bool, search_recipe: bool) -> None:
    space = Space(strict, search_recipe)
    study = optuna.create_study()
    study.enqueue_trial(space.first_params())
    trial = study.ask()
    assert space.suggest_design(trial) == BASELINE
    space.suggest_recipe(trial, RECIPES["default"])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6))
def test_a_strict_space_breaks_strict_rules_only_by_the_assignments_head_or_a_map_of_two_pixels(
    seed: int,
) -> None:
    design = Space(strict=True).suggest_design(random_trial(seed))
    if _limits_broken(design, strict=True) == {"fully connected layers in disguise"}:
        sides = [layer.output_shape[1] for layer in plan(design).layers[:-2]]
        assert min(sides) <= 2 or design.layers[-1] != AveragePool()


def head_of(head: str, strict: bool = False) -> Design:
    space = Space(strict)
    params = Space().first_params() | {"head": head}
    return space.suggest_design(optuna.trial.FixedTrial(params))  # type: ignore[arg-type]


def test_heads() -> None:
    assert head_of("average").layers[-2:] == (
        AveragePool(),
        Conv(10, 1, 0, batch_norm=False, relu=False, bias=True),
    )
    assert head_of("convolution").layers[-1].kernel == 3  # type: ignore[union-attr]
    averaged = head_of("convolution then average", strict=True)
    assert averaged.layers[-1] == AveragePool()
    assert notes(Rules(strict=True, parameter_limit=None).check(averaged)) == []


@pytest.mark.parametrize("choice", ["same", "valid"])
def test_padding_of_the_last_convolutions_decides_the_last_map(choice: str) -> None:
    params = Space().first_params() | {"padding_last": choice, "head": "average"}
    walked = plan(Space().suggest_design(optuna.trial.FixedTrial(params)))  # type: ignore[arg-type]
    last_map = walked.layers[-2].input_shape
    assert last_map == ((30, 7, 7) if choice == "same" else (30, 3, 3))


def test_recipes_are_searched_only_when_asked() -> None:
    recipe = RECIPES["default"]
    assert Space().suggest_recipe(random_trial(1), recipe) is recipe
    searched = Space(search_recipe=True).suggest_recipe(random_trial(1), recipe)
    assert searched.learning_rate != recipe.learning_rate
    assert 0 <= searched.augmentation.degrees <= 15
