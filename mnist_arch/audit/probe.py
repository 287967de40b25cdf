"""Probe: how many places of a layer's output are read, by what changes when they are changed.

The module runs again, and one operation gives noise instead of its output, then the same noise but
for some places. What the network makes of both tells whether those places are read, however the
reading is spelt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mnist_arch.audit.record import Finding, Suspect

_NOISE = 10.0  # times the largest value of the output that it replaces, or 1
_DRAWS = 12  # of noise, before a place counts as not read: ReLUs swallow some


class _Disturb(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs a forward pass, counting as a trace does, and replaces one operation's output.

    It gives noise that follows from `draw`, and other noise at the places that are chosen.
    """

    def __init__(self, suspect: Suspect, chosen: Tensor, draw: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._suspect, self._chosen, self._calls = suspect, chosen, 0
        self._draw = draw
        self.found = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:  # fmt: skip
        del types
        named = kwargs or {}
        with self:
            out = func.decompose(*args, **named)
        if out is not NotImplemented:
            return out
        out = func(*args, **named)
        self._calls += 1
        same = str(func.overloadpacket.__name__) == self._suspect.operation
        if self._calls == self._suspect.call and same and out.shape == self._chosen.shape:
            self.found = True
            generator = torch.Generator().manual_seed(self._draw)
            noise, other = torch.randn((2, *out.shape), generator=generator)
            scale = _NOISE * out.abs().max().clamp(min=1)
            out = (torch.where(self._chosen, other, noise) * scale).to(out.dtype)
        return out


def read_at_one_place(
    module: nn.Module, batch: Tensor, suspects: Sequence[Suspect]
) -> list[Finding]:
    """The findings for those suspects of which a single place is read."""
    found: list[Finding] = []
    for suspect in suspects:
        finding = Finding(suspect.kind, suspect.text)
        if finding not in found and _is_dense(module, batch, suspect):
            found.append(finding)
    return found


def _is_dense(module: nn.Module, batch: Tensor, suspect: Suspect) -> bool:
    """Whether one place of the output is read, or only such as see the whole map."""
    nowhere = torch.zeros_like(suspect.places, dtype=torch.bool)
    plain: dict[int, Tensor | None] = {}
    count = int(suspect.places.max()) + 1
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))

    def read(places: Tensor) -> bool:
        chosen = torch.isin(suspect.places, places)
        for draw in range(_DRAWS):
            if draw not in plain:
                plain[draw] = _output(module, batch, _Disturb(suspect, nowhere, draw))
            before, after = plain[draw], _output(module, batch, _Disturb(suspect, chosen, draw))
            if before is None or after is None or not torch.equal(before, after):
                return True
        return False

    halves = order[: count // 2], order[count // 2 :]
    one, other = read(halves[0]), read(halves[1])
    if suspect.whole and len(suspect.whole) < count:
        rest = [place for place in range(count) if place not in suspect.whole]
        if (one or other) and not read(torch.tensor(rest)):
            return True
    return one != other and _is_single(halves[0] if one else halves[1], read)


def _is_single(places: Tensor, read: Callable[[Tensor], bool]) -> bool:
    """Whether one of some places is read and no other one."""
    while len(places) > 1:
        halves = places[: len(places) // 2], places[len(places) // 2 :]
        one, other = read(halves[0]), read(halves[1])
        if one == other:
            return False
        places = halves[0] if one else halves[1]
    return True


def _output(module: nn.Module, batch: Tensor, change: _Disturb) -> Tensor | None:
    """What the module makes of a batch; None if the change found no operation to change."""
    with torch.random.fork_rng(devices=[]), change:
        torch.manual_seed(0)
        out: Tensor = module(batch)
    return out if change.found else None
