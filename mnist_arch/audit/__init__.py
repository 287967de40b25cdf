"""Audit: the rules applied to any `nn.Module`, whoever wrote it.

Its parameters are counted, and its forward pass is watched while it runs: training and
evaluation, on noise, on a blank batch and on what images the caller gives. Decided thus, as
`README.md` defines it:

- a linear map whose outputs depend on inputs at different places, through weights that are not
  shared between places, is a fully connected layer, however it is spelt; one whose weights slide
  over places is a convolution; a product of two activations (attention) is neither, and so is a
  product with a constant that `forward` computes from no weights;
- weights applied value by value (scales, shifts, the affine part of any normalisation, learned
  pooling of each channel) are none, unless a sum then completes a matrix product;
- an operation where weights meet images and that cannot be judged is refused: "cannot tell";
- parameters count whether or not they are trained or used; so do values outside the parameters
  that meet images as weights do, but for the running statistics of batch norm.

A trace sees the branches that it takes, and an author bent on hiding something from it can.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mnist_arch.audit.fields import Field
from mnist_arch.audit.follow import follow
from mnist_arch.audit.labels import Shadows
from mnist_arch.audit.outcome import Trace, from_elsewhere, outside_of, remarks, sentences
from mnist_arch.audit.probe import read_at_one_place
from mnist_arch.audit.record import AuditedLayer, Record
from mnist_arch.audit.taint import Ledger, Taint
from mnist_arch.audit.trace import Escapes, Watch, scopes
from mnist_arch.errors import UserError
from mnist_arch.plan import IMAGE_SHAPE
from mnist_arch.rules import Rejection, Rules, logit_rejections

__all__ = ["Audit", "AuditError", "AuditedLayer", "Watched", "audit", "watch"]

_BLANK = -0.4242  # an empty image, normalised
_LABELLED = 8  # images in a batch whose values are all labelled


class AuditError(UserError):
    """A module that cannot be audited: it raises, or returns something that is no logits."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    `parameters` counts everything that acts as weights; `trainable` those that a training moves,
    `outside` those that are no parameters. `layers`, `macs` and `receptive_field` are those of an
    evaluation; `receptive_field` is None where it cannot be told. `output_shape` is for one image.
    """

    layers: tuple[AuditedLayer, ...]
    parameters: int
    trainable: int
    outside: int
    macs: int
    receptive_field: int | None
    output_shape: tuple[int, ...]
    rejections: tuple[Rejection, ...]
    notes: tuple[str, ...]

    @property
    def passes(self) -> bool:
        """Whether no rule is broken."""
        return not self.rejections


@dataclass(frozen=True, slots=True)
class Watched:
    """A module and the traces of its forward pass, which any rules can judge."""

    module: nn.Module
    traces: tuple[Trace, ...]

    def judged_by(self, rules: Rules) -> Audit:
        """What these rules say of the module."""
        return _summary(self.module, rules, self.traces)


def audit(module: nn.Module, rules: Rules | None = None, images: Sequence[Tensor] = ()) -> Audit:
    """Apply the rules (the assignment's by default) to a module; `watch`, then `judged_by`."""
    return watch(module, images).judged_by(rules or Rules())


def watch(module: nn.Module, images: Sequence[Tensor] = ()) -> Watched:
    """Run a module and keep what its forward pass does.

    `images` are further batches to watch it on, float32 [batch, 1, 28, 28]. The module is left as
    it was, but that lazy layers have been made. Raises `AuditError` if it cannot be run.
    """
    with _left_as_it_was(module), torch.no_grad():
        _run(module.eval(), torch.randn(2, *IMAGE_SHAPE, generator=_generator()))
        with _weights_all_different(module):
            return Watched(module, tuple(_traces(module, images)))


def _traces(module: nn.Module, images: Sequence[Tensor]) -> list[Trace]:
    """Watch a module on noise, on nothing and on `images`, in evaluation and in training."""
    noise = torch.randn(3, *IMAGE_SHAPE, generator=_generator())
    blank = torch.full((2, *IMAGE_SHAPE), _BLANK)
    batches = [(noise, True), (blank, False), *((batch, False) for batch in images)]
    slid: set[str] = set()
    traces = [
        _trace(module.train(mode == "training"), batch, distinct, mode, slid)
        for mode in ("evaluation", "training")
        for batch, distinct in batches
    ]
    for finding in read_at_one_place(module.eval(), noise, traces[0].record.suspects):
        for trace in traces:
            trace.record.find(finding.kind, finding.text)
    return traces


def _trace(module: nn.Module, batch: Tensor, distinct: bool, mode: str, slid: set[str]) -> Trace:
    """Watch one forward pass."""
    shadows = Shadows() if len(batch) <= _LABELLED else None
    record = Record(Ledger.of(module), len(batch), distinct, shadows=shadows, slid=slid)
    record.ledger.set(batch, Taint(True, field=Field(1, 1, IMAGE_SHAPE[1])))
    record.labels_of(batch)
    with scopes(module, record), Escapes(record), Watch(record, follow):
        out = _run(module, batch)
    taint = record.ledger.taint_of(out)
    if not taint.image:
        record.find("unknown", "output: cannot be followed back to the images")
    reach = taint.field.reach if taint.field else None
    return Trace(mode, record, tuple(out.shape[1:]), reach)


def _run(module: nn.Module, batch: Tensor) -> Tensor:
    """Run a module; raises `AuditError` unless one value or more for each image comes out."""
    given = f"for {len(batch)} images of shape {list(batch.shape)} forward"
    try:
        out = module(batch)
    except NotImplementedError as error:
        if "forward" in str(error) and "missing the required" in str(error):
            raise AuditError(f"{type(module).__name__} has no forward: write one") from None
        raise AuditError(f"{given} raised {_told(error)}") from None
    except Exception as error:  # noqa: BLE001 - foreign code may raise anything
        raise AuditError(f"{given} raised {_told(error)}") from None
    if not isinstance(out, Tensor):
        kind = "None" if out is None else f"a {type(out).__name__}"
        raise AuditError(
            f"{given} returned {kind}; it must return one tensor of logits [batch, 10]"
        )
    if out.dim() < 2 or len(out) != len(batch) or not out.is_floating_point():
        raise AuditError(
            f"{given} returned {str(out.dtype).removeprefix('torch.')} of shape "
            f"{list(out.shape)}; it must return float logits [{len(batch)}, 10]"
        )
    return out


def _told(error: BaseException) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@contextmanager
def _left_as_it_was(module: nn.Module) -> Iterator[None]:
    """Give a module back its training flags, its buffers and torch's random state."""
    flags = [(each, each.training) for each in module.modules()]
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            for each, flag in flags:
                each.training = flag


@contextmanager
def _weights_all_different(module: nn.Module) -> Iterator[None]:
    """Move every weight a little, so that equal values mean copies; put all back afterwards."""
    tensors = [*module.parameters(), *module.buffers()]
    before = [tensor.clone() for tensor in tensors]
    generator = _generator()
    for parameter in module.parameters():
        if parameter.is_floating_point():
            noise = torch.randn(parameter.shape, generator=generator)
            with suppress(RuntimeError):  # an expanded tensor cannot be written to
                parameter.add_(noise.to(parameter.device), alpha=0.1)
    try:
        yield
    finally:
        for tensor, old in zip(tensors, before, strict=True):
            with suppress(RuntimeError):
                tensor.copy_(old)


def _summary(module: nn.Module, rules: Rules, traces: Sequence[Trace]) -> Audit:
    """Put together what the traces of a module found."""
    first = traces[0]
    parameters = {id(each): each for each in module.parameters()}.values()
    own = sum(each.numel() for each in parameters)
    outside = outside_of(traces)
    held = sum(source.values for source in outside)
    linear, disguises, unknown = (
        sentences(traces, kind) for kind in ("linear", "disguise", "unknown")
    )
    unknown += from_elsewhere(traces)
    layer = first.record.layers
    shape = first.shape if len(first.shape) != 1 else (*first.shape, 1, 1)
    rejections = (
        *rules.parameter_rejections(own + held),
        *rules.layer_rejections(linear, disguises),
        *(Rejection("operations", 1, 0, text) for text in unknown),
        *logit_rejections(shape),
    )
    notes = [*([] if rules.strict else disguises), *remarks(module, traces, outside)]
    return Audit(
        tuple(layer), own + held, sum(p.numel() for p in parameters if p.requires_grad), held,
        sum(each.macs for each in layer), first.field, first.shape, rejections, tuple(notes),
    )  # fmt: skip
