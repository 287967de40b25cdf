"""Cores: those that nothing else uses help the trainings that run.

At the end of a search, and of a confirmation, fewer trainings are left than there are cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

IDLE_SECONDS = 5.0
"""How long a core must have been idle: between two designs none is for as long."""


@dataclass(slots=True)
class Cores:
    """Says how many threads each training may have, of `cores` in all; at least `least`."""

    cores: int
    least: int
    clock: Callable[[], float] = time.monotonic
    _idle_since: float | None = None

    def each(self, trainings: int) -> int:
        """Threads of each of so many trainings; call it often."""
        share = self.cores // max(1, trainings)
        if share <= self.least:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = self.clock()
        elif self.clock() - self._idle_since >= IDLE_SECONDS:
            return share
        return self.least
