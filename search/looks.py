"""Looks: complete trainings of growing length, and what they predict of the last one.

A look is a whole training with a schedule that comes to its end, however short. Its validation loss
ranks designs as a full training does; the same loss in the middle of a long schedule does not
(a learning rate near its peak says more of the optimiser than of the design).
"""

from __future__ import annotations

import functools
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

    `epochs` is the length of its full training, `full` that training, once it is done; `macs` are
    the multiply-adds of one image.
    """

    parameters: int
    epochs: int
    looks: tuple[Look, ...] = ()
    full: Look | None = None
    macs: int = 600_000

    @property
    def longest(self) -> Look | None:
        """Its longest training so far."""
        return self.full or (self.looks[-1] if self.looks else None)


LONG = 3.0
"""Epochs of a look that says much: after it few designs are left, and a full training is near."""

SMALLEST_LOSS = 1e-6
"""Validation loss, in nats, below which no difference is seen."""

PRIOR_WEIGHT = 10.0
"""How many designs the prior counts for."""

_PRIOR = (
    (0.25, -1.80, 0.25, -0.20, -0.15),
    (1.0, -2.85, 0.55, -0.13, -0.12),
    (3.0, -3.35, 0.75, -0.09, -0.08),
    (8.0, -3.60, 0.90, -0.05, -0.03),
    (19.0, -3.73, 1.00, 0.0, 0.0),
)
"""What a study expects before it has seen anything of its own, for complete trainings of so many
epochs: the typical log of the validation loss of a good design of 6,000 parameters and 600,000
multiply-adds; by how much the log of a full training's loss follows it; by how much that falls as
log parameters and log multiply-adds grow by 1. A design of few multiply-adds, which halves its map
early, starts quickly and ends high: between looks of 1 and of 3 epochs, in 78 designs of five
searches (two of them not kept), the log loss fell by 0.06 for each, between 1 epoch and the full
training, in 15, by 0.13.
The others by a regression of nine designs of 1,486 to 18,430 parameters that were trained for 3 and
for 19 epochs (standard deviation of the rest 0.04), rounded; a quarter of an epoch against one in
`results/table` and looks of 1 and 3 epochs in `results/front` led to the shorter ones, by eye; that
of 8 epochs is a guess. Between these lengths by the log of the epochs."""

_SIZE, _MACS = 6_000, 600_000
"""Parameters and multiply-adds at which they make no difference to the prior."""


@dataclass(slots=True)
class Predictor:
    """Predicts the validation loss after a full training from a shorter one.

    For each pair of lengths a linear regression of log loss on log loss, log parameters and log
    multiply-adds, fitted to the designs that had both, with a prior that counts as `PRIOR_WEIGHT`
    of them: ridge regression towards the prior's line (Bishop, Pattern Recognition and Machine
    Learning, 3.3).
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
        return math.exp(float(line @ _features(look, design)))

    def _line(self, short: float, long: float) -> NDArray[np.float64]:
        if (short, long) not in self._lines:
            self._lines[short, long] = self._fit(short, long)
        return self._lines[short, long]

    def _fit(self, short: float, long: float) -> NDArray[np.float64]:
        """Coefficients of 1, and of log loss, log parameters and log multiply-adds, centred."""
        prior = np.array([_prior(long)[0], *_prior(short)[1:]])
        rows, targets = [], []
        for design in self.seen:
            before = next((look for look in design.looks if look.epochs == short), None)
            full = design.full
            if before is not None and full is not None and design.epochs == long:
                rows.append(_features(before, design))
                targets.append(math.log(full.loss))
        features = np.array(rows).reshape(-1, 4)
        gram = features.T @ features + PRIOR_WEIGHT * np.diag([0.2, 0.3, 0.3, 0.3])
        residuals = np.array(targets) - features @ prior
        return np.asarray(prior + np.linalg.solve(gram, features.T @ residuals))


def _features(look: Look, design: Judged) -> NDArray[np.float64]:
    return np.array([
        1.0, math.log(look.loss) - _prior(look.epochs)[0], math.log(design.parameters / _SIZE),
        math.log(max(design.macs, 1) / _MACS),
    ])  # fmt: skip


@functools.cache  # asked for sixty designs at every look
def _prior(epochs: float) -> tuple[float, ...]:
    """What `_PRIOR` says of a training of so many epochs."""
    lengths, *columns = zip(*_PRIOR, strict=True)
    return tuple(float(np.interp(math.log(epochs), np.log(lengths), each)) for each in columns)
