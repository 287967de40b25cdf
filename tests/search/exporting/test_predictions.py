from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from mnist_arch.data import Digits, load
from search.exporting.predictions import (
    DIGIT,
    MARGIN,
    MOST_DRAWN,
    TITLE,
    Predictions,
    errors_picture,
    predictions,
)

LABELS = torch.tensor([3, 1, 1, 9, 3, 3, 0])
PREDICTED = torch.tensor([3, 7, 1, 4, 5, 5, 0])
FOUND = Predictions(LABELS, PREDICTED, torch.linspace(0.4, 1, 7))


def test_errors_and_accuracy_of_a_hand_worked_case() -> None:
    assert FOUND.errors.tolist() == [1, 4, 5, 3]  # 1 as 7, 3 as 5 twice, 9 as 4
    assert FOUND.accuracy == 3 / 7


def test_confusions_of_a_hand_worked_case() -> None:
    table = FOUND.confusion
    assert table.sum() == 7
    assert table[3].tolist() == [0, 0, 0, 1, 0, 2, 0, 0, 0, 0]
    assert FOUND.worst_confusions() == [(3, 5, 2), (1, 7, 1), (9, 4, 1)]
    lines = FOUND.confusion_csv().splitlines()
    assert lines[0] == "truth,guess_0,guess_1,guess_2,guess_3,guess_4," + ",".join(
        f"guess_{digit}" for digit in range(5, 10)
    )
    assert lines[4] == "3,0,0,0,1,0,2,0,0,0,0"
    assert len(lines) == 11


def test_predictions_of_logits() -> None:
    logits = torch.zeros(2, 10)
    logits[0, 4], logits[1, 8] = 30.0, torch.log(torch.tensor(9.0))
    found = predictions(logits, Digits(torch.zeros(2, 28, 28), torch.tensor([4, 2])))
    assert found.predicted.tolist() == [4, 8]
    assert found.probabilities.tolist() == [1, 0.5]  # 9 of 9 + 9 others


def test_the_picture_shows_the_errors_and_only_them() -> None:
    digits = load("test").take(torch.arange(7))
    picture = np.asarray(errors_picture(FOUND, digits, "title"))
    for place in range(7):
        pixels = Image.fromarray(255 - digits.images[place].numpy())
        wanted = np.asarray(pixels.resize((DIGIT, DIGIT), Image.Resampling.BICUBIC))
        windows = np.lib.stride_tricks.sliding_window_view(
            picture[:, MARGIN : MARGIN + 2 * DIGIT + 10], (DIGIT, DIGIT)
        )
        shown = any((window == wanted).all() for row in windows for window in row)
        assert shown == (place in (1, 3, 4, 5))


def test_a_picture_without_errors_is_a_title() -> None:
    perfect = Predictions(LABELS, LABELS, torch.ones(7))
    picture = errors_picture(perfect, load("test").take(torch.arange(7)), "none")
    assert picture.height == TITLE


def test_many_errors_make_more_columns() -> None:
    digits = load("test").take(torch.arange(400))
    wrong = Predictions(digits.labels, (digits.labels + 1) % 10, torch.ones(400))
    picture = errors_picture(wrong, digits, "many")
    assert 0.5 < picture.width / picture.height < 2


def test_of_very_many_errors_the_surest_are_drawn() -> None:
    labels = torch.arange(MOST_DRAWN + 3) % 10
    sure = torch.full((len(labels),), 0.5)
    sure[[4, 17, 19]] = 0.4
    found = Predictions(labels, (labels + 1) % 10, sure)
    assert [place for place in found.errors.tolist() if place not in (4, 17, 19)] == (
        found.drawn.tolist()
    )
    assert found.counted("digit") == "503 of 503 test digits misread, the 500 surest"
    assert FOUND.drawn.equal(FOUND.errors)
    assert FOUND.counted("digit") == "4 of 7 test digits misread"
