"""Interrupts: Ctrl-C and a polite kill, met between two steps instead of in the midst of one."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Notes the first signal while its context lasts; `meet` raises it, a second one is raised.

    So nothing is cut off in the midst of writing to the database. Outside the main thread, where
    signals cannot be handled, it notes nothing.
    """

    def __init__(self) -> None:
        self._noted = False
        self._before: dict[int, Any] = {}
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> Self:
        try:
            self._before = {each: signal.signal(each, self._note) for each in SIGNALS}
        except ValueError:  # not the main thread
            self._before = {}
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._cannot_be_raised
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)
        sys.unraisablehook = self._unraisable

    def _cannot_be_raised(self, found: Any) -> None:
        """A second signal may come where Python can raise nothing; it is noted all the same."""
        if not isinstance(found.exc_value, KeyboardInterrupt):
            self._unraisable(found)

    def _note(self, _: int, __: FrameType | None) -> None:
        if self._noted:
            raise KeyboardInterrupt
        self._noted = True

    def meet(self) -> None:
        """Raise `KeyboardInterrupt` if a signal came."""
        if self._noted:
            raise KeyboardInterrupt
