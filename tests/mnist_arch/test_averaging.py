from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

from mnist_arch import lanes
from mnist_arch.averaging import Average, take_statistics
from mnist_arch.build import build
from mnist_arch.data import Digits
from mnist_arch.design import AveragePool, Conv, Design, Dropout, MaxPool
from mnist_arch.engine import Engine, prepare
from mnist_arch.recipe import Affine, Recipe
from mnist_arch.training import fit_epochs, seed_everything

LOGITS = Conv(10, kernel=1, padding=0, batch_norm=False, relu=False, bias=True)
TINY = Design((Conv(4), MaxPool(4), Conv(6), AveragePool(), LOGITS))
DROPPING = Design((Conv(4), Dropout(0.3), MaxPool(4), Conv(6), AveragePool(), LOGITS))
ONE_BATCH = Recipe(batch_size=64, learning_rate=0.05, schedule="constant", augmentation=Affine())
ENGINES = ("torch", "lanes") if lanes.available() else ("torch",)


def digits(count: int) -> Digits:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=generator)
    return Digits(images, torch.arange(count) % 10)


def images(count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_average_is_torchs_in_float64(decay: float, on_device: bool) -> None:
    torch.manual_seed(0)
    network = build(TINY).double()

    def follow(average: Tensor, weight: Tensor, seen: Tensor | int) -> Tensor:
        mine = min(decay, int(seen) / (9 + int(seen)))
        return torch.lerp(average, weight, 1 - mine)

    theirs = AveragedModel(network, avg_fn=follow)
    ours = Average(network, decay)
    for share in ours.shares(30):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        theirs.update_parameters(network)
        ours.update(torch.tensor(share, dtype=torch.float64) if on_device else share)
    latest = copy.deepcopy(network)
    ours.put_in([images(5)])
    for mine, other in zip(network.parameters(), theirs.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)
    ours.take_out()
    for mine, other in zip(network.parameters(), latest.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_short_training_forgets_its_initial_weights() -> None:
    network = nn.Conv2d(1, 1, 1)
    average = Average(network, 0.9999)
    for value, share in enumerate(average.shares(100)):
        with torch.no_grad():
            network.weight.fill_(value)
        average.update(share)
    average.put_in([])
    assert 80 < network.weight.item() < 95  # plainly averaged at 0.9999 it would be below 1


def test_statistics_are_those_of_torchs_update() -> None:
    torch.manual_seed(0)
    network = build(TINY).double()
    theirs = copy.deepcopy(network)
    batches = [images(20)[:9], images(20)[9:18], images(20)[18:]]
    update_bn(batches, theirs)
    take_statistics(network, batches)
    for name, buffer in network.named_buffers():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(buffer, dict(theirs.named_buffers())[name])
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.1}


@pytest.mark.parametrize("engine", ENGINES)
def test_statistics_draw_no_numbers_from_the_global_generator(engine: str) -> None:
    network = prepare(build(DROPPING), Engine(engine, "cpu", ""))
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    take_statistics(network, [images(8, torch.float32)])
    assert torch.equal(torch.rand(3), expected)


def trained(design: Design, recipe: Recipe, epochs: int, engine: str) -> list[list[Tensor]]:
    """The weights at each yield, and after the end, of a training over 64 images in one batch."""
    seed_everything(0)
    network = prepare(build(design), Engine(engine, "cpu", ""))

    def weights() -> list[Tensor]:
        return [parameter.detach().clone() for parameter in network.parameters()]

    found = [weights() for _ in fit_epochs(network, recipe, epochs, digits(64), seed=0)]
    return [*found, weights()]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("design", [TINY, DROPPING], ids=["plain", "dropout"])
def test_a_training_ends_with_the_average_of_its_steps(design: Design, engine: str) -> None:
    plain = trained(design, ONE_BATCH, 5, engine)[:5]
    averaged = trained(design, replace(ONE_BATCH, averaging=0.15), 5, engine)
    expected = plain[0]
    for number, weights in enumerate(plain):
        decay = min(0.15, number / (9 + number))
        expected = [decay * a + (1 - decay) * b for a, b in zip(expected, weights, strict=True)]
        for mine, other in zip(averaged[number], expected, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
    assert all(map(torch.equal, averaged[-1], averaged[-2]))
    assert not torch.equal(averaged[-1][0], plain[-1][0])


@pytest.mark.parametrize("engine", ENGINES)
def test_an_averaged_network_has_the_statistics_of_its_training_images(engine: str) -> None:
    seed_everything(0)
    recipe = replace(ONE_BATCH, averaging=0.9)
    network = prepare(build(TINY), Engine(engine, "cpu", ""))
    fit = digits(64)
    for _ in fit_epochs(network, recipe, 3, fit, seed=0):
        pass
    oracle = build(TINY).double()
    oracle.load_state_dict(network.state_dict())
    pixels = (fit.images.double().unsqueeze(1) / 255 - 0.1307) / 0.3081
    update_bn([pixels], oracle)
    theirs = dict(oracle.named_buffers())
    for name, buffer in network.named_buffers():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(buffer.double(), theirs[name], rtol=1e-3, atol=1e-4)
