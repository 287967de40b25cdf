"""Errors grid: a network's misread digits as one picture, with truth and guess."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnist_arch.data import Digits
from mnist_arch.plan import CLASSES
from search.exports.readings import Readings

DIGIT, GAP, CAPTION, MARGIN, TITLE, LABEL = 84, 10, 34, 20, 46, 70
"""Pixels: a digit's side, between digits, a caption's height, the edges, the title, row labels."""

LEAST_COLUMNS = 10
INK, FAINT, TRUTH, GUESS = (20, 20, 20), (130, 130, 130), (0, 110, 60), (190, 30, 30)


def errors_grid(readings: Readings, digits: Digits, title: str) -> Image.Image:
    """All misread digits, RGB, dark on white, one block of rows a truth, in order of guesses.

    Under each digit: truth > guess, then the guess's probability and the digit's number in
    MNIST's test images, from 0.
    """
    errors = readings.errors.tolist()
    columns = max(LEAST_COLUMNS, math.ceil(math.sqrt(len(errors))))
    rows = _rows(readings, errors, columns)
    cell = (DIGIT + GAP, DIGIT + CAPTION + GAP)
    width = 2 * MARGIN + LABEL + columns * cell[0]
    picture = Image.new("RGB", (width, 2 * MARGIN + TITLE + len(rows) * cell[1]), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), title, INK, ImageFont.load_default(20))
    before = None
    for line, (truth, places) in enumerate(rows):
        top = MARGIN + TITLE + line * cell[1]
        if truth != before:
            _label(draw, top, truth, width)
        before = truth
        for column, place in enumerate(places):
            left = MARGIN + LABEL + column * cell[0]
            picture.paste(_digit(digits, place), (left, top))
            _caption(draw, left, top + DIGIT, readings, place)
    return picture


def _rows(readings: Readings, errors: list[int], columns: int) -> list[tuple[int, list[int]]]:
    """The truth and the places of each row of digits."""
    rows = []
    for truth in range(CLASSES):
        places = [place for place in errors if readings.labels[place] == truth]
        rows += [(truth, places[i : i + columns]) for i in range(0, len(places), columns)]
    return rows


def _digit(digits: Digits, place: int) -> Image.Image:
    pixels = 255 - digits.images[place].numpy().astype(np.uint8)
    return Image.fromarray(pixels).resize((DIGIT, DIGIT), Image.Resampling.BICUBIC)


def _label(draw: ImageDraw.ImageDraw, top: int, truth: int, width: int) -> None:
    """The truth at the head of its rows, under a line that parts it from the truth before."""
    draw.line((MARGIN, top - GAP // 2, width - MARGIN, top - GAP // 2), FAINT)
    draw.text((MARGIN, top + DIGIT // 2), f"{truth}", TRUTH, ImageFont.load_default(48), "lm")


def _caption(
    draw: ImageDraw.ImageDraw, left: int, top: int, readings: Readings, place: int
) -> None:
    truth, guess = int(readings.labels[place]), int(readings.guesses[place])
    font, small = ImageFont.load_default(16), ImageFont.load_default(11)
    middle = left + DIGIT // 2
    draw.text((middle - 12, top + 2), str(truth), TRUTH, font, "ma")
    draw.text((middle, top + 2), ">", FAINT, font, "ma")
    draw.text((middle + 12, top + 2), str(guess), GUESS, font, "ma")
    probability = f"{readings.probabilities[place] * 100:.0f} %"
    draw.text((middle, top + 20), f"{probability}   #{place}", FAINT, small, "ma")
