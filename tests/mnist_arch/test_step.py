"""What an epoch and a step of the torch engine must not do: wait for the host."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mnist_arch.augment import gather
from mnist_arch.build import build
from mnist_arch.data import Digits
from mnist_arch.engine import Engine, prepare
from mnist_arch.recipe import Recipe
from mnist_arch.references import REFERENCE_DESIGNS
from mnist_arch.step import stepper
from mnist_arch.training import evaluate, fit_epochs, train

RECIPE = Recipe(batch_size=32)


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that read a value back to the host or copy between devices."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        name = str(function)
        self.calls[name] += 1
        moves = "device" in (options or {}) and "_to_copy" in name
        tensors = [each for each in tree_leaves(arguments[:2]) if isinstance(each, Tensor)]
        moves |= "copy_" in name and len({each.device for each in tensors}) > 1
        if "_local_scalar_dense" in name or "nonzero" in name or moves:
            self.waits[name] += 1
        return function(*arguments, **(options or {}))


def digits(count: int) -> Digits:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=generator)
    return Digits(images, torch.arange(count) % 10)


def network_of(name: str) -> nn.Module:
    return prepare(build(REFERENCE_DESIGNS[name]), Engine("torch", "cpu", ""))


@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("name", REFERENCE_DESIGNS)
def test_an_epoch_reads_nothing_back(name: str, averaging: float) -> None:
    network = network_of(name)
    recipe = replace(RECIPE, averaging=averaging, label_smoothing=averaging / 9)
    with Watch() as watch:
        epochs = list(train(network, recipe, 2, digits(100), digits(50), seed=0))
    assert len(epochs) == 2
    assert watch.calls["aten._fused_sgd_.default"] == 2 * 4  # 100 images are 4 batches
    assert not watch.waits


def test_an_evaluation_reads_nothing_back() -> None:
    network = network_of("assignment")
    with Watch() as watch:
        evaluate(network, digits(40))
    assert watch.calls["aten.argmax.default"] == 1
    assert not watch.waits


def test_the_watch_sees_a_read_back() -> None:
    def waiting(images: Tensor, index: Tensor, matrices: Tensor | None) -> Tensor:
        assert index.max().item() < len(images)
        return gather(images, index, matrices)

    with Watch() as watch:
        list(fit_epochs(network_of("assignment"), RECIPE, 1, digits(64), 0, waiting))
    assert watch.waits["aten._local_scalar_dense.default"] == 2


@pytest.mark.parametrize("name", REFERENCE_DESIGNS)
def test_a_step_is_a_function_of_tensors_on_one_device(name: str) -> None:
    """On the meta device no tensor has values: whatever reads one, or another device's, raises."""
    network = build(REFERENCE_DESIGNS[name]).to("meta")
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    step = stepper(network, optimiser)
    images = torch.empty(16, 1, 28, 28, device="meta")
    labels = torch.empty(16, dtype=torch.int64, device="meta")
    for _ in range(2):
        logits, loss = step(images, labels)
    assert (logits.shape, loss.shape) == ((16, 10), ())
    assert {each.device.type for each in (logits, loss)} == {"meta"}


def test_a_step_that_reads_a_value_would_be_seen() -> None:
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(784, 10)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.last(images.flatten(1))  # [batch, 784] -> [batch, 10]
            return logits * (1 if logits.sum().item() > 0 else 2)

    network = Reading().to("meta")
    step = stepper(network, torch.optim.SGD(network.parameters(), lr=0.1))
    images = torch.empty(4, 1, 28, 28, device="meta")
    with pytest.raises(RuntimeError, match="meta"):
        step(images, torch.empty(4, dtype=torch.int64, device="meta"))
