"""Recorded: a training step on a CUDA GPU, recorded once as a graph and launched as a whole.

A step of a small network is over a hundred kernels, each of which runs for a few microseconds and
takes as long to launch; a recorded step is one launch (CUDA graphs; PyTorch's notes on CUDA).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from mnist_arch.shuffle import Shuffled

WARM_UP = 3
"""Steps before the recording: libraries choose their kernels, the optimiser makes its buffers."""

Batch = Callable[[Tensor, Tensor | None, Tensor, Tensor | None], None]
"""Trains on one batch: its places in the data, int64 [batch]; its maps, [batch, 2, 3]; the learning
rate and the share of the latest weights in their average, 0-dimensional tensors on the device."""


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of all recorded trainings: cuBLAS keeps 32 MiB for each that it has met."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def _on_own_stream(device: torch.device) -> Iterator[None]:
    """On a CUDA GPU, work on that stream: after what was asked before, before what comes after."""
    if device.type != "cuda":
        yield
        return
    own, others = _stream(device), torch.cuda.current_stream(device)
    own.wait_stream(others)
    with torch.cuda.stream(own):
        yield
    others.wait_stream(own)


class Recorded:
    """Work that becomes one launch from its fourth time on; off a CUDA GPU it stays as it is."""

    def __init__(self, device: torch.device) -> None:
        self._records, self._times = device.type == "cuda", 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def do(self, work: Callable[[], None]) -> None:
        """Do the work: always the same, on the same tensors, none of which it reads back."""
        if self._records and self._times == WARM_UP:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=torch.cuda.current_stream()):
                work()  # noted, not done
        self._times += 1
        if self._graph is None:
            work()
        else:
            self._graph.replay()


class RecordedEpochs:
    """Epochs whose full batches are trained on by one recorded step; the last, short one by itself.

    What a step reads (the order of the images, their maps, the rates, its own number) stands in
    tensors that stay where they are from epoch to epoch.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._step = device, Recorded(device)
        self._number = torch.zeros(1, dtype=torch.int64, device=device)
        self._kept: tuple[Tensor | None, ...] = ()  # by batch: places, maps, rates, shares

    def take(
        self,
        batch: Batch,
        shuffled: Shuffled,
        rates: Sequence[float],
        shares: Sequence[float] | None,
    ) -> None:
        """Take one epoch's steps, each with its rate and, where weights are averaged, its share.

        The recipe and `batch` must be those of the first epoch.
        """
        with _on_own_stream(self._device):
            size = shuffled.parts[0].stop
            full = sum(part.stop - part.start == size for part in shuffled.parts)
            index, matrices = shuffled.index, shuffled.matrices
            rate_of = self._on_device(rates)
            share_of = None if shares is None else self._on_device(shares)
            self._put(
                index[: full * size].view(full, size),
                None if matrices is None else matrices[: full * size].view(full, size, 2, 3),
                rate_of,
                share_of,
            )
            for _ in range(full):
                self._step.do(lambda: self._full_batch(batch))
            for number, part in enumerate(shuffled.parts[full:], full):
                batch(
                    index[part],
                    None if matrices is None else matrices[part],
                    rate_of[number],
                    None if share_of is None else share_of[number],
                )

    def _on_device(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=self._device)

    def _put(self, *fresh: Tensor | None) -> None:
        """Put an epoch's tensors where the first epoch's stand; start at its first batch."""
        for kept, new in zip(self._kept, fresh, strict=False):
            if kept is not None and new is not None:
                kept.copy_(new)
        self._kept = self._kept or fresh
        self._number.zero_()

    def _full_batch(self, batch: Batch) -> None:
        """Train on the batch whose number stands on the device, and count it up there."""
        index, matrices, rate, share = (
            None if each is None else each.index_select(0, self._number).squeeze(0)
            for each in self._kept
        )
        assert index is not None
        assert rate is not None
        batch(index, matrices, rate, share)
        self._number += 1
