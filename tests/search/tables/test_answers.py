from __future__ import annotations

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from search.tables.answers import ANSWERS, confirmed_answers, first_of_each, in_order_of

BOARD = pd.DataFrame(
    [
        (4, 0.9960, 9_000, 19),
        (7, 0.9960, 8_000, 19),
        (2, 0.9941, 3_000, 19),
        (9, 0.9945, 3_000, 12),
        (5, 0.9940, 9_500, 4),
        (6, 0.9950, 9_500, 4),
    ],
    columns=["trial", "validation_accuracy", "parameters", "epochs"],
)


def test_each_answer_has_its_order_by_hand() -> None:
    orders = {answer: in_order_of(BOARD, answer)["trial"].tolist() for answer in ANSWERS}
    assert orders == {
        "most accurate": [7, 4, 6, 9, 2, 5],  # as accurate: the smaller first
        "smallest": [9, 2, 7, 4, 6, 5],  # as small: the more accurate first
        "fewest epochs": [6, 5, 9, 7, 4, 2],
    }
    assert first_of_each(BOARD) == {answer: numbers[0] for answer, numbers in orders.items()}


def test_one_design_may_be_several_answers_and_an_empty_board_has_none() -> None:
    assert first_of_each(BOARD.iloc[:1]) == dict.fromkeys(ANSWERS, 4)
    assert first_of_each(BOARD.iloc[:0]) == {}


@given(st.permutations(range(len(BOARD))))
def test_the_order_of_the_rows_changes_nothing(order: list[int]) -> None:
    assert first_of_each(BOARD.iloc[order]) == first_of_each(BOARD)


def test_only_confirmed_designs_of_the_same_judge_are_answers() -> None:
    judged = BOARD.assign(confirmed=[False, True, True, False, False, True], judge="test")
    other = judged.assign(judge="folds", confirmed=[False] * 6)
    found = confirmed_answers(pd.concat([judged, other]))
    assert found == {"most accurate": 7, "smallest": 2, "fewest epochs": 6}
    assert confirmed_answers(pd.concat([judged, other]), "folds") == {}


def test_designs_without_an_accuracy_in_validation_come_last() -> None:
    pruned = pd.DataFrame([(1, None, 100, 19)], columns=BOARD.columns)
    rows = pd.concat([pruned, BOARD]).reset_index(drop=True)
    assert in_order_of(rows, "most accurate")["trial"].iloc[-1] == 1
