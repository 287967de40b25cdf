"""Tables for networks without a plan: chains of torch's layers, in any order."""

from __future__ import annotations

from typing import Any

from torch import nn

from mnist_arch import lanes
from mnist_arch.build import Network
from mnist_arch.lanes import Accelerated
from mnist_arch.lanes.nodes import ACTIVATIONS, IMAGE, Node, Operation, Shape


def accelerate(
    network: nn.Sequential, threads: int = 1, instruction_set: str | None = None
) -> Accelerated:
    """`lanes.accelerate`, also for a chain without a plan that ends in a flatten."""
    nodes = None if isinstance(network, Network) else table(network)
    return lanes.accelerate(network, threads, instruction_set, nodes)


def table(network: nn.Sequential) -> list[Node]:
    """One node a layer, each reading the one before."""
    nodes: list[Node] = []
    shape = IMAGE
    for place, layer in enumerate(list(network)[:-1]):
        operation, settings = _read(layer, shape)
        shape = settings.pop("output", shape)
        nodes.append(Node(operation, (place - 1,), shape, place, layer, **settings))
    return nodes


def _read(layer: nn.Module, shape: Shape) -> tuple[Operation, dict[str, Any]]:
    channels, rows, columns = shape
    match layer:
        case nn.Conv2d():
            kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
            sides = ((side + 2 * padding - kernel) // stride + 1 for side in (rows, columns))
            settings = {"kernel": kernel, "stride": stride, "padding": padding}
            output = (layer.out_channels, *sides)
            return Operation.CONVOLUTION, {**settings, "groups": layer.groups, "output": output}
        case nn.BatchNorm2d():
            return Operation.BATCH_NORM, {}
        case nn.ReLU() | nn.SiLU() | nn.Hardswish():
            name = {"ReLU": "relu", "SiLU": "silu", "Hardswish": "hard_swish"}[type(layer).__name__]
            return Operation.ACTIVATION, {"activation": ACTIVATIONS[name]}
        case nn.Dropout():
            return Operation.ELEMENT_DROPOUT, {"probability": layer.p}
        case nn.Dropout2d():
            return Operation.CHANNEL_DROPOUT, {"probability": layer.p}
        case nn.MaxPool2d():
            return Operation.MAX_POOL, {"output": (channels, rows // 2, columns // 2)}
        case nn.AvgPool2d() if layer.kernel_size == 2:
            return Operation.AVERAGE_POOL, {"output": (channels, rows // 2, columns // 2)}
        case nn.AvgPool2d() | nn.AdaptiveAvgPool2d():
            return Operation.WHOLE_AVERAGE, {"output": (channels, 1, 1)}
    raise AssertionError(f"no table for {layer}")
