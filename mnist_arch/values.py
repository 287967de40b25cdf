"""Values: checks of the numbers, switches and words that a layer's spec holds."""

from __future__ import annotations

from mnist_arch.errors import UserError

MAX_INTEGER = 10**15
"""Largest integer a spec takes: far above any network, small enough to print."""


class DesignError(UserError):
    """A design, or its JSON, that breaks a rule of the format; says which and with what value."""


def check_integer(owner: str, name: str, value: object, minimum: int) -> None:
    """Raise `DesignError` unless `value` is an integer in [minimum, MAX_INTEGER]."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise DesignError(f"{owner}: {name} must be a whole number, got {short(value)}")
    if not minimum <= value <= MAX_INTEGER:
        raise DesignError(
            f"{owner}: {name} must be from {minimum:,} to {MAX_INTEGER:,}, got {short(value)}"
        )


def check_boolean(owner: str, name: str, value: object) -> None:
    """Raise `DesignError` unless `value` is true or false."""
    if not isinstance(value, bool):
        raise DesignError(f"{owner}: {name} must be true or false, got {short(value)}")


def check_one_of(owner: str, name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise `DesignError` unless `value` is one of the `allowed` words."""
    if not isinstance(value, str) or value not in allowed:
        *others, last = (f"'{word}'" for word in allowed)
        raise DesignError(
            f"{owner}: {name} must be {', '.join(others)} or {last}, got {short(value)}"
        )


def short(value: object) -> str:
    """The start of a value's text, short enough for a one-line message."""
    if isinstance(value, int) and abs(value) > 10**30:
        return f"an integer of {value.bit_length()} bits"
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or an integer too long to print
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 60 else text[:57] + "..."
