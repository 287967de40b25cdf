from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_arch.design import (
    AveragePool,
    Conv,
    DepthwiseConv,
    Design,
    Dropout,
    LocalAveragePool,
    MaxPool,
    Sum,
)
from mnist_arch.layers import Activation
from mnist_arch.plan import plan
from mnist_arch.recipe import RECIPES
from mnist_arch.references import BASELINE, REFERENCE_DESIGNS
from mnist_arch.rules import Rejected, Rules, notes
from search.space import Space, scaled, work


def random_trial(seed: int) -> optuna.Trial:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask()


SPACE = Space()

RESULTS = Path(__file__).parents[2] / "results"


def suggested(params: dict[str, object], space: Space = SPACE) -> Design:
    """The design at the first point, but for these parameters."""
    fixed = optuna.trial.FixedTrial(space.first_params() | params)
    return space.suggest_design(fixed)  # type: ignore[arg-type]


def test_the_first_point_is_the_assignments_design_without_biases() -> None:
    layers = [
        replace(layer, bias=False) if isinstance(layer, Conv) else layer
        for layer in BASELINE.layers
    ]
    assert suggested({}) == Design(tuple(layers))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_no_design_takes_several_times_as_long_as_the_assignments(seed: int) -> None:
    assert work(plan(Space().suggest_design(random_trial(seed)))) <= 1.3 * work(plan(BASELINE))


def test_work_is_multiply_adds_and_values_of_maps() -> None:
    """One convolution 3x3 of 2 channels, 28x28, then 10 logits of a 1x1 over the average."""
    logits = Conv(10, 1, 0, batch_norm=False, relu=False)
    walked = plan(Design((Conv(2), AveragePool(), logits)))
    assert work(walked) == 28 * 28 * 2 * 9 + 2 * 10 + 52 * (28 * 28 * 2 + 10)


@pytest.mark.parametrize(("activation", "more"), [("relu", 0), ("silu", 35), ("hard_swish", 35)])
def test_a_smooth_value_is_more_work(activation: Activation, more: int) -> None:
    logits = Conv(10, 1, 0, batch_norm=False, relu=False)
    plain, smooth = (
        work(plan(Design((Conv(2, activation=name), AveragePool(), logits))))
        for name in ("none", activation)
    )
    assert smooth - plain == more * 28 * 28 * 2


def test_the_first_block_is_a_convolution_without_a_sum() -> None:
    for seed in range(20):
        layers = Space().suggest_design(random_trial(seed)).layers
        assert isinstance(layers[0], Conv)
        assert layers[0].kernel in (3, 5)
        assert not isinstance(layers[1], Sum)


def test_the_first_point_names_every_parameter_and_no_other() -> None:
    for space in (Space(), Space(search_recipe=True), Space(lengths=(2, 8))):
        trial = random_trial(0)
        space.suggest_design(trial)
        space.suggest_recipe(trial, RECIPES["default"])
        space.suggest_epochs(trial, 19)
        assert trial.params.keys() == space.first_params().keys()


def starts_of(limit: int | None) -> list[Design]:
    """The designs that a search under a limit begins at, behind the assignment's."""
    space = Space(parameter_limit=limit)
    starts = [optuna.trial.FixedTrial(params) for params in space.starts()]
    return [space.suggest_design(fixed) for fixed in starts[1:]]  # type: ignore[arg-type]


def channels(design: Design) -> list[int]:
    """Of its convolutions that are not depthwise."""
    return [layer.out_channels for layer in design.layers if isinstance(layer, Conv)]


@pytest.mark.parametrize(
    ("limit", "widths"), [(4_392, (16, 16, 31, 15, 16, 24, 31)), (3_000, None)]
)
def test_a_small_search_also_begins_at_the_smallest_published_network(
    limit: int, widths: tuple[int, ...] | None
) -> None:
    """Its widths, a little narrower; a batch norm and an activation more, behind the pool."""
    design = starts_of(limit)[0]
    assert 0.95 * limit < plan(design).parameters < limit
    published = REFERENCE_DESIGNS["published-4392"]
    maps = [[node.output_shape[1] for node in plan(d).nodes] for d in (design, published)]
    assert set(maps[0]) == set(maps[1])
    assert widths is None or channels(design) == [*widths, 10]


def test_a_larger_one_begins_at_a_larger_one_of_that_layout() -> None:
    """What is 4,392 parameters small passes by luck only."""
    assert channels(starts_of(None)[0]) == [16, 16, 32, 16, 32, 32, 32, 10]
    sizes = [plan(starts_of(limit)[0]).parameters for limit in (None, 5_000, 4_394, 4_393)]
    assert sizes == [5_888, pytest.approx(4_900, abs=100), pytest.approx(4_390, abs=100), 4_294]


@pytest.mark.parametrize(
    ("start", "study", "trial", "limit", "smaller"),
    [(1, "seed-1", "105", 3_000, 2_969), (2, "goal-pareto-0", "81", 8_000, 7_692)],
)
def test_every_search_begins_at_layouts_that_ours_have_found(
    start: int, study: str, trial: str, limit: int, smaller: int
) -> None:
    """Those that `results` has, narrower where less is allowed."""
    with (RESULTS / study / "trials.csv").open() as file:
        found = next(row for row in csv.DictReader(file) if row["trial"] == trial)
    layers = Design.from_json(found["design"]).layers
    assert starts_of(None)[start] == Design(layers)
    narrower = starts_of(limit)[start]
    assert plan(narrower).parameters == smaller
    widths = iter(channels(narrower))
    assert narrower.layers == tuple(
        replace(layer, out_channels=next(widths)) if isinstance(layer, Conv) else layer
        for layer in layers
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_every_trial_suggests_the_same_parameters(seed: int) -> None:
    trial = random_trial(seed)
    Space().suggest_design(trial)
    assert trial.params.keys() == Space().first_params().keys()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2_000, 3_000, 8_000, 20_000, None]))
def test_a_proposal_has_the_parameters_that_it_proposes_at_the_most(
    seed: int, limit: int | None
) -> None:
    trial = random_trial(seed)
    walked = plan(Space(parameter_limit=limit).suggest_design(trial))
    assert walked.output_shape == (10, 1, 1)
    assert walked.parameters <= trial.params["parameters"]


@pytest.mark.parametrize("limit", [2_000, 3_000, 8_000, 20_000])
def test_at_least_95_percent_of_proposals_can_be_trained(limit: int) -> None:
    rules, space = Rules(parameter_limit=limit), Space(parameter_limit=limit)
    broken = sum(bool(_broken(space.suggest_design(random_trial(n)), rules)) for n in range(100))
    assert broken <= 5


def _broken(design: Design, rules: Rules) -> set[str]:
    """Names of the limits that a design breaks."""
    try:
        rules.check(design)
    except Rejected as rejected:
        return {broken.limit for broken in rejected.rejections}
    return set()


def test_the_space_reaches_every_layer() -> None:
    designs = [Space().suggest_design(random_trial(seed)) for seed in range(60)]
    layers = [layer for design in designs for layer in design.layers]
    kinds = {type(layer) for layer in layers}
    assert kinds == {
        AveragePool, Conv, DepthwiseConv, Dropout, LocalAveragePool, MaxPool, Sum,
    }  # fmt: skip
    convolutions = [layer for layer in layers if isinstance(layer, Conv)]
    assert {layer.kernel for layer in convolutions} >= {1, 3, 5}
    assert {layer.stride for layer in convolutions} == {1, 2}
    assert {layer.activation for layer in convolutions} == {"relu", "silu", "hard_swish", "none"}
    sizes = [plan(design).parameters for design in designs]
    assert min(sizes) < 2_500
    assert max(sizes) > 15_000


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("search_recipe", [False, True])
def test_every_start_can_be_queued_in_every_space(strict: bool, search_recipe: bool) -> None:
    space = Space(strict, search_recipe)
    for params in space.starts():
        queued = optuna.create_study()
        queued.enqueue_trial(params)
        trial = queued.ask()
        space.suggest_design(trial)
        assert trial.params["head"] == params["head"]
    study = optuna.create_study()
    study.enqueue_trial(space.first_params())
    trial = study.ask()
    assert space.suggest_design(trial) == suggested({})
    space.suggest_recipe(trial, RECIPES["default"])


def test_the_first_point_of_a_smaller_space_is_a_smaller_design() -> None:
    walked = plan(suggested({}, Space(parameter_limit=8_000)))
    assert 6_500 < walked.parameters < 8_000


def test_a_separable_block_is_depthwise_then_1x1() -> None:
    layers = suggested({"kind_3": "separable", "kernel_3": 5, "dropout_3": False}).layers
    assert layers[5] == DepthwiseConv(5, 2)
    assert isinstance(layers[6], Conv)
    assert layers[6].kernel == 1


def test_a_sum_takes_the_width_of_the_map_that_it_adds() -> None:
    chosen: dict[str, object] = {"sum_4": True, "dropout_3": False, "dropout_4": False}
    assert not any(isinstance(layer, Sum) for layer in suggested(chosen).layers)
    design = suggested(chosen | {"sums": True})
    sums = [index for index, layer in enumerate(design.layers) if isinstance(layer, Sum)]
    assert len(sums) == 1
    assert plan(design).output_shape == (10, 1, 1)


def test_there_may_be_one_pool_and_pools_may_be_strides_or_averages() -> None:
    one = suggested({"pool_2_distance": 0})
    assert sum(isinstance(layer, MaxPool) for layer in one.layers) == 1
    averages = suggested({"pool_kind": "average"})
    assert sum(isinstance(layer, LocalAveragePool) for layer in averages.layers) == 2
    strides = [layer.stride for layer in suggested({"pool_kind": "stride"}).layers
               if isinstance(layer, Conv)]  # fmt: skip
    assert strides.count(2) == 2


def test_a_1x1_layer_of_half_the_channels_may_follow_a_pool() -> None:
    layers = suggested({"pointwise_1": True}).layers
    after = layers[layers.index(MaxPool()) + 1]
    assert isinstance(after, Conv)
    assert (after.kernel, after.batch_norm) == (1, True)
    before = layers[2]
    assert isinstance(before, Conv)
    assert after.out_channels == before.out_channels // 2


def test_heads() -> None:
    assert suggested({"head": "average"}).layers[-2:] == (
        AveragePool(),
        Conv(10, 1, 0, batch_norm=False, relu=False),
    )
    assert suggested({}).layers[-1].kernel == 3  # type: ignore[union-attr]
    wide = suggested({"pool_2_distance": 0, "padding_5": "same", "padding_6": "same"})
    assert wide.layers[-2] == AveragePool()  # no kernel over a map of 14x14
    averaged = suggested({"head": "convolution then average"}, Space(strict=True))
    assert averaged.layers[-1] == AveragePool()
    assert notes(Rules(strict=True, parameter_limit=None).check(averaged)) == []


def test_the_length_of_a_training_is_proposed_only_when_asked() -> None:
    assert Space().suggest_epochs(random_trial(1), 19) == 19
    assert 2 <= Space(lengths=(2, 8)).suggest_epochs(random_trial(1), 19) <= 8


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(4, 32), min_size=2, max_size=4), st.integers(300, 20_000)
)  # fmt: skip
def test_widths_are_scaled_to_the_parameters_as_by_trying_every_factor(
    widths: list[int], parameters: int
) -> None:
    def design_of(scaled_widths: Sequence[int]) -> Design:
        convs = [Conv(width, 3, 1) for width in scaled_widths]
        return Design((*convs, AveragePool(), Conv(10, 1, 0, batch_norm=False, relu=False)))

    def at(exponent: float) -> int:
        return plan(design_of([max(2, round(w * 2**exponent)) for w in widths])).parameters

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("search.space.MOST_WORK", math.inf)
        found = plan(scaled(design_of, widths, parameters)).parameters
    tried = [at(-4 + 9 * step / 1_000) for step in range(1_001)]
    fitting = [count for count in tried if count <= parameters]
    assert found == (max(fitting) if fitting else min(tried)) or found >= max(fitting)


def test_recipes_are_searched_only_when_asked() -> None:
    recipe = RECIPES["default"]
    assert Space().suggest_recipe(random_trial(1), recipe) is recipe
    searched = Space(search_recipe=True).suggest_recipe(random_trial(1), recipe)
    assert searched.learning_rate != recipe.learning_rate
    assert 0 <= searched.augmentation.degrees <= 15
