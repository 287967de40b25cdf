"""Reading: a study's files read back, as they are committed: without its database, or Optuna."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_arch.errors import UserError
from search import tables


def read_study(folder: Path) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Read a study's `study.json` and CSV files; raises `UserError` where one is missing or bad."""
    names = ("trials", "leaderboard", "rejections")
    try:
        document = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        assert {"study", "settings", "states", "seconds"} <= document.keys()
        return document, {name: tables.read_table(folder / f"{name}.csv") for name in names}
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} holds no study: {Path(error.filename).name} is missing; give the folder of "
            "a study (results/mnist), or make one: python -m search.run --trials 50"
        ) from None
    except (OSError, ValueError, AssertionError, AttributeError, KeyError) as error:
        raise UserError(
            f"the study in {folder} cannot be read ({error or 'study.json is not a study'}); "
            "running the study again makes its files anew from study.db"
        ) from None
