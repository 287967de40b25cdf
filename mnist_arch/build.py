"""Plan -> `nn.Sequential`: the only place where a design becomes a network."""

from __future__ import annotations

from torch import nn

from mnist_arch.design import AveragePool, Conv, Design, Dropout, Linear, MaxPool
from mnist_arch.plan import PlannedLayer
from mnist_arch.rules import Rules


def build(design: Design, rules: Rules | None = None) -> nn.Sequential:
    """Build a design's network: float32 images [batch, 1, 28, 28] in, logits [batch, 10] out.

    `rules` defaults to the assignment's. Raises `Rejected`, before any tensor is allocated, if
    the design breaks them. Weights are drawn from torch's global generator, as torch's layers do.
    """
    walked = (rules or Rules()).check(design)
    modules: list[nn.Module] = []
    for layer in walked.layers:
        modules.append(_module(layer))
        if layer.relu:
            modules.append(nn.ReLU())
    return nn.Sequential(*modules, nn.Flatten())  # [batch, 10, 1, 1] -> [batch, 10]


def _module(layer: PlannedLayer) -> nn.Module:
    """The torch module of one line of a plan."""
    channels, rows, columns = layer.input_shape
    match layer.spec:
        case Conv() if layer.module == "BatchNorm2d":
            return nn.BatchNorm2d(channels)
        case Conv() as conv:
            return nn.Conv2d(
                channels, conv.out_channels, conv.kernel, padding=conv.padding, bias=conv.bias
            )
        case Dropout(rate=rate, kind="channel"):
            return nn.Dropout2d(rate)
        case Dropout(rate=rate):
            return nn.Dropout(rate)
        case MaxPool(size=size):
            return nn.MaxPool2d(size)
        case AveragePool():
            return nn.AvgPool2d((rows, columns))
        case Linear():
            raise AssertionError("the rules refuse every fully connected layer")
