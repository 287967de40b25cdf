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


LONG = 3.0
"""Epochs of a look that says much: after it few designs are left, and a full training is near."""

SMALLEST_LOSS = 1e-6
"""Validation loss, in nats, below which no difference is seen."""

TYPICAL = {0.25: -1.80, 1.0: -2.85, 3.0: -3.35, 19.0: -3.80}
"""The log of a middling validation loss, in nats, of complete trainings of so many epochs."""

STEPS = {
    (0.25, 1.0): (-0.84, 1.02, 0.14),
    (1.0, 3.0): (-1.00, 1.33, 0.085),
    (3.0, 19.0): (-0.96, 1.28, 0.088),
}
"""What a training is expected to show after a shorter one, of these lengths: its log loss above the
middling one is level + follows log(1 + loss / middling loss) + size 6,000 / parameters.

By regressions over all designs of the studies and the table in `results`, then 1,163, 515 and 245
of them (`python -m benchmarks.predictions results/*/`). A good look says less than a poor one, for
there is a loss that no network gets below: hence the sum in the logarithm. Multiply-adds, the
activation, a second look: none of them adds anything.
"""

_SIZE = 6_000

OWN_WEIGHTS = (2.0, 30.0, 30.0)
"""How many designs the expectation counts for, against what a study's own full trainings say of its
level, and of how it goes with the look and with the size. Other images have another level soon."""


FULL_WEIGHT = 0.6
"""How much the log loss of a design's full training counts against what its looks predicted, for
what another seed would show: between 0.81, of random designs with two seeds, and 0.39, of 32 that
searches chose by it, against the mean of their fresh seeds (`python -m benchmarks.predictions
results/*/`): the best of many full trainings were lucky ones."""


@dataclass(slots=True)
class Predictor:
    """Predicts the validation loss after a full training, from a shorter one or from another seed.

    From a shorter one it is the loss that is expected by what earlier studies showed
    (`expected_log_loss`), corrected by what the study's own designs showed that had both trainings:
    a ridge regression of the log of the one over the other (Bishop, Pattern Recognition and Machine
    Learning, 3.1.4). Where a full training is known it counts as `FULL_WEIGHT` says.
    """

    seen: Sequence[Judged] = ()
    _corrections: dict[tuple[float, int], NDArray[np.float64]] = field(default_factory=dict)

    def loss(self, design: Judged) -> float:
        """The validation loss, in nats, that a full training of another seed is expected to have.

        Infinite where there is no look at the design, and no full training.
        """
        if not design.looks:
            return design.full.loss if design.full else math.inf
        look = design.looks[-1]
        expected = expected_log_loss(look, design.parameters, design.epochs)
        correction = self._correction(look.epochs, design.epochs)
        predicted = expected + float(correction @ _features(look, design))
        if design.full is not None:
            predicted += FULL_WEIGHT * (math.log(design.full.loss) - predicted)
        return math.exp(predicted)

    def _correction(self, short: float, long: int) -> NDArray[np.float64]:
        if (short, long) not in self._corrections:
            self._corrections[short, long] = self._fit(short, long)
        return self._corrections[short, long]

    def _fit(self, short: float, long: int) -> NDArray[np.float64]:
        """Coefficients of the features, from designs with trainings of these lengths."""
        pairs = [
            (design, look, math.log(design.full.loss))
            for design in self.seen
            for look in design.looks
            if look.epochs == short and design.full is not None and design.epochs == long
        ]
        rows = np.array([_features(look, design) for design, look, _ in pairs])
        rows = rows.reshape(-1, len(OWN_WEIGHTS))  # [designs, features]
        over = [
            log - expected_log_loss(look, design.parameters, long) for design, look, log in pairs
        ]
        return np.linalg.solve(rows.T @ rows + np.diag(OWN_WEIGHTS), rows.T @ np.array(over))


def _features(look: Look, design: Judged) -> NDArray[np.float64]:
    """1, the log loss above the middling one of that length, and 6,000 / parameters."""
    above = math.log(look.loss) - _middling(look.epochs)
    return np.array([1.0, above, _SIZE / design.parameters])


def expected_log_loss(look: Look, parameters: int, epochs: float) -> float:
    """The log of the validation loss, in nats, that a longer training is expected to have.

    Step by step through the lengths of `STEPS`, since whoever had a longer training was chosen by
    the one before; in between by the log of the epochs. What had all of 19 epochs stays as it is.
    """
    at, log = look.epochs, math.log(look.loss)
    for (short, long), step in STEPS.items():
        if at >= min(long, epochs):
            continue
        after = TYPICAL[long] + _above_after(log - _middling(at), parameters, step, at, short, long)
        if epochs < long:
            return log + (after - log) * math.log(epochs / at) / math.log(long / at)
        at, log = long, after
    return log


def _above_after(
    above: float, parameters: int, step: tuple[float, ...], at: float, short: float, long: float
) -> float:
    """The log loss above the middling one after a step; one that begins later follows it closer."""
    level, follows, size = step
    whole = level + follows * math.log1p(math.exp(above)) + size * _SIZE / parameters
    done = max(0.0, math.log(at / short) / math.log(long / short))
    return (1 - done) * whole + done * above


@functools.cache  # asked for sixty designs at every look
def _middling(epochs: float) -> float:
    """The log of a middling loss after so many epochs: `TYPICAL`, by the log of the epochs."""
    return float(np.interp(math.log(epochs), np.log(list(TYPICAL)), list(TYPICAL.values())))
