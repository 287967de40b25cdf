"""After: the page that a search or a confirmation leaves, which must never spoil its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from search.tables.files import read_study


def report_after(folder: Path, tell: Callable[[str], object]) -> None:
    """Write a study's page and figures, and tell where; or why not, whatever goes wrong."""
    try:
        from search.pages.page import write_report

        written = write_report([read_study(folder)], folder)
    except Exception as error:  # noqa: BLE001 - the study is done; its page can be made again
        tell(
            f"No page was made ({error or type(error).__name__}); the tables are whole. Try again: "
            f"python -m search.report {folder}"
        )
        return
    tell(f"Page:  {written.page}")
