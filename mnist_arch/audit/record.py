"""Record: what one watched forward pass showed: its layers, and what the rules care about."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mnist_arch.audit.labels import Labels, Shadows, fresh
from mnist_arch.audit.taint import NOTHING, Ledger, Source, Taint, tensors_in

FindingKind = Literal["linear", "disguise", "unknown"]


@dataclass(frozen=True, slots=True)
class AuditedLayer:
    """One line of an audit: an operation with weights, or a pool, that the forward pass ran.

    `name` is the module it ran in (`forward` for the outermost), `output_shape` and `macs` are
    for one image; `receptive_field`, in pixels a side, is None where it cannot be told.
    """

    name: str
    operation: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    receptive_field: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the rules care about: what kind of thing, and the label or sentence to print."""

    kind: FindingKind
    text: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """A layer whose verdict depends on which places of its output are read.

    `call` is its number in the trace; `places` numbers, for each value of its output, the place.
    `whole` marks the places that see the whole map. `kind` and `text` are the finding if a single
    place is read, or none but such as see the whole map.
    """

    call: int
    operation: str
    places: Tensor
    whole: frozenset[int]
    kind: FindingKind
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """One operation that ran, with what its arguments derived from before."""

    name: str
    function: Any
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    tensors: list[Tensor]
    taints: list[Taint]
    out: Any

    @property
    def images(self) -> list[Tensor]:
        """The arguments that are computed from images."""
        return [each for each, taint in self._pairs() if taint.activation]

    @property
    def weights(self) -> list[Tensor]:
        """The arguments that are weights."""
        return [each for each, taint in self._pairs() if taint.weight]

    @property
    def sources(self) -> frozenset[int]:
        """The sources of all weights among the arguments."""
        return frozenset[int]().union(*(taint.sources for taint in self.taints))

    @property
    def mixes(self) -> bool:
        """Whether images meet weights here."""
        return bool(self.images and self.weights)

    @property
    def result(self) -> Tensor:
        """The first tensor that came out."""
        return next(tensors_in(self.out))

    def taint(self, tensor: Any) -> Taint:
        """What an argument derives from."""
        return next((taint for each, taint in self._pairs() if each is tensor), NOTHING)

    def again(self, tensor: Tensor) -> Tensor:
        """The same operation on another tensor in the place of its first argument."""
        with torch.no_grad():
            result: Tensor = self.function(tensor, *self.arguments[1:], **self.named)
        return result

    def _pairs(self) -> Iterator[tuple[Tensor, Taint]]:
        return zip(self.tensors, self.taints, strict=True)


@dataclass(slots=True)
class Record:
    """What a trace saw: layers in order, findings, which sources of weights were used."""

    ledger: Ledger
    batch: int
    distinct: bool
    """Whether the images' values differ, so that repeated values mean copies."""
    layers: list[AuditedLayer] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    shadows: Shadows | None = None
    """The labels of all values; None for a batch too large to label."""
    slid: set[str] = field(default_factory=set)
    """The matrix products that were seen to slide, by label, in any trace of the module."""
    suspects: list[Suspect] = field(default_factory=list)
    averaging: dict[int, frozenset[str]] = field(default_factory=dict)
    """By memory: labels of the 1x1 convolutions that a map is a linear function of."""
    words: list[str] = field(default_factory=list)
    """Which of torch's own fully connected functions run, the innermost last."""
    scopes: list[str] = field(default_factory=list)
    calls: int = 0

    @property
    def sources_used(self) -> set[Source]:
        """The sources whose weights met images."""
        return {self.ledger.sources[number] for number in self.used}

    def label(self, operation: str) -> str:
        """Where the trace stands and what happens there: `head.fc (linear 490 -> 10)`."""
        return f"{self.scope} ({operation}{_place()})"

    @property
    def scope(self) -> str:
        """The module that runs, in words: `head.fc`, `layer 3` of a sequence, or `forward`."""
        name = self.scopes[-1] or "forward"
        return f"layer {name}" if name.isdigit() else name

    def find(self, kind: FindingKind, text: str) -> None:
        """Keep a finding, once."""
        if Finding(kind, text) not in self.findings:
            self.findings.append(Finding(kind, text))

    def use(self, sources: frozenset[int]) -> int:
        """Mark sources as used; returns how many values were not used before."""
        new = set(sources) - self.used
        known = self.sources_used
        self.used |= new
        return sum(source.values for source in self.sources_used - known)

    def add_layer(
        self, operation: str, out: Tensor, taint: Taint, sources: frozenset[int], macs: float = 0
    ) -> None:
        """Add a line for an operation that ran on the whole batch."""
        reach = taint.field.reach if taint.field else None
        shape = tuple(out.shape[1:]) if out.shape[:1] == (self.batch,) else tuple(out.shape)
        cost = round(macs / self.batch)
        self.layers.append(
            AuditedLayer(self.scope, operation, shape, self.use(sources), cost, reach)
        )

    def labels_of(self, tensor: Tensor) -> Labels | None:
        """The labels of a tensor that is computed from images, new ones if it has none yet."""
        if self.shadows is None or tensor.layout != torch.strided:
            return None
        labels = self.shadows.get(tensor)
        if labels is None:
            labels = fresh(tensor)
            self.shadows.put(tensor, labels)
        return labels

    def set_labels(self, tensor: Tensor, labels: Labels) -> None:
        """Remember a tensor's labels."""
        if self.shadows is not None and labels.place.shape == tensor.shape:
            self.shadows.put(tensor, labels)


_OURS = str(Path(__file__).parent)
_TORCH = str(Path(torch.__file__).parent)


def _place() -> str:
    """The line of the user's code that is at work, ` at net.py:12`; nothing inside torch's own."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_OURS, "<")):
        frame = frame.f_back  # type: ignore[assignment]
    inside_module = False
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(str(Path(_TORCH) / "nn" / "modules")):
            inside_module = True
        elif not name.startswith((_TORCH, _OURS, "<")):
            break
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None or inside_module:
        return ""
    return f" at {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
