"""Formats: shares, differences and durations in words, for the screen and for messages."""

from __future__ import annotations

import math


def standard_error(target: float) -> str:
    """The standard error of an accuracy on 10,000 images near a target, in words."""
    error = points(math.sqrt(target * (1 - target) / 10_000))
    return f"near {target * 100:.4g} % the standard error is {error} points"


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage with two digits, for the screen."""
    return f"{share * 100:.2f} %"


def points(share: float) -> str:
    """A difference of shares in percentage points, for the screen."""
    return f"{share * 100:.2f}"


def counted(number: float, noun: str) -> str:
    """So many of something: `1 epoch`, `0.25 epochs`, `3 epochs`."""
    return f"{number:g} {noun}" + ("" if number == 1 else "s")


def between(least: int, most: int, noun: str) -> str:
    """From so many of something to so many: `2 to 8 epochs`, or `1 epoch` where they are one."""
    return counted(most, noun) if least == most else f"{least} to {counted(most, noun)}"


def duration(seconds: float) -> str:
    """Seconds as `42 s`, `7:05` (minutes) or `2:07:05` (hours)."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
