"""Task: one training to do, and what came of it, as data. Imports no torch.

A task says everything that decides its result: design, recipe, budget, seed and digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mnist_arch.design import Design
from mnist_arch.epochs import EpochRecord, FittedEpoch
from mnist_arch.recipe import Protocol, Recipe
from mnist_arch.rules import Rules

Misread = tuple[int, int, int]
"""A digit that a network misread: its number (test images from 60,000), truth, answer."""

Outcome = Literal["finished", "stopped", "diverged", "out of memory", "died"]
"""How a training ended; `died`: its process did."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a training may cost: `epochs` over `train_images` (None: all of the protocol's).

    After each epoch in `checkpoints`, who ordered it decides whether it goes on. `look` is the
    length in epochs of a look at the design, see `search.looks`; None for a full training.
    """

    epochs: int
    train_images: int | None = None
    checkpoints: tuple[int, ...] = ()
    look: float | None = None

    @property
    def length(self) -> float:
        """Its length in epochs; below 1 for a look at a share of the images."""
        return self.epochs if self.look is None else self.look


@dataclass(frozen=True, slots=True)
class Task:
    """One training to do.

    `judged` says when the network meets the protocol's judging digits: after each epoch, or once
    after the last. `fold` cuts the digits as `mnist_arch.folds` does, in place of the protocol.
    `keep_weights` asks for the trained weights. `dataset` is a name in `mnist_arch.datasets`.
    """

    design: Design
    rules: Rules
    recipe: Recipe
    budget: Budget
    seed: int
    protocol: Protocol = "holdout"
    judged: Literal["each epoch", "last epoch"] = "each epoch"
    keep_weights: bool = False
    fold: int | None = None
    dataset: str = "mnist"


@dataclass(frozen=True, slots=True)
class Result:
    """What a training came to.

    `epochs` are those that were judged; with `judged="last epoch"` that is the last one, and its
    `seconds` and `train_seconds` are the whole training's. `reason` says why one did not finish.
    `judged_images` counts the digits that a final run, of a fold or on the test images, was judged
    on; `misread` are those that it misread, all others it read rightly. `weights` is the state of
    the network in the safetensors format, where it was asked for.
    """

    outcome: Outcome
    epochs: tuple[EpochRecord, ...] = ()
    reason: str = ""
    engine: str = ""
    device: str = ""
    train_images: int = 0
    weights: bytes | None = None
    judged_images: int = 0
    misread: tuple[Misread, ...] = ()


Epoch = EpochRecord | FittedEpoch
"""What a training says after an epoch: judged, or only fitted."""
