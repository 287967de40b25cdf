"""Numbers in words."""

from __future__ import annotations

import pytest

from search.formats import between, counted, duration, percent, points


@pytest.mark.parametrize(
    ("number", "words"), [(1, "1 epoch"), (0.25, "0.25 epochs"), (3, "3 epochs"), (0, "0 epochs")]
)
def test_one_of_something_is_not_said_in_the_plural(number: float, words: str) -> None:
    assert counted(number, "epoch") == words


def test_a_span_of_one_number_is_that_number() -> None:
    assert [between(2, 8, "epoch"), between(1, 1, "epoch")] == ["2 to 8 epochs", "1 epoch"]


def test_shares_are_percentages_and_durations_are_read_at_a_glance() -> None:
    assert (percent(0.994), points(0.0008)) == ("99.40 %", "0.08")
    assert [duration(seconds) for seconds in (42.4, 425, 7_625)] == ["42 s", "7:05", "2:07:05"]
