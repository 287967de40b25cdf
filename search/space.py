"""Space: an Optuna trial -> a design and a recipe; the only `suggest_*` calls.

Every parameter is suggested in every trial, used or not, so that Optuna's joint space (the
intersection over trials) is the whole space.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mnist_arch.design import AveragePool, Conv, Design, Dropout, Layer, MaxPool
from mnist_arch.plan import CLASSES, PlanError, plan
from mnist_arch.recipe import Recipe

if TYPE_CHECKING:
    import optuna

VERSION = 1
"""Grows with every change of the space; a study refuses to continue under another."""

MAX_CONVS = 6
_WIDTHS = ((4, 16), (4, 24), (4, 24), (4, 32), (4, 32), (4, 32))
"""Smallest and largest width of each convolution before the head."""

ASSIGNMENT_PARAMS: dict[str, Any] = {
    "convs": 6,
    **dict(zip((f"width_{i}" for i in range(1, 7)), (10, 10, 20, 20, 20, 30), strict=True)),
    "kernel_1": 3,
    "padding_1": "same",
    "padding_last": "valid",
    "pool_1_after": 2,
    "pool_2_after": 4,
    **{f"dropout_{i}": i <= 4 for i in range(1, 7)},
    "dropout_pool_1": False,
    "dropout_pool_2": True,
    "dropout_kind": "channel",
    "dropout_rate": 0.1,
    "head": "convolution",
    "bias": True,
}
"""The point of the space that is the assignment's own design: trial 0 of every study."""

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
    peak learning rate, the weight decay and the strength of the augmentation.
    """

    strict: bool = False
    search_recipe: bool = False

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads on offer."""
        allowed = "convolution then average" if self.strict else "average"
        return (allowed, "convolution")

    def first_params(self) -> dict[str, Any]:
        """Parameters of trial 0: the assignment's design under the default recipe."""
        return ASSIGNMENT_PARAMS | (DEFAULT_RECIPE_PARAMS if self.search_recipe else {})

    def suggest_design(self, trial: optuna.Trial) -> Design:
        """Suggest a design: valid as a specification, perhaps broken under the rules."""
        convs = trial.suggest_int("convs", 4, MAX_CONVS)
        widths = [
            trial.suggest_int(f"width_{position}", low, high)
            for position, (low, high) in enumerate(_WIDTHS, 1)
        ]
        kernel = trial.suggest_categorical("kernel_1", (3, 5))
        padding_first = trial.suggest_categorical("padding_1", ("same", "valid"))
        padding_last = trial.suggest_categorical("padding_last", ("same", "valid"))
        pools = (
            trial.suggest_int("pool_1_after", 1, 2),
            trial.suggest_int("pool_2_after", 3, 4),
        )
        dropouts = self._suggest_dropouts(trial)
        head = trial.suggest_categorical("head", self.heads)
        bias = trial.suggest_categorical("bias", (False, True))
        layers: list[Layer] = []
        for position in range(1, convs + 1):
            size = kernel if position == 1 else 3
            choice = padding_first if position == 1 else "same"
            choice = padding_last if position > pools[1] else choice
            padding = size // 2 if choice == "same" else 0
            layers.append(Conv(widths[position - 1], size, padding, bias=bias))
            layers += dropouts[f"dropout_{position}"]
            if position in pools:
                layers += [MaxPool(), *dropouts[f"dropout_pool_{pools.index(position) + 1}"]]
        return Design((*layers, *_head(head, tuple(layers))))

    def _suggest_dropouts(self, trial: optuna.Trial) -> dict[str, list[Layer]]:
        """The dropout, or none, at each place where one may stand."""
        places = [f"dropout_{position}" for position in range(1, MAX_CONVS + 1)]
        places += ["dropout_pool_1", "dropout_pool_2"]
        chosen = {place: trial.suggest_categorical(place, (False, True)) for place in places}
        kind = trial.suggest_categorical("dropout_kind", ("channel", "element"))
        rate = trial.suggest_float("dropout_rate", 0.01, 0.15, step=0.01)
        layer = Dropout(round(rate, 2), "channel" if kind == "channel" else "element")
        return {place: [layer] if on else [] for place, on in chosen.items()}

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


def _head(name: str, body: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers from the last map to ten logits."""
    logits = Conv(CLASSES, 1, 0, batch_norm=False, relu=False, bias=True)
    if name == "average":
        return (AveragePool(), logits)
    if name == "convolution then average":
        return (replace(logits, kernel=3, padding=1), AveragePool())
    try:
        side = plan(Design(body)).output_shape[1]
    except PlanError:
        side = 1  # the rules refuse the body and name the layer
    return (replace(logits, kernel=side),)
