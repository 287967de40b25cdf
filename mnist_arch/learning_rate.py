"""Learning rate: that of every step of a training, from its recipe alone."""

from __future__ import annotations

import math

from mnist_arch.recipe import Recipe


def learning_rates(recipe: Recipe, steps: int) -> list[float]:
    """The recipe's learning rate of each of `steps` steps.

    The one-cycle schedule rises along half a cosine from a 25th of its peak and falls along
    another to a 250,000th, as torch's `OneCycleLR` does.
    """
    peak = recipe.learning_rate
    if recipe.schedule == "constant":
        return [peak] * steps
    start, end, last = peak / 25, peak / 25 / 1e4, steps - 1
    turn = recipe.warm_up * steps - 1  # the step at the peak, perhaps between two steps

    def rate(step: int) -> float:
        if step <= turn or step == turn == last:
            return _along_cosine(start, peak, step / turn if turn else 0.0)
        return _along_cosine(peak, end, (step - turn) / (last - turn))

    return [rate(step) for step in range(steps)]


def _along_cosine(start: float, end: float, share: float) -> float:
    """What lies at `share`, in [0, 1], of half a cosine's way from `start` to `end`."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
