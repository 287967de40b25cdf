"""Whole confirmations in this process, on a handful of digits; shared by tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mnist_arch.data import Digits
from search import ConfirmConfig, Machine, confirm, evaluate, searching
from search.executors import Event, here
from search.executors.here import Here
from search.searching import Outcome
from search.task import Result

CPU = Machine(engine="torch", device="cpu")


class DyingHere(Here):
    """As `Here`, but the first `deaths` trainings kill their worker."""

    deaths = 0

    def events(self, timeout_seconds: float) -> list[Any]:
        found = super().events(timeout_seconds)
        if DyingHere.deaths > 0 and any(event.result for event in found):
            DyingHere.deaths -= 1
            reason = "its process ended with exit status -9"
            return [Event(self._key, "0", result=Result("died", reason=reason))]
        return found


def quick(patch: pytest.MonkeyPatch, digits: tuple[Digits, Digits]) -> None:
    """Let trainings meet these digits, which are read once, and run in this process."""
    patch.setattr(evaluate, "digits_here", lambda *_: digits)
    patch.setattr(searching, "require_data", lambda *_: None)
    patch.setattr(here, "Here", DyingHere)
    patch.setattr(DyingHere, "deaths", 0)


def confirmed(folder: Path, **choices: Any) -> Outcome:
    """Confirm a study's finalists in this process."""
    return confirm(ConfirmConfig(folder, executor="here", machine=CPU, **choices))


def runs(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "confirmations.csv")


def failing(error: BaseException, when: Callable[[int, int], bool]) -> Callable[..., Any]:
    """A training that raises where `when` says so of its seed and of the trainings before it."""
    count = 0
    judged_once = evaluate._judged_once

    def fail(network: Any, task: Any, *more: Any) -> Any:
        nonlocal count
        count += 1
        if when(task.seed, count - 1):
            raise error
        return judged_once(network, task, *more)

    return fail
