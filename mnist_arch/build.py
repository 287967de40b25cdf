"""Plan -> `nn.Module`: the only place where a design becomes a network.

A new layer has one function here.
"""

from __future__ import annotations

from functools import singledispatch

from torch import Tensor, nn

from mnist_arch.design import AveragePool, Design, Dropout, LocalAveragePool, MaxPool, Sum
from mnist_arch.plan import BatchNorm, Convolution, Node, Plan
from mnist_arch.rules import Rules


def build(design: Design, rules: Rules | None = None) -> Network:
    """Build a design's network: float32 images [batch, 1, 28, 28] in, logits [batch, 10] out.

    `rules` defaults to the assignment's. Raises `Rejected`, before any tensor is allocated, if
    the design breaks them. Weights are drawn from torch's global generator, as torch's layers do.
    """
    return Network((rules or Rules()).check(design))


class Network(nn.Sequential):
    """The torch modules of a plan, in its order, run as its nodes say; at the end a flatten.

    `plan` is the plan; `plan.places` says which module does a node's work. A module appended or
    taken out afterwards is refused when images come.
    """

    def __init__(self, walked: Plan) -> None:
        modules: list[nn.Module] = []
        for node in walked.nodes:
            modules.append(module_of(node.operation, node))
            if node.activation_module:
                modules.append(getattr(nn, node.activation_module)())
        super().__init__(*modules, nn.Flatten())  # [batch, 10, 1, 1] -> [batch, 10]
        self.plan = walked
        self._sums = walked.sums
        self._count = len(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch, 10] of float32 images [batch, 1, 28, 28].

        Raises `ValueError` if the network no longer has the modules that its plan asks for.
        """
        if len(self) != self._count:
            raise ValueError(
                f"the plan asks for {self._count} modules, the network has {len(self)}"
            )
        kept: dict[int, Tensor] = {}
        maps = images
        for place, module in enumerate(self):
            adds = place in self._sums
            maps = module(maps, kept[self._sums[place]]) if adds else module(maps)
            if place in self._sums.values():
                kept[place] = maps
        return maps


class Add(nn.Module):
    """The sum of two maps of one shape."""

    def forward(self, maps: Tensor, earlier: Tensor) -> Tensor:
        """Add value by value."""
        return maps + earlier


@singledispatch
def module_of(operation: object, _node: Node) -> nn.Module:
    """The torch module of a node's operation; raises `TypeError` for one that has none."""
    raise TypeError(f"{type(operation).__name__} has no function in mnist_arch/build.py")


@module_of.register
def _convolution(operation: Convolution, node: Node) -> nn.Module:
    return nn.Conv2d(
        node.input_shape[0], node.output_shape[0], operation.kernel, operation.stride,
        operation.padding, groups=operation.groups, bias=operation.bias,
    )  # fmt: skip


@module_of.register
def _batch_norm(_operation: BatchNorm, node: Node) -> nn.Module:
    return nn.BatchNorm2d(node.input_shape[0])


@module_of.register
def _dropout(operation: Dropout, _node: Node) -> nn.Module:
    return (nn.Dropout2d if operation.kind == "channel" else nn.Dropout)(operation.rate)


@module_of.register
def _max_pool(operation: MaxPool, _node: Node) -> nn.Module:
    return nn.MaxPool2d(operation.size)


@module_of.register
def _local_average_pool(operation: LocalAveragePool, _node: Node) -> nn.Module:
    return nn.AvgPool2d(operation.size)


@module_of.register
def _average_pool(_operation: AveragePool, node: Node) -> nn.Module:
    return nn.AvgPool2d(node.input_shape[1:])


@module_of.register
def _sum(_operation: Sum, _node: Node) -> nn.Module:
    return Add()
