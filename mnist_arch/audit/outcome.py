"""Outcome: what all the traces of a module say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from mnist_arch.audit.record import Finding, Record
from mnist_arch.audit.taint import OUTSIDE, Source


@dataclass(frozen=True, slots=True)
class Trace:
    """One forward pass that was watched, in `evaluation` or in `training`.

    `shape` is that of one image's output, `field` a logit's receptive field, None if unknown.
    """

    mode: str
    record: Record
    shape: tuple[int, ...]
    field: int | None


def outside_of(traces: Sequence[Trace]) -> set[Source]:
    """Values that met images as weights and are no parameters: the most that one trace used."""
    kinds = ("buffer", "tensor")
    used = [
        {source for source in trace.record.sources_used if source.kind in kinds} for trace in traces
    ]
    named = {source for each in used for source in each if source.kind == "buffer"}
    return named | max(used, key=lambda each: sum(source.values for source in each))


def from_elsewhere(traces: Sequence[Trace]) -> list[str]:
    """A sentence where tensors that nobody saw being made change with the batch."""
    noise, blank = (
        sorted(source.values for source in trace.record.sources_used if source.name == OUTSIDE)
        for trace in traces[:2]
    )
    if noise == blank:
        return []
    return [f"{OUTSIDE} changes with the images: it is computed where nobody can watch"]


def sentences(traces: Sequence[Trace], kind: str) -> list[str]:
    """The findings of one kind, each once, with the mode where only one mode has it."""
    modes: dict[Finding, set[str]] = {}
    for trace in traces:
        for finding in trace.record.findings:
            modes.setdefault(finding, set()).add(trace.mode)
    return [
        finding.text + (f" (in {next(iter(seen))} only)" if len(seen) == 1 else "")
        for finding, seen in modes.items()
        if finding.kind == kind
    ]


def remarks(module: nn.Module, traces: Sequence[Trace], outside: set[Source]) -> list[str]:
    """What an author may want to know and no rule forbids."""
    notes = [
        f"{source.name}: {source.values:,} values in a {source.kind} act as weights; they count"
        for source in sorted(outside, key=lambda source: source.name)
    ]
    used = {source.name for trace in traces for source in trace.record.sources_used}
    idle = [(name, each) for name, each in module.named_parameters() if name not in used]
    if idle:
        names = ", ".join(name for name, _ in idle[:4]) + (", ..." if len(idle) > 4 else "")
        count = sum(each.numel() for _, each in idle)
        notes.append(
            f"{names}: {count:,} parameters that the forward pass does not use; they count"
        )
    return notes
