from __future__ import annotations

import io
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.tables.csv_text import lines, read_csv, to_csv

texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1)


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-2+3", "@SUM(A1)", "\tcmd", '=HYPERLINK("http://x")', "'=1", "''@a"]
)
def test_no_cell_is_a_formula_and_each_is_read_back(tmp_path: Path, cell: str) -> None:
    frame = pd.DataFrame({"trial": [1], "reason": [cell]})
    text = to_csv(frame)
    raw = pd.read_csv(io.StringIO(text), dtype="str")["reason"][0]
    assert raw == f"'{cell}"
    (tmp_path / "table.csv").write_text(text)
    assert read_csv(tmp_path / "table.csv", ["reason"])["reason"].tolist() == [cell]


@given(st.lists(texts | st.sampled_from(["NA", "None", "-nan", "'"]), min_size=1))
def test_every_text_is_read_back_as_it_was(cells: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(to_csv(pd.DataFrame({"reason": cells, "trial": 1})).encode())
        assert read_csv(path, ["reason"])["reason"].tolist() == cells


def test_numbers_and_plain_text_are_written_as_they_are() -> None:
    frame = pd.DataFrame({"a": [-1.5, 2.0], "b": ["8v 16 M", None], "c": [-3, 4]})
    assert to_csv(frame) == "a,b,c\n-1.5,8v 16 M,-3\n2.0,,4\n"


cells = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(), texts,
    st.sampled_from(["=1", "'@", 'say "so"', "a, b"]),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from("abcde"), cells))
def test_a_row_is_written_as_in_a_frame(row: dict[str, object]) -> None:
    frame = pd.DataFrame([row], columns=list("edcba"))
    assert lines([row], list("edcba")) == to_csv(frame, header=False)


def test_rows_are_written_one_below_the_other_and_others_not_at_all() -> None:
    rows: list[dict[str, object]] = [{"a": 1, "b": "x"}, {"b": None, "a": 0.5, "c": 7}]
    assert lines(rows, ["b", "a"]) == "x,1\n,0.5\n"
    assert lines([], ["b", "a"]) == ""


@pytest.mark.parametrize("torn", range(1, 9))
def test_a_torn_last_line_is_left_out(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "table.csv"
    path.write_text("trial,reason\n1,whole\n" + "2,another\n"[:-torn])
    assert read_csv(path, ["reason"])["reason"].tolist() == ["whole"]
