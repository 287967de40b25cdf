"""The search: Optuna proposes designs, workers train them, tables rank them, fresh seeds confirm.

The Python API: what the commands call, and nothing more.

    from search import RunConfig, StudyConfig, search

    outcome = search(StudyConfig(seed=1), RunConfig(study="mine", trials=20))
    print(outcome.study.leaderboard)

Each function imports what it needs when it is called, so that `--help` needs no torch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from search.config import Machine, StudyConfig
from search.foreign.targets import CheckConfig
from search.run_config import ConfirmConfig, ExportConfig, RunConfig

if TYPE_CHECKING:
    from search.exporting.exporting import Exported
    from search.foreign.checking import CheckReport
    from search.searching import Outcome
    from search.tables.files import StudyTables

__all__ = [
    "CheckConfig", "ConfirmConfig", "ExportConfig", "Machine", "RunConfig", "StudyConfig", "check",
    "confirm", "export", "open_study", "search",
]  # fmt: skip


def search(config: StudyConfig | None = None, run: RunConfig | None = None) -> Outcome:
    """Search until the study has as many trained designs as `run` says; confirm its finalists.

    A study that exists is continued. Raises `UserError` for choices that cannot be had,
    `MachineError` for a full disk and the like; whatever was finished is kept.
    """
    from search.searching import search_study

    return search_study(config or StudyConfig(), run or RunConfig())


def confirm(config: ConfirmConfig) -> Outcome:
    """Train a study's finalists, and the baseline, on fresh seeds; judge each on the test images.

    Raises as `search` does, and `UserError` where there is nothing to confirm.
    """
    from search.searching import confirm_study

    return confirm_study(config)


def open_study(folder: Path | str) -> StudyTables:
    """A study's choices and tables, as its files tell them; raises `UserError` for no study."""
    from search.tables.files import read_study

    return read_study(Path(folder))


def check(config: CheckConfig) -> CheckReport:
    """Hold a design, or anybody's network, against the rules; code is run in its own process.

    Raises `UserError` for a target that cannot be checked.
    """
    from search.foreign import checking

    return checking.check(config)


def export(config: ExportConfig) -> Exported:
    """Write a trained network to a folder that stands on its own.

    Raises `UserError` where there is nothing to export, or the folder holds files of yours.
    """
    from search.exporting import exporting

    return exporting.export(config)


class _Package(ModuleType):
    """Keeps `search.confirm` a function when the command `search/confirm.py` is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
