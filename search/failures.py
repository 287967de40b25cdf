"""Failures: a training that diverged or lacked memory, as a reason to keep or as a message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mnist_arch.errors import UserError
from mnist_arch.training import Diverged, is_out_of_memory

DIVERGED = "diverged"
"""Start of the reason of a training that would fail again under the same seed."""


class TrainingFailed(Exception):
    """A training that came to no result; its text is the reason."""


@contextmanager
def failures_named() -> Iterator[None]:
    """Raise `TrainingFailed` for a training that diverges or lacks memory; others' errors rise."""
    try:
        yield
    except Diverged as error:
        raise TrainingFailed(f"{DIVERGED}: {error}") from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        detail = str(error).partition("\n")[0] or "host memory"
        raise TrainingFailed(f"out of memory: {detail}") from error


@contextmanager
def shortage_told() -> Iterator[None]:
    """Raise `UserError` for a training that lacks memory; all other errors rise."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError("out of memory; use --device cpu or a smaller design") from None
