"""Sliding: whether a matrix product is a convolution, its weights sliding over places of a map."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mnist_arch.audit.averages import linear_in, remember
from mnist_arch.audit.labels import ROW, Labels, fresh, of_weights
from mnist_arch.audit.record import Call, Record, Suspect

_TWO_FACTORS = {"mm", "bmm", "mv", "addmm", "baddbmm", "addmv", "_addmm_activation"}


@dataclass(frozen=True, slots=True)
class Slide:
    """A matrix product that slides: the window, in places a side, and each row's place.

    `regular` is False where several places are seen, but not by moving one window.
    """

    window: tuple[int, int]
    places: Tensor
    regular: bool = True

    @property
    def is_one_place(self) -> bool:
        """Whether each output sees one place only, as a 1x1 convolution does."""
        return self.window == (1, 1)


def slide_of(rows: Tensor, weights: Tensor) -> Slide | None:
    """How a product slides; None if it does not: then it is a fully connected layer.

    `rows` [matrices, rows, inputs] holds the places that each row's inputs come from, `weights`
    [matrices, inputs, outputs] the weights they meet. The weights slide where the same weights see
    several places, every row the places of another one moved by a constant, the window moves
    along each axis that it extends along, and no row sees the whole map.
    """
    slides = [_slide(rows[same]) for same in _alike(weights)]
    if not slides or any(each is None for each in slides):
        return None
    windows = [each.window for each in slides if each is not None]
    places = torch.zeros(rows.shape[:2], dtype=torch.float64)
    for same, each in zip(_alike(weights), slides, strict=True):
        assert each is not None
        places[same] = each.places
    return Slide(max(windows), places, all(each and each.regular for each in slides))


def _alike(weights: Tensor) -> list[Tensor]:
    """The numbers of the matrices that hold the same weights."""
    if len(weights) == 1 or weights.stride(0) == 0:
        return [torch.arange(len(weights))]
    flat = weights.detach().reshape(len(weights), -1)
    known, which = torch.unique(flat, dim=0, return_inverse=True)
    return [(which == number).nonzero()[:, 0] for number in range(len(known))]


def _slide(rows: Tensor) -> Slide | None:
    """How rows of places [matrices, rows, inputs] that meet the same weights slide."""
    flat = rows.reshape(-1, rows.shape[-1])
    patterns, which = torch.unique(flat, dim=0, return_inverse=True)
    there = patterns > 0  # padding is nowhere
    reference = patterns[there.sum(1).argmax()]
    moved = torch.where(there & (reference > 0), patterns - reference, torch.nan)
    low = torch.where(moved.isnan(), torch.inf, moved).amin(1)
    high = torch.where(moved.isnan(), -torch.inf, moved).amax(1)
    seen = low.isfinite()
    if torch.unique(low[seen]).numel() < 2:
        return None
    if bool((low != high)[seen].any()):
        return Slide((0, 0), rows.amax(-1), regular=False)
    window = _extent(reference[reference > 0])
    travel = _extent(low[seen] + reference[reference > 0][0])
    everything = torch.unique(patterns[there]).numel()
    sees = max(torch.unique(each[each > 0]).numel() for each in patterns)
    if sees == everything or any(
        side > 1 and way < 2 for side, way in zip(window, travel, strict=True)
    ):
        return None
    places = torch.where(seen, low, 0.0) + reference[reference > 0].amin()
    return Slide(window, places[which].reshape(rows.shape[:2]))


def _extent(places: Tensor) -> tuple[int, int]:
    """How many rows and columns there are among places."""
    whole = places.round().long()
    rows = torch.div(whole, ROW, rounding_mode="floor")
    return int(torch.unique(rows).numel()), int(torch.unique(whole % ROW).numel())


def slides(
    record: Record, call: Call, factors: list[Tensor], image: Tensor, weight: Tensor, label: str
) -> bool:
    """Whether a product of images and weights slides over places; notes where its outputs lie.

    In a trace without labels: whether another trace of the module saw it slide. A product that
    sees one place at a time is a 1x1 convolution, unless torch's own word for it is another.
    """
    labels = record.labels_of(image)
    if labels is None:
        return label in record.slid
    if call.name not in _TWO_FACTORS or image.dim() > 3 or image.layout != torch.strided:
        return False
    left = image is factors[0]
    rows, matrices = _rows(labels.place, left), _matrices(record, weight, not left)
    if rows.shape[-1] != matrices.shape[-2]:
        return False
    slide = slide_of(rows, matrices.expand(len(rows), *matrices.shape[1:]))
    if slide is None or (slide.is_one_place and record.words):
        return False
    if not slide.regular:
        told = f"{label}: its weights see several places, but not by moving one window"
        record.find("unknown", f"cannot tell: {told}")
    place = slide.places[..., None] if left else slide.places[:, None]
    made = fresh(call.result)
    place = (place if call.result.dim() == 3 else place[0]).expand(call.result.shape)
    record.set_labels(call.result, replace(made, place=place))
    if slide.is_one_place:
        remember(record, call.result, linear_in(record, [image]) | {label})
    record.slid.add(label)
    _, numbers = torch.unique(place, return_inverse=True)
    text = f"{label}: a single place of what it makes is read"
    record.suspects.append(Suspect(record.calls, call.name, numbers, frozenset(), "linear", text))
    return True


def place_rows(record: Record, factors: list[Tensor], out: Tensor) -> None:
    """Label a product of activations: each row lies where its left factor's row does."""
    labels = record.labels_of(factors[0]) if factors else None
    if labels is None or len(factors) != 2 or factors[0].dim() != out.dim() or out.dim() < 2:
        return
    low, high = labels.place.amin(-1, True), labels.place.amax(-1, True)
    place = torch.where(low == high, high, 0.0).expand(out.shape)
    nothing = torch.zeros(out.shape, dtype=torch.float64)
    numbers = fresh(out).first
    record.set_labels(out, Labels(place, numbers, numbers, nothing, nothing))


def _rows(places: Tensor, left: bool) -> Tensor:
    """Places as [matrices, rows, inputs], of a left factor or of a right one."""
    if places.dim() == 1:
        return places[None, None]
    places = places if left else places.mT
    return places if places.dim() == 3 else places[None]


def _matrices(record: Record, weight: Tensor, left: bool) -> Tensor:
    """Labels of weights as [matrices, inputs, outputs], of a left factor or of a right one."""
    hidden = record.shadows.get(weight) if record.shadows else None
    known = hidden.weight if hidden is not None and hidden.weighted else of_weights(_dense(weight))
    if known.dim() == 1:
        return known[None, :, None]
    known = known.mT if left else known
    return known if known.dim() == 3 else known[None]


def _dense(tensor: Tensor) -> Tensor:
    return tensor if tensor.layout == torch.strided else tensor.to_dense()
