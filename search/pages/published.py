"""Published: answers to the same task that people published, with their sources."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import msgspec


@dataclass(frozen=True, slots=True)
class Published:
    """One answer as its author reports it: `accuracy` is a share in [0, 1].

    `least` says that it is given as "at least"; `epoch` and `augmentation` are in words.
    """

    who: str
    source: str
    parameters: int
    accuracy: float
    least: bool
    epoch: str
    augmentation: str


@dataclass(frozen=True, slots=True)
class _File:
    note: str
    answers: tuple[Published, ...]


@cache
def published() -> tuple[Published, ...]:
    """The published answers, fewest parameters first."""
    text = (resources.files("search.pages") / "published.json").read_bytes()
    return tuple(sorted(msgspec.json.decode(text, type=_File).answers, key=lambda a: a.parameters))
