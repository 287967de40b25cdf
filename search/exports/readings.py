"""Readings: what a trained network says of every test digit, its errors and confusions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mnist_arch.augment import gather
from mnist_arch.data import Digits
from mnist_arch.plan import CLASSES
from mnist_arch.training import EVALUATION_BATCH


@dataclass(frozen=True, slots=True)
class Readings:
    """Labels and guesses, int64 [count], and each guess's probability, float32 [count]."""

    labels: Tensor
    guesses: Tensor
    probabilities: Tensor

    @property
    def accuracy(self) -> float:
        """The share in [0, 1] of digits read rightly."""
        return (len(self.labels) - len(self.errors)) / len(self.labels)

    @property
    def errors(self) -> Tensor:
        """The misread digits' places, int64 [errors], in order of truth, guess and place."""
        wrong = (self.labels != self.guesses).nonzero().flatten()
        order = (self.labels[wrong] * CLASSES + self.guesses[wrong]).argsort(stable=True)
        return wrong[order]

    @property
    def confusion(self) -> Tensor:
        """How many digits of each truth (row) got each guess (column), int64 [10, 10]."""
        pairs = self.labels * CLASSES + self.guesses
        return pairs.bincount(minlength=CLASSES**2).view(CLASSES, CLASSES)  # [100] -> [10, 10]


def judge(network: nn.Module, digits: Digits) -> Readings:
    """Let a network, in its evaluation mode, read digits; all on one device."""
    return readings_of(logits(network, digits), digits)


def logits(network: nn.Module, digits: Digits) -> Tensor:
    """A network's logits for digits, float32 [count, 10]."""
    parts = torch.split(torch.arange(len(digits)), EVALUATION_BATCH)
    with torch.no_grad():
        return torch.cat([network(gather(digits.images, part, None)) for part in parts])


def readings_of(logits: Tensor, digits: Digits) -> Readings:
    """What logits, float32 [count, 10], say of digits."""
    probabilities, guesses = logits.softmax(1).max(1)
    return Readings(digits.labels, guesses, probabilities)


def confusion_csv(readings: Readings) -> str:
    """The confusion table as CSV, truth in rows, guess in columns."""
    rows = [["truth", *(f"guess_{digit}" for digit in range(CLASSES))]]
    rows += [[str(digit), *map(str, row)] for digit, row in enumerate(readings.confusion.tolist())]
    return "".join(",".join(row) + "\n" for row in rows)


def worst_confusions(readings: Readings, top: int = 5) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: truth, guess, how many; ties in order of truth and guess."""
    table = readings.confusion.tolist()
    pairs = [
        (truth, guess, table[truth][guess])
        for truth in range(CLASSES)
        for guess in range(CLASSES)
        if truth != guess and table[truth][guess]
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:top]
