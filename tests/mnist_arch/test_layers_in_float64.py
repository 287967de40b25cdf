"""Every layer as `build` makes it, against its formula written out in float64."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from mnist_arch.build import Network
from mnist_arch.design import (
    AveragePool,
    Conv,
    DepthwiseConv,
    Design,
    Dropout,
    Linear,
    LocalAveragePool,
    MaxPool,
    Sum,
)
from mnist_arch.layers import Activation
from mnist_arch.plan import plan
from tests.mnist_arch.strategies import small_graphs

EPSILON, MOMENTUM = 1e-5, 0.1  # of batch norm


def activate(maps: Tensor, activation: Activation) -> Tensor:
    if activation == "relu":
        return torch.where(maps > 0, maps, 0)
    if activation == "silu":
        return maps / (1 + torch.exp(-maps))
    if activation == "hard_swish":
        return maps * (maps + 3).clamp(0, 6) / 6
    return maps


class Formulas:
    """A design's layers as formulas, on the parameters of a network in their order."""

    def __init__(self, network: nn.Module) -> None:
        self.parameters = iter(list(network.parameters()))
        self.statistics: list[Tensor] = []  # running mean and variance after one batch

    def run(self, design: Design, maps: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        for layer in design.layers:
            if isinstance(layer, Conv | DepthwiseConv):
                maps = self.convolve(layer, maps)
            elif isinstance(layer, MaxPool | LocalAveragePool):
                squares = self.squares(maps, layer.size)
                maps = squares.amax(-1) if isinstance(layer, MaxPool) else squares.mean(-1)
            elif isinstance(layer, AveragePool):
                maps = maps.mean((2, 3), keepdim=True)
            elif isinstance(layer, Sum):
                maps = activate(maps + outputs[layer.layer - 1], layer.activation)
            outputs.append(maps)
        return maps.flatten(1)

    def convolve(self, layer: Conv | DepthwiseConv, maps: Tensor) -> Tensor:
        weight = next(self.parameters)  # [out, in / groups, kernel, kernel]
        groups = maps.shape[1] // weight.shape[1]
        patches = functional.unfold(maps, layer.kernel, padding=layer.padding, stride=layer.stride)
        patches = patches.reshape(
            len(maps), groups, -1, patches.shape[2]
        )  # -> [batch, groups, in * kernel^2, places]
        grouped = weight.reshape(
            groups, len(weight) // groups, -1
        )  # -> [groups, out, in * kernel^2]
        side = (maps.shape[2] + 2 * layer.padding - layer.kernel) // layer.stride + 1
        maps = torch.einsum("bgip,goi->bgop", patches, grouped).flatten(1, 2)
        maps = maps.reshape(
            *maps.shape[:2], side, side
        )  # [batch, out, places] -> [batch, out, side, side]
        if layer.bias:
            maps = maps + next(self.parameters).view(-1, 1, 1)
        if layer.activation_first:
            return self.normalise(activate(maps, layer.activation))
        return activate(self.normalise(maps) if layer.batch_norm else maps, layer.activation)

    def normalise(self, maps: Tensor) -> Tensor:
        """Batch norm (Ioffe and Szegedy, arXiv:1502.03167)."""
        scale, shift = next(self.parameters), next(self.parameters)
        mean = maps.mean((0, 2, 3), keepdim=True)
        variance = ((maps - mean) ** 2).mean((0, 2, 3), keepdim=True)
        count = maps.numel() // maps.shape[1]
        unbiased = variance * count / (count - 1)
        self.statistics += [MOMENTUM * mean.flatten(), 0.9 + MOMENTUM * unbiased.flatten()]
        standard = (maps - mean) / torch.sqrt(variance + EPSILON)
        return standard * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)

    @staticmethod
    def squares(maps: Tensor, size: int) -> Tensor:
        """[batch, channels, rows, columns] -> [..., rows / size, columns / size, size^2]."""
        return maps.unfold(2, size, size).unfold(3, size, size).flatten(4)


def computable(design: Design) -> bool:
    """Without chance and without a fully connected layer, which `build` does not make."""
    return not any(isinstance(layer, Linear | Dropout) for layer in design.layers)


@settings(max_examples=60, deadline=None)
@given(small_graphs().filter(computable), st.integers(2, 5))
def test_outputs_gradients_and_statistics_equal_the_formulas(design: Design, batch: int) -> None:
    torch.manual_seed(0)
    network = Network(plan(design)).double()
    with torch.no_grad():  # no shift is 0, where a ReLU of a constant map would meet its kink
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    images = torch.randn(batch, 1, 28, 28, dtype=torch.float64)
    formulas = Formulas(network)
    expected = formulas.run(design, images)
    found = network(images)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-7)
    wanted = torch.randn_like(expected)
    parameters = list(network.parameters())
    if parameters:
        ours = torch.autograd.grad((found * wanted).sum(), parameters)
        theirs = torch.autograd.grad((expected * wanted).sum(), parameters)
        torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-5)
    statistics = [
        each for name, each in network.named_buffers() if name.split(".")[1].startswith("running")
    ]
    torch.testing.assert_close(statistics, formulas.statistics, atol=1e-9, rtol=1e-7)
