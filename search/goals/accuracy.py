"""The goal `accuracy`: the highest validation accuracy within the rules."""

from __future__ import annotations

from dataclasses import dataclass

from search.goals.goal import Common


@dataclass(frozen=True, slots=True)
class Accuracy(Common):
    """The lowest validation loss, which judges finer than accuracy does, within the rules."""
