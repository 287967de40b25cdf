"""Recorded steps take what plain steps take; on a CUDA GPU they train the same network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mnist_arch import recorded
from mnist_arch.augment import gather
from mnist_arch.build import build
from mnist_arch.data import Digits
from mnist_arch.recipe import Affine, Recipe
from mnist_arch.recorded import RecordedEpochs
from mnist_arch.references import REFERENCE_DESIGNS
from mnist_arch.shuffle import batches, shuffle
from mnist_arch.training import fit_epochs, seed_everything

CPU = torch.device("cpu")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU is here")


def digits(count: int, device: str = "cpu") -> Digits:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=generator)
    return Digits(images, torch.arange(count) % 10).to(device)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("ranges", [Affine(), Affine(10, 0.1, 0.1)], ids=["as is", "augmented"])
@pytest.mark.parametrize("count", [20, 64, 65, 150, 193])
def test_recorded_epochs_take_every_batch_as_it_was_drawn(
    count: int, ranges: Affine, averaged: bool
) -> None:
    recipe = Recipe(batch_size=64, augmentation=ranges)
    steps = len(batches(count, 64))
    taken: list[tuple[Tensor, Tensor | None, float, float | None]] = []

    def note(index: Tensor, maps: Tensor | None, rate: Tensor, share: Tensor | None) -> None:
        found = None if maps is None else maps.clone()
        taken.append((index.clone(), found, rate.item(), None if share is None else share.item()))

    generator = torch.Generator().manual_seed(1)
    epochs, drawn = RecordedEpochs(CPU), []
    for epoch in range(3):
        shuffled = shuffle(recipe, digits(count), generator, gather)
        maps = shuffled.matrices
        drawn.append((shuffled.index.clone(), None if maps is None else maps.clone()))
        rates = [epoch + step / 8 for step in range(steps)]
        epochs.take(note, shuffled, rates, [rate / 2 for rate in rates] if averaged else None)

    assert [rate for _, _, rate, _ in taken] == [e + s / 8 for e in range(3) for s in range(steps)]
    assert [share for *_, share in taken] == [
        rate / 2 if averaged else None for _, _, rate, _ in taken
    ]
    parts = batches(count, 64)
    for number, (index, maps, *_) in enumerate(taken):
        order, matrices = drawn[number // steps]
        part = parts[number % steps]
        assert index.equal(order[part])
        assert (maps is None) == (matrices is None)
        if maps is not None and matrices is not None:
            assert maps.equal(matrices[part])


@needs_cuda
@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("name", REFERENCE_DESIGNS)
def test_a_recorded_training_is_a_plain_one(
    name: str, averaging: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(Recipe(batch_size=32), averaging=averaging)

    def trained() -> tuple[list[float], list[Tensor]]:
        seed_everything(0)
        network = build(REFERENCE_DESIGNS[name]).to("cuda")
        losses = [
            fitted.train_loss
            for fitted in fit_epochs(network, recipe, 2, digits(300, "cuda"), seed=0)
        ]
        return losses, [value.clone() for value in network.parameters()]

    torch.backends.cudnn.deterministic = True
    try:
        losses, weights = trained()
        monkeypatch.setattr(recorded, "WARM_UP", 10**9)
        plain_losses, plain_weights = trained()
    finally:
        torch.backends.cudnn.deterministic = False
    assert losses == pytest.approx(plain_losses, rel=1e-4)
    for one, other in zip(weights, plain_weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


@needs_cuda
def test_a_hundred_trainings_take_no_more_memory_than_ten() -> None:
    fit, used = digits(300, "cuda"), []
    for number in range(100):
        network = build(REFERENCE_DESIGNS["assignment"]).to("cuda")
        list(fit_epochs(network, Recipe(batch_size=32), 1, fit, seed=number))
        used.append(torch.cuda.memory_allocated())
    assert max(used[10:]) <= max(used[:10])
