"""CSV text: frames as the text of CSV files, and back; whole, and harmless to a spreadsheet."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How a cell starts that a spreadsheet takes for a formula, also behind apostrophes of ours."""


def to_csv(frame: pd.DataFrame, header: bool = True) -> str:
    """A frame as CSV text; nothing is written as an empty field.

    Text that a spreadsheet would take for a formula stands behind an apostrophe.
    """
    texts = frame.select_dtypes(include=["object", "str"])
    harmless = frame.assign(**{str(name): texts[name].map(_quoted) for name in texts})
    return str(harmless.to_csv(index=False, header=header, lineterminator="\n"))


def lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as lines of a CSV file with these columns, as `to_csv` writes them in a frame.

    For a few rows: to make and write a frame takes many times as long.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else _quoted(value)


def _quoted(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _bare(value: object) -> object:
    quoted = isinstance(value, str) and value.startswith("'") and _FORMULA.match(value)
    return value[1:] if quoted and isinstance(value, str) else value


def read_csv(path: Path, text_columns: Iterable[str]) -> pd.DataFrame:
    """Read a CSV file back as `to_csv` wrote it; `text_columns` are never read as numbers.

    A last line that a kill or a full disk has torn is left out: every line ends with a newline.
    """
    text = path.read_bytes().rpartition(b"\n")
    frame = pd.read_csv(
        io.BytesIO(text[0] + text[1]), dtype=dict.fromkeys(text_columns, "str"),
        keep_default_na=False, na_values=[""],
    )  # fmt: skip
    for name in frame.columns.intersection(list(text_columns)):
        if frame[name].str.startswith("'").any():
            frame[name] = frame[name].map(_bare).astype("str").where(frame[name].notna())
    return frame
