"""Figures: all that a page shows of one study, in its order."""

from __future__ import annotations

from collections.abc import Callable

from search.pages.accuracy import accuracy_against_parameters
from search.pages.figure import Figure
from search.pages.mattered import dropout, importance, widths
from search.pages.older import completed
from search.pages.trainings import learning_curves, looks, luck, timeline
from search.tables.files import StudyTables


def figures(study: StudyTables) -> list[Figure]:
    """Every figure of a study, in the page's order."""
    makers: tuple[Callable[[StudyTables], Figure], ...] = (
        accuracy_against_parameters, learning_curves, looks, importance, dropout, widths, timeline,
        luck,
    )  # fmt: skip
    return [make(completed(study)) for make in makers]
