"""Cells: a design read back from a row of `trials.csv`; the inverse of `describe.design_cells`.

A committed study has its tables but not its database. The fingerprint in the row proves that the
design read back is the one that was trained. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Literal

from mnist_arch.design import AveragePool, Conv, Design, Dropout, Layer, MaxPool
from mnist_arch.plan import CLASSES

_CONV = re.compile(r"(\d+)(?:k(\d+))?(v?)")
_DROPOUT = re.compile(r"(channel|element) (\S+) after (.+)")
_HEAD = re.compile(r"convolution (\d+)x\1")


def design_of(row: Mapping[Any, Any]) -> Design | None:
    """The design that a table's row describes; None if it holds none with its fingerprint."""
    try:
        candidates = list(_candidates(str(row["widths"]), str(row["dropout"]), str(row["head"])))
    except ValueError:  # words that `describe` does not write, DesignError among them
        return None
    return next((each for each in candidates if each.fingerprint == row["fingerprint"]), None)


def _candidates(widths: str, dropout: str, head: str) -> Iterator[Design]:
    """Every design of the search's space that these words describe.

    They do not say whether convolutions have a bias, nor on which side of an average pool the
    last one stands.
    """
    for bias, last in product((True, False), _heads(head)):
        body = _body(widths.split(), bias, *_dropouts(dropout))
        yield Design((*body, *last))


def _body(
    words: list[str], bias: bool, dropout: tuple[Layer, ...], places: set[str]
) -> Iterator[Layer]:
    """The layers before the head; each place in `places` is followed by `dropout`."""
    convs = pools = 0
    if "input" in places:
        yield from dropout
    for word in words:
        if word == "M":
            pools += 1
            place = f"pool {pools}"
            yield MaxPool()
        else:
            convs += 1
            place = f"conv {convs}"
            yield _conv(word, bias)
        if place in places:
            yield from dropout


def _conv(word: str, bias: bool) -> Conv:
    match = _CONV.fullmatch(word)
    if match is None:
        raise ValueError(f"not a convolution: {word!r}")
    channels, kernel, valid = int(match[1]), int(match[2] or 3), match[3]
    return Conv(channels, kernel, 0 if valid else kernel // 2, bias=bias)


def _dropouts(words: str) -> tuple[tuple[Layer, ...], set[str]]:
    """The dropout layer that `words` name, and the places where it stands."""
    if words == "none":
        return (), set()
    match = _DROPOUT.fullmatch(words)
    if match is None:
        raise ValueError(f"not a dropout: {words!r}")
    kind: Literal["channel", "element"] = "channel" if match[1] == "channel" else "element"
    return (Dropout(float(match[2]), kind),), set(match[3].split(", "))


def _heads(words: str) -> list[tuple[Layer, ...]]:
    """The heads that `words` may mean."""

    def logits(kernel: int, padding: int = 0) -> Conv:
        return Conv(CLASSES, kernel, padding, batch_norm=False, relu=False, bias=True)

    if words == "average pool":
        last = (logits(1), logits(3, 1))  # older strict studies have the first
        return [(AveragePool(), logits(1)), *((each, AveragePool()) for each in last)]
    match = _HEAD.fullmatch(words)
    if match is None:
        raise ValueError(f"not a head: {words!r}")
    return [(logits(int(match[1])),)]
