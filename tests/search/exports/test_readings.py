from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from mnist_arch.data import Digits, load
from search.exports.errors_grid import DIGIT, errors_grid
from search.exports.readings import Readings, confusion_csv, readings_of, worst_confusions

LABELS = torch.tensor([3, 1, 1, 9, 3, 3, 0])
GUESSES = torch.tensor([3, 7, 1, 4, 5, 5, 0])
VERDICTS = Readings(LABELS, GUESSES, torch.linspace(0.4, 1, 7))


def test_errors_and_accuracy_of_a_hand_worked_case() -> None:
    assert VERDICTS.errors.tolist() == [1, 4, 5, 3]  # 1 as 7, 3 as 5 twice, 9 as 4
    assert VERDICTS.accuracy == 3 / 7


def test_confusions_of_a_hand_worked_case() -> None:
    table = VERDICTS.confusion
    assert table.sum() == 7
    assert table[3].tolist() == [0, 0, 0, 1, 0, 2, 0, 0, 0, 0]
    assert worst_confusions(VERDICTS) == [(3, 5, 2), (1, 7, 1), (9, 4, 1)]
    lines = confusion_csv(VERDICTS).splitlines()
    assert lines[0] == "truth,guess_0,guess_1,guess_2,guess_3,guess_4," + ",".join(
        f"guess_{digit}" for digit in range(5, 10)
    )
    assert lines[4] == "3,0,0,0,1,0,2,0,0,0,0"
    assert len(lines) == 11


def test_readings_of_logits() -> None:
    logits = torch.zeros(2, 10)
    logits[0, 4], logits[1, 8] = 30.0, torch.log(torch.tensor(9.0))
    found = readings_of(logits, Digits(torch.zeros(2, 28, 28), torch.tensor([4, 2])))
    assert found.guesses.tolist() == [4, 8]
    assert found.probabilities.tolist() == [1, 0.5]  # 9 of 9 + 9 others


def test_the_grid_shows_the_errors_and_only_them() -> None:
    digits = load("test").take(torch.arange(7))
    grid = np.asarray(errors_grid(VERDICTS, digits, "title"))
    for place in range(7):
        pixels = Image.fromarray(255 - digits.images[place].numpy())
        wanted = np.asarray(pixels.resize((DIGIT, DIGIT), Image.Resampling.BICUBIC))
        windows = np.lib.stride_tricks.sliding_window_view(
            grid[:, 90 : 90 + 2 * DIGIT + 20, 0], (DIGIT, DIGIT)
        )
        shown = any((window == wanted).all() for row in windows for window in row)
        assert shown == (place in (1, 3, 4, 5))


def test_a_grid_without_errors_is_a_title() -> None:
    perfect = Readings(LABELS, LABELS, torch.ones(7))
    grid = errors_grid(perfect, load("test").take(torch.arange(7)), "none")
    assert grid.height < DIGIT + 20


def test_many_errors_make_more_columns() -> None:
    digits = load("test").take(torch.arange(400))
    wrong = Readings(digits.labels, (digits.labels + 1) % 10, torch.ones(400))
    grid = errors_grid(wrong, digits, "many")
    assert 0.5 < grid.width / grid.height < 2
