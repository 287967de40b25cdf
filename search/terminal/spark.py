"""Spark: a curve of a few characters, for a line of the terminal."""

from __future__ import annotations

from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float], low: float, high: float, width: int = 12) -> str:
    """The last `width` values as blocks, from `low` (lowest block) to `high` (a full one)."""
    if high <= low:
        raise ValueError(f"high must be above low, got {low} and {high}")
    last = values[-width:]
    steps = [round((value - low) / (high - low) * (len(BLOCKS) - 1)) for value in last]
    return "".join(BLOCKS[min(max(step, 0), len(BLOCKS) - 1)] for step in steps)
