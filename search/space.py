"""Space: an Optuna trial -> a design, a recipe and a length; the only `suggest_*` calls.

A design is a row of blocks, two places for pools and a head. Widths are proportions: they are
scaled together until the design has the number of parameters that the trial proposes, so that
nearly every proposal can be trained. Every parameter is suggested in every trial, used or not, so
that Optuna's joint space (the intersection over trials) is the whole space. No layer has biases.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mnist_arch.design import (
    AveragePool,
    Conv,
    DepthwiseConv,
    Design,
    Dropout,
    Layer,
    LocalAveragePool,
    MaxPool,
    Sum,
)
from mnist_arch.plan import CLASSES, Plan, PlanError, plan
from mnist_arch.recipe import Recipe

if TYPE_CHECKING:
    import optuna

VERSION = 6
"""Grows with every change of the space; a study refuses to continue under another."""

MOST_BLOCKS = 8
LEAST_PARAMETERS, MOST_PARAMETERS = 1_500, 20_000
"""Parameters that are proposed, where the rules do not say fewer."""

MOST_WORK = 4_200_000
"""Work of a training step for one image, in multiply-adds, that a design may have, so that no
training takes several times as long as the others: 1.3 times that of the assignment's design. While
SiLU did not count, full trainings of `results/default-0` and `default-1` took 1.8 times as long as
the assignment's on average, and a search with its confirmation 66 minutes and more, now half."""

VALUE_WORK, SMOOTH_VALUE_WORK = 52, 87
"""Multiply-adds that take as long as a value of a map, which is written and read several times; and
as a value of SiLU or hard swish: by regression of 65 full trainings of `results/default-0`,
`default-1` and `goal-pareto-0` (lanes, AVX-512), 1.67 s an epoch for a million multiply-adds, 0.087
s for a thousand values, 0.145 s for a thousand smooth ones. Correlation with the measured seconds
0.92; 0.87 if all values count alike."""

_SMOOTH = ("silu", "hard_swish")
_LEAST_WIDTH, _WIDTHS = 2, (4, 32)
_LARGEST_KERNEL_OF_A_HEAD = 5
_HALVINGS = 24

_ASSIGNMENT_WIDTHS = (10, 10, 20, 20, 20, 30)
_SEPARABLE_WIDTHS = (16, 16, 32, 16, 24, 32)
"""Of `published-4392` in `mnist_arch.references`: a convolution and five separable blocks."""

_SMALLEST_PUBLISHED = 4_392

_LARGER_WIDTHS = (16, 16, 32, 32, 32, 32)
"""Of the same blocks, wider behind the pool, where a map is small and costs little work: 5,888
parameters, validation accuracy after 19 epochs 99.51, 99.43 and 99.39 % (three seeds); those of the
smallest published network, 4,294 in this space, 99.30, 99.35 and 99.43 %."""

_STRIDED_WIDTHS = (16, 16, 32, 16, 24)
"""Of a convolution of 5x5 and four separable blocks, of which one halves the map by its stride:
trial 105 of `results/seed-1`, 3,721 parameters, found from a layout that `results/class-next` found
from the published one; validation accuracy 99.43 %, test accuracy 99.427 % on three seeds."""

DEFAULT_RECIPE_PARAMS: dict[str, Any] = {
    "learning_rate": Recipe().learning_rate,
    "weight_decay": Recipe().weight_decay,
    "augmentation_strength": 1.0,
}
"""The point of the recipe's space that is the default recipe."""


@dataclass(frozen=True, slots=True)
class Space:
    """What a study may propose.

    `strict` offers a head that computes nothing like a fully connected layer, beside the
    assignment's, which the strict rules then refuse by name. `search_recipe` also searches the
    peak learning rate, the weight decay and the strength of the augmentation. Designs have fewer
    parameters than `parameter_limit` (None: than 20,000). `lengths` are the smallest and the
    largest number of epochs of a full training, where that is proposed, too.
    """

    strict: bool = False
    search_recipe: bool = False
    parameter_limit: int | None = MOST_PARAMETERS
    lengths: tuple[int, int] | None = None

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads on offer."""
        allowed = "convolution then average" if self.strict else "average"
        return (allowed, "convolution")

    def first_params(self) -> dict[str, Any]:
        """The point nearest to the assignment's own design, under the default recipe.

        It has no biases; where fewer parameters are allowed than that design has, it is smaller.
        """
        widths = (*_ASSIGNMENT_WIDTHS, *[30] * (MOST_BLOCKS - len(_ASSIGNMENT_WIDTHS)))
        params: dict[str, Any] = {
            "blocks": len(_ASSIGNMENT_WIDTHS), "activation": "relu", "activation_first": False,
            "sums": False, "dropout_kind": "channel", "dropout_rate": 0.1, "pool_kind": "max",
            "pool_1_after": 2, "pool_2_distance": 2, "dropout_pool_1": False,
            "dropout_pool_2": True, "pointwise_1": False, "pointwise_2": False,
            "head": "convolution", "parameters": min(18_430.0, self._most),
        }  # fmt: skip
        for number, width in enumerate(widths, 1):
            params |= {
                f"width_{number}": width, f"kernel_{number}": 3,
                f"padding_{number}": "same" if number <= 4 else "valid",
                f"dropout_{number}": number <= 4,
            }  # fmt: skip
            if number > 1:
                params |= {f"kind_{number}": "conv", f"sum_{number}": False}
        params |= DEFAULT_RECIPE_PARAMS if self.search_recipe else {}
        return params | ({} if self.lengths is None else {"epochs": self.lengths[1]})

    def separable_params(
        self, widths: Sequence[int] = _SEPARABLE_WIDTHS, parameters: int = _SMALLEST_PUBLISHED
    ) -> dict[str, Any]:
        """The point nearest to `published-4392`, the smallest published network; or one like it.

        A search that begins there and at the assignment's design has the best of both kinds of
        layers to change from its first proposals on.
        """
        params = self.first_params() | {
            "activation_first": True, "pool_1_after": 3, "pool_2_distance": 0,
            "dropout_pool_2": False, "pointwise_1": True, "head": self.heads[0],
            "parameters": min(float(parameters), self._most),
        }  # fmt: skip
        widths = (*widths, *[32] * (MOST_BLOCKS - len(widths)))
        for number, width in enumerate(widths, 1):
            params |= {
                f"width_{number}": width, f"padding_{number}": "valid", f"dropout_{number}": False
            }  # fmt: skip
            if number > 1:
                params[f"kind_{number}"] = "separable"
        return params

    def strided_params(self) -> dict[str, Any]:
        """A small layout that a search of ours found, as large, or as large as is allowed."""
        return self.separable_params(_STRIDED_WIDTHS, 3_892) | {
            "blocks": 5, "kernel_1": 5, "kernel_5": 5, "activation": "silu",
            "pool_kind": "stride", "pointwise_1": False,
        }  # fmt: skip

    def smooth_params(self) -> dict[str, Any]:
        """A large layout that a search of ours found from the assignment's: SiLU, average pools.

        Its last block is separable: trial 81 of `results/goal-pareto-0`, 12,368 parameters, or as
        many as are allowed; validation accuracy 99.51 %, and with 10,548 and 9,676 parameters
        (trials 301 and 170) 99.49 and 99.48 %, one run each.
        """
        return self.first_params() | {
            "parameters": min(13_024.0, self._most), "activation": "silu",
            "pool_kind": "average", "padding_4": "valid", "kind_6": "separable",
            "dropout_rate": 0.08,
        }  # fmt: skip

    def starts(self) -> list[dict[str, Any]]:
        """Where a study begins: its first proposals, the best that is known of each kind of layers.

        The smallest published network passes by luck only, on the images that a search trains on,
        so a larger one of its layout takes its place where that is allowed.
        """
        separable = self.separable_params()
        if self._most > _SMALLEST_PUBLISHED:
            separable = self.separable_params(_LARGER_WIDTHS, 6_000)
        return [self.first_params(), separable, self.strided_params(), self.smooth_params()]

    @property
    def _most(self) -> float:
        """The most parameters that are proposed."""
        return float(min(self.parameter_limit or MOST_PARAMETERS, MOST_PARAMETERS) - 1)

    def suggest_design(self, trial: optuna.Trial) -> Design:
        """Suggest a design: valid as a specification, perhaps broken under the rules."""
        blocks = [_suggest_block(trial, number) for number in range(1, MOST_BLOCKS + 1)]
        count = trial.suggest_int("blocks", 3, MOST_BLOCKS)
        style = _suggest_style(trial)
        pools = _suggest_pools(trial)
        head = trial.suggest_categorical("head", self.heads)
        least = min(LEAST_PARAMETERS, self._most)
        parameters = trial.suggest_float("parameters", least, self._most, log=True)
        network = _Network(tuple(blocks[:count]), style, pools, head)
        return scaled(network.design, [block.width for block in blocks[:count]], int(parameters))

    def suggest_recipe(self, trial: optuna.Trial, recipe: Recipe) -> Recipe:
        """Suggest a recipe around `recipe`, or return it as it is if recipes are not searched."""
        if not self.search_recipe:
            return recipe
        searched = replace(
            recipe,
            learning_rate=trial.suggest_float("learning_rate", 0.02, 0.4, log=True),
            weight_decay=trial.suggest_float("weight_decay", 1e-6, 2e-3, log=True),
        )
        strength = trial.suggest_float("augmentation_strength", 0.0, 1.5)
        return searched.with_augmentation_strength(strength)

    def suggest_epochs(self, trial: optuna.Trial, epochs: int) -> int:
        """Suggest how long a full training is, or return `epochs` if that is not searched."""
        if self.lengths is None:
            return epochs
        return trial.suggest_int("epochs", *self.lengths)


@dataclass(frozen=True, slots=True)
class _Block:
    """One block: `kind` is conv or separable (depthwise, then 1x1)."""

    kind: str
    width: int
    kernel: int
    is_padded: bool
    has_sum: bool
    has_dropout: bool


@dataclass(frozen=True, slots=True)
class _Style:
    """What all blocks of a design share."""

    activation: str
    activation_first: bool
    has_sums: bool
    dropout: Dropout


@dataclass(frozen=True, slots=True)
class _Pool:
    """A halving of the map: `kind` is max, average, or stride (of the block it follows).

    A 1x1 layer of half the channels may follow it.
    """

    kind: str
    has_dropout: bool
    has_pointwise: bool


def _suggest_block(trial: optuna.Trial, number: int) -> _Block:
    """The first block is a convolution: over one channel, anything else is a single filter."""
    kind, has_sum = "conv", False
    if number > 1:
        kind = trial.suggest_categorical(f"kind_{number}", ("conv", "separable"))
        has_sum = trial.suggest_categorical(f"sum_{number}", (False, True))
    return _Block(
        kind,
        trial.suggest_int(f"width_{number}", *_WIDTHS, log=True),
        trial.suggest_categorical(f"kernel_{number}", (3, 5)),
        trial.suggest_categorical(f"padding_{number}", ("same", "valid")) == "same",
        has_sum,
        trial.suggest_categorical(f"dropout_{number}", (False, True)),
    )


def _suggest_style(trial: optuna.Trial) -> _Style:
    kind = trial.suggest_categorical("dropout_kind", ("channel", "element"))
    rate = trial.suggest_float("dropout_rate", 0.01, 0.1, step=0.01)
    return _Style(
        trial.suggest_categorical("activation", ("relu", "silu", "hard_swish")),
        trial.suggest_categorical("activation_first", (False, True)),
        trial.suggest_categorical("sums", (False, True)),
        Dropout(round(rate, 2), "channel" if kind == "channel" else "element"),
    )


def _suggest_pools(trial: optuna.Trial) -> dict[int, _Pool]:
    """The pools by the number of the block that they follow; the second may be missing."""
    kind = trial.suggest_categorical("pool_kind", ("max", "average", "stride"))
    first = trial.suggest_int("pool_1_after", 1, 3)
    second = first + trial.suggest_int("pool_2_distance", 0, 4)  # 0: there is none
    pools = [
        _Pool(
            kind,
            trial.suggest_categorical(f"dropout_pool_{number}", (False, True)),
            trial.suggest_categorical(f"pointwise_{number}", (False, True)),
        )
        for number in (1, 2)
    ]
    return {second: pools[1], first: pools[0]}


@dataclass(slots=True)
class _Network:
    """Builds the design of given widths."""

    blocks: tuple[_Block, ...]
    style: _Style
    pools: dict[int, _Pool]
    head: str
    _layers: list[Layer] = field(default_factory=list)
    _channels: int = 1
    _side: int = 28

    def design(self, widths: Sequence[int]) -> Design:
        """The design whose blocks have these widths."""
        self._layers, self._channels, self._side = [], 1, 28
        for number, (block, width) in enumerate(zip(self.blocks, widths, strict=True), 1):
            self._add(block, width, self.pools.get(number))
        return Design((*self._layers, *_head(self.head, self._side)))

    def _add(self, block: _Block, width: int, pool: _Pool | None) -> None:
        pools = pool is not None and self._side >= 4  # a smaller map is not halved
        strides = pools and pool is not None and pool.kind == "stride"
        stride, kernel = 2 if strides else 1, block.kernel
        sums = self.style.has_sums and block.has_sum and stride == 1
        padded = block.is_padded or sums or self._side < kernel + 2  # nothing would be left
        padding = kernel // 2 if padded else 0
        before = len(self._layers)
        self._convolve(block.kind, self._channels if sums else width, kernel, padding, stride)
        if sums:
            self._layers.append(Sum(before))
        if block.has_dropout:
            self._layers.append(self.style.dropout)
        self._side = (self._side + 2 * padding - kernel) // stride + 1
        if pools and pool is not None:
            if not strides:
                self._layers.append(LocalAveragePool() if pool.kind == "average" else MaxPool())
                self._side //= 2
            if pool.has_dropout:
                self._layers.append(self.style.dropout)
            if pool.has_pointwise:
                self._convolve("conv", max(_LEAST_WIDTH, self._channels // 2), 1, 0, 1)

    def _convolve(self, kind: str, width: int, kernel: int, padding: int, stride: int) -> None:
        style: Any = {
            "activation": self.style.activation,
            "activation_first": self.style.activation_first,
        }
        if kind == "separable":
            self._layers.append(DepthwiseConv(kernel, padding, stride=stride, **style))
            kernel, padding, stride = 1, 0, 1
        self._layers.append(Conv(width, kernel, padding, stride=stride, **style))
        self._channels = width


def _head(name: str, side: int) -> tuple[Layer, ...]:
    """The layers from the last map, of `side` pixels, to ten logits."""
    logits = Conv(CLASSES, 1, 0, batch_norm=False, relu=False)
    if name == "convolution then average":
        return (replace(logits, kernel=3, padding=1), AveragePool())
    if name == "convolution" and side <= _LARGEST_KERNEL_OF_A_HEAD:
        return (replace(logits, kernel=side),)
    return (AveragePool(), logits)


def scaled(
    design_of: Callable[[Sequence[int]], Design], widths: Sequence[int], parameters: int
) -> Design:
    """The design with the most parameters up to `parameters` whose widths keep their proportions.

    `design_of` makes a design of given widths. Widths are multiplied by one factor and rounded, to
    at least 2, so that it has no more than `MOST_WORK` either; where even the least are too many,
    that design is returned.
    """

    def at(exponent: float) -> tuple[int, ...]:
        return tuple(max(_LEAST_WIDTH, round(width * 2**exponent)) for width in widths)

    @functools.cache  # the last halvings move no width
    def fits(some: tuple[int, ...]) -> bool:
        return _fits(design_of(some), parameters)

    low, high = -4.0, 5.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if fits(at(middle)):
            low = middle
        else:
            high = middle
    return design_of(at(low))


def work(walked: Plan) -> int:
    """What a training step costs for one image, in multiply-adds; see `VALUE_WORK`."""
    values = sum(math.prod(node.output_shape) for node in walked.nodes if node.macs)
    smooth = sum(
        math.prod(node.output_shape) for node in walked.nodes if node.activation in _SMOOTH
    )
    return walked.macs + VALUE_WORK * values + (SMOOTH_VALUE_WORK - VALUE_WORK) * smooth


def _fits(design: Design, parameters: int) -> bool:
    try:
        walked = plan(design)
        return walked.parameters <= parameters and work(walked) <= MOST_WORK
    except PlanError:
        return True  # whatever its widths: the rules refuse it and name the layer
