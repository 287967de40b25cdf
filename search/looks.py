"""Looks: complete trainings of growing length, and what they predict of the last one.

A look is a whole training with a schedule that comes to its end, however short. Its validation loss
ranks designs as a full training does; the same loss in the middle of a long schedule does not
(a learning rate near its peak says more of the optimiser than of the design).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Look:
    """What one complete training measured of a design.

    `epochs` is its length; below 1 it is one epoch over that share of the images. `loss` is the
    validation loss in nats, `accuracy` the validation accuracy, a share in [0, 1], both after the
    last epoch.
    """

    epochs: float
    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A design as goals and schedules see it: its size, its length and its looks, shortest first.

    `epochs` is the length of its full training, `full` that training, once it is done.
    """

    parameters: int
    epochs: int
    looks: tuple[Look, ...] = ()
    full: Look | None = None

    @property
    def longest(self) -> Look | None:
        """Its longest training so far."""
        return self.full or (self.looks[-1] if self.looks else None)


SMALLEST_LOSS = 1e-6
"""Validation loss, in nats, below which no difference is seen."""

PRIOR_WEIGHT = 10.0
"""How many designs the prior counts for."""

_LOSS_AT = ((0.25, -1.70), (1.0, -2.80), (3.0, -3.40), (8.0, -3.75), (19.0, -4.0))
"""Typical log of the validation loss after complete trainings of so many epochs: what a study
expects before it has seen any of its own. A rough guess from a few trainings of small networks."""

_SLOPE = 0.5
"""By how much the log of a longer training's loss follows that of a shorter one, at first."""


@dataclass(slots=True)
class Predictor:
    """Predicts the validation loss after a full training from a shorter one.

    For each pair of lengths a linear regression of log loss on log loss and log parameters, fitted
    to the designs that had both, with a prior that counts as `PRIOR_WEIGHT` of them: ridge
    regression towards the prior's line (Bishop, Pattern Recognition and Machine Learning, 3.3).
    """

    seen: Sequence[Judged] = ()
    _lines: dict[tuple[float, float], NDArray[np.float64]] = field(default_factory=dict)

    def loss(self, design: Judged) -> float:
        """The validation loss, in nats, that a design's full training has or is expected to have.

        Infinite where there is no look at it.
        """
        look = design.longest
        if look is None:
            return math.inf
        if look is design.full:
            return look.loss
        line = self._line(look.epochs, float(design.epochs))
        return math.exp(float(line @ _features(look, design.parameters)))

    def _line(self, short: float, long: float) -> NDArray[np.float64]:
        if (short, long) not in self._lines:
            self._lines[short, long] = self._fit(short, long)
        return self._lines[short, long]

    def _fit(self, short: float, long: float) -> NDArray[np.float64]:
        """Coefficients of 1, log loss (centred) and log parameters (centred)."""
        prior = np.array([_typical(long), _SLOPE, 0.0])
        rows, targets = [], []
        for design in self.seen:
            before = next((look for look in design.looks if look.epochs == short), None)
            full = design.full
            if before is not None and full is not None and design.epochs == long:
                rows.append(_features(before, design.parameters))
                targets.append(math.log(full.loss))
        features = np.array(rows).reshape(-1, 3)
        gram = features.T @ features + PRIOR_WEIGHT * np.diag([0.2, 0.3, 0.3])
        residuals = np.array(targets) - features @ prior
        return np.asarray(prior + np.linalg.solve(gram, features.T @ residuals))


def _features(look: Look, parameters: int) -> NDArray[np.float64]:
    return np.array([
        1.0, math.log(look.loss) - _typical(look.epochs), math.log(parameters / 6_000),
    ])  # fmt: skip


def _typical(epochs: float) -> float:
    """The typical log loss after so many epochs, between those of `_LOSS_AT` by log epochs."""
    lengths, logs = zip(*_LOSS_AT, strict=True)
    return float(np.interp(math.log(epochs), np.log(lengths), logs))
