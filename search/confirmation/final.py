"""Final training: a design on all 60,000 images, judged once on the test images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from mnist_arch.build import build
from mnist_arch.data import Digits
from mnist_arch.design import Design
from mnist_arch.engine import Engine, engine_of, gather_for, prepare
from mnist_arch.recipe import Recipe
from mnist_arch.rules import Rules
from mnist_arch.training import FittedEpoch, evaluate, fit_epochs, seed_everything


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a final training came to.

    Losses are mean cross-entropies in nats, accuracies shares in [0, 1]; the training figures
    are the last epoch's, with dropout and augmentation. `seconds` is the training alone.
    """

    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float
    engine: str


def train_finally(
    design: Design,
    rules: Rules,
    recipe: Recipe,
    epochs: int,
    seed: int,
    engine: Engine,
    fit: Digits,
    test: Digits,
    after_epoch: Callable[[FittedEpoch], None] | None = None,
) -> tuple[nn.Sequential, Judgement]:
    """Train a design for `epochs` with one seed and judge it once, after the last epoch.

    `fit` and `test` stand on the engine's device. Nothing is chosen by the test images.
    `after_epoch` is told of every epoch. Returns the trained network, on the CPU, as torch's own
    layers. Raises `Rejected` for a design that the rules refuse, `Diverged` when the loss is not
    finite.
    """
    rules.check(design, epochs)
    seed_everything(seed)
    network = build(design, rules)
    prepared = prepare(network, engine, torch.get_num_threads())
    seconds = 0.0
    for fitted in fit_epochs(prepared, recipe, epochs, fit, seed, gather_for(engine)):
        seconds += fitted.train_seconds
        if after_epoch is not None:
            after_epoch(fitted)
    test_loss, test_accuracy = evaluate(prepared, test, gather_for(engine))
    judgement = Judgement(
        fitted.train_loss, fitted.train_accuracy, test_loss, test_accuracy, seconds,
        engine_of(prepared),
    )  # fmt: skip
    return network.to("cpu").to(memory_format=torch.contiguous_format).eval(), judgement
