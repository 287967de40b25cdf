from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from mnist_arch.learning_rate import learning_rates
from mnist_arch.recipe import Recipe


def torchs(recipe: Recipe, steps: int) -> list[float]:
    """The same rates by torch's own schedule, which divides by a warm-up of one step."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.learning_rate)
    warm_up = recipe.warm_up
    share = math.nextafter(warm_up, 1) if warm_up * steps == 1 else warm_up
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, steps, pct_start=share, cycle_momentum=False
    )
    rates = []
    for _ in range(steps - 1):
        rates.append(float(optimiser.param_groups[0]["lr"]))
        optimiser.step()
        schedule.step()
    return [*rates, float(optimiser.param_groups[0]["lr"])]


@pytest.mark.parametrize("warm_up", [0.05, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 20, 391])
def test_one_cycle_equals_torchs(warm_up: float, steps: int) -> None:
    recipe = replace(Recipe(), warm_up=warm_up, learning_rate=0.2)
    assert learning_rates(recipe, steps) == pytest.approx(torchs(recipe, steps), rel=1e-12)


def test_a_constant_rate_stays() -> None:
    recipe = replace(Recipe(), schedule="constant", learning_rate=0.03)
    assert learning_rates(recipe, 4) == [0.03] * 4
