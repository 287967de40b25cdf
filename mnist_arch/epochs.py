"""Epochs: what a training measured in each, as data. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch measured.

    `learning_rate` is that of the epoch's last step. Losses are mean cross-entropies in nats;
    accuracies are shares in [0, 1]; training figures are taken on the fly: with dropout,
    augmentation and smoothed labels, and before any averaging of weights. `images_per_second`
    counts training images over `train_seconds`; `seconds` includes the evaluation.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    train_seconds: float
    seconds: float
    images_per_second: float


@dataclass(frozen=True, slots=True)
class FittedEpoch:
    """What one pass over the training digits measured; fields as in `EpochRecord`."""

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    train_seconds: float
