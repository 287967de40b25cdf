"""Predictions: what a trained network says of the test digits, its errors and confusions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from mnist_arch.augment import gather
from mnist_arch.data import Digits
from mnist_arch.plan import CLASSES
from mnist_arch.training import EVALUATION_BATCH

DIGIT, CELL, MARGIN, TITLE = 84, (94, 128), 20, 66
"""Of the picture of errors, in pixels: a digit's side, a digit with its caption, the edges."""

LEAST_COLUMNS = 10
"""Of the picture of errors; more errors make more columns, so that it stays near a square."""

MOST_DRAWN = 500
"""Errors in the picture; a network that was hardly trained has thousands."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Labels and predicted classes, int64 [count], and their probabilities, float32 [count]."""

    labels: Tensor
    predicted: Tensor
    probabilities: Tensor

    @property
    def accuracy(self) -> float:
        """The share in [0, 1] of digits predicted rightly."""
        return (len(self.labels) - len(self.errors)) / len(self.labels)

    @property
    def errors(self) -> Tensor:
        """The misread digits' places, int64 [errors], in order of truth, prediction and place."""
        wrong = (self.labels != self.predicted).nonzero().flatten()
        order = (self.labels[wrong] * CLASSES + self.predicted[wrong]).argsort(stable=True)
        return wrong[order]

    @property
    def drawn(self) -> Tensor:
        """The errors that the picture shows, int64, in the same order: at most `MOST_DRAWN`.

        Of more, those that the network was surest of; between equals the earlier ones.
        """
        errors = self.errors
        surest = self.probabilities[errors].argsort(descending=True, stable=True)[:MOST_DRAWN]
        return errors[surest.sort().values]

    def counted(self, noun: str) -> str:
        """How many were misread, of how many, and how many of them the picture shows."""
        words = f"{len(self.errors):,} of {len(self.labels):,} test {noun}s misread"
        return words + (f", the {MOST_DRAWN} surest" if len(self.errors) > MOST_DRAWN else "")

    @property
    def confusion(self) -> Tensor:
        """How many digits of each truth (row) got each prediction (column), int64 [10, 10]."""
        pairs = self.labels * CLASSES + self.predicted
        return pairs.bincount(minlength=CLASSES**2).view(CLASSES, CLASSES)  # [100] -> [10, 10]

    def confusion_csv(self) -> str:
        """The confusion table as CSV, truth in rows, prediction in columns."""
        rows = [["truth", *(f"guess_{digit}" for digit in range(CLASSES))]]
        rows += [[str(digit), *map(str, row)] for digit, row in enumerate(self.confusion.tolist())]
        return "".join(",".join(row) + "\n" for row in rows)

    def worst_confusions(self, top: int = 5) -> list[tuple[int, int, int]]:
        """The most frequent mistakes: truth, prediction, how many; ties in order of the two."""
        wrong = self.confusion.fill_diagonal_(0)
        counts = [(i, j, int(wrong[i, j])) for i, j in wrong.nonzero().tolist()]
        return sorted(counts, key=lambda pair: (-pair[2], pair[0], pair[1]))[:top]


def predictions(logits: Tensor, digits: Digits) -> Predictions:
    """What logits, float32 [count, 10], say of digits."""
    probabilities, predicted = logits.softmax(1).max(1)
    return Predictions(digits.labels, predicted, probabilities)


def logits(network: nn.Module, digits: Digits) -> Tensor:
    """The logits of a network in its evaluation mode for digits, float32 [count, 10]."""
    parts = torch.split(torch.arange(len(digits)), EVALUATION_BATCH)
    with torch.no_grad():
        batches = (gather(digits.images, part, None, digits.dataset) for part in parts)
        return torch.cat([network(batch) for batch in batches])


def errors_picture(found: Predictions, digits: Digits, title: str) -> Image.Image:
    """The misread digits, dark on white, a block of rows a truth, in order of predictions.

    Under each digit: truth > prediction, then its probability and the digit's number in MNIST's
    test images, from 0.
    """
    errors = found.drawn.tolist()
    columns = max(LEAST_COLUMNS, math.ceil(math.sqrt(len(errors))))
    truths = found.labels.tolist()
    rows: list[list[int]] = []
    for _, of_one_truth in groupby(errors, truths.__getitem__):
        block = list(of_one_truth)
        rows += [block[i : i + columns] for i in range(0, len(block), columns)]
    picture = Image.new("L", (MARGIN + columns * CELL[0], TITLE + len(rows) * CELL[1]), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), title, "black", ImageFont.load_default(20))
    large, small = ImageFont.load_default(16), ImageFont.load_default(11)
    for row, in_row in enumerate(rows):
        for column, place in enumerate(in_row):
            left, top = MARGIN + column * CELL[0], TITLE + row * CELL[1]
            image = Image.fromarray(255 - digits.images[place].numpy())
            picture.paste(image.resize((DIGIT, DIGIT), Image.Resampling.BICUBIC), (left, top))
            middle, words = left + DIGIT // 2, f"{found.labels[place]} > {found.predicted[place]}"
            draw.text((middle, top + DIGIT + 2), words, "black", large, "ma")
            words = f"{found.probabilities[place] * 100:.0f} %   #{place}"
            draw.text((middle, top + DIGIT + 20), words, "dimgrey", small, "ma")
    return picture
