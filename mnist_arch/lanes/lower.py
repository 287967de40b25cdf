"""Lowering: from the plan of a network to the table of nodes that the native library takes.

A new layer has one function here, registered for its operation in the plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch

from torch import nn

from mnist_arch.build import Network
from mnist_arch.design import AveragePool, Dropout, LocalAveragePool, MaxPool, Sum
from mnist_arch.lanes.nodes import ACTIVATIONS, Node, Operation, Unsupported
from mnist_arch.plan import BatchNorm, Convolution, Plan
from mnist_arch.plan import Node as Planned


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node of a plan stands: in the table and in the built network."""

    planned: Planned
    inputs: tuple[int, ...]  # nodes of the table
    layer: int
    module: nn.Module

    def node(self, operation: Operation) -> Node:
        """A node of this place; its settings are the operation's own."""
        return Node(operation, self.inputs, self.planned.output_shape, self.layer, self.module)

    def require(self, module: nn.Module, name: str) -> None:
        """Raise `Unsupported` for a module that is not of the kind that was built, or is hooked."""
        if type(module).__name__ != ("Add" if name == "Sum" else name):
            raise self.refuse(f"is a {type(module).__name__} now, not as built")
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
            raise self.refuse("has hooks, which lanes would not call")

    def refuse(self, reason: str) -> Unsupported:
        """Why this layer cannot be trained natively."""
        return Unsupported(self.planned.label, reason)


def lower(network: nn.Module) -> list[Node]:
    """The table of a network that `build` made; raises `Unsupported`, naming the layer."""
    if not isinstance(network, Network):
        raise TypeError(f"lanes takes a network that build made, not a {type(network).__name__}")
    nodes: list[Node] = []
    last: list[int] = []  # of each node of the plan: the node of the table with its result
    layers = list(network)
    if len(layers) != (wanted := _modules(network.plan)):
        raise TypeError(f"lanes: the network has {len(layers)} modules, its plan {wanted}")
    for planned, layer in zip(network.plan.nodes, network.plan.places, strict=True):
        inputs = tuple(last[index] for index in planned.inputs) or (-1,)
        place = Place(planned, inputs, layer, layers[layer])
        place.require(layers[layer], planned.module)
        nodes.append(node_of(planned.operation, place))
        if planned.activation != "none":
            nodes.append(activation(planned, len(nodes) - 1, layer + 1))
            place.require(layers[layer + 1], planned.activation_module)
        last.append(len(nodes) - 1)
    return nodes


def _modules(plan: Plan) -> int:
    """How many modules a plan's network is made of: nodes, activations and the flatten."""
    return sum(1 + (node.activation != "none") for node in plan.nodes) + 1


def supports(network: nn.Module) -> str | None:
    """Why lanes cannot train this network, or None where it can."""
    try:
        lower(network)
    except (TypeError, Unsupported) as error:
        return str(error)
    return None


def activation(planned: Planned, source: int, layer: int) -> Node:
    """The node of the activation that follows a node of a plan; `source` is that node's own."""
    number = ACTIVATIONS.get(planned.activation)
    if number is None:
        raise Unsupported(planned.label, f"lanes does not know the activation {planned.activation}")
    return Node(Operation.ACTIVATION, (source,), planned.output_shape, layer, activation=number)


@singledispatch
def node_of(operation: object, place: Place) -> Node:
    """The node of an operation of a plan; raises `Unsupported` for one that lanes does not know."""
    raise place.refuse(f"lanes does not know the operation {type(operation).__name__}")


@node_of.register
def _convolution(operation: Convolution, place: Place) -> Node:
    most = operation.kernel // 2
    if operation.stride not in (1, 2):
        raise place.refuse(f"the stride must be 1 or 2, not {operation.stride}")
    if operation.padding > most:
        raise place.refuse(f"padding must be from 0 to {most} wide, not {operation.padding}")
    module = place.module
    assert isinstance(module, nn.Conv2d)
    asked = (operation.kernel, operation.stride, operation.padding, 1)
    sizes = (module.kernel_size, module.stride, module.padding, module.dilation)
    same = all(size == (number, number) for size, number in zip(sizes, asked, strict=True))
    if not same or module.groups != operation.groups or module.padding_mode != "zeros":
        raise place.refuse("its module was set otherwise after it was built")
    return replace(
        place.node(Operation.CONVOLUTION), kernel=operation.kernel, stride=operation.stride,
        padding=operation.padding, groups=operation.groups,
    )  # fmt: skip


@node_of.register
def _batch_norm(_operation: BatchNorm, place: Place) -> Node:
    return place.node(Operation.BATCH_NORM)


@node_of.register
def _dropout(operation: Dropout, place: Place) -> Node:
    if getattr(place.module, "p", None) != operation.rate:
        raise place.refuse("its module was set otherwise after it was built")
    channel = operation.kind == "channel"
    kind = Operation.CHANNEL_DROPOUT if channel else Operation.ELEMENT_DROPOUT
    return replace(place.node(kind), probability=operation.rate)


@node_of.register
def _max_pool(operation: MaxPool, place: Place) -> Node:
    if operation.size != 2:
        raise place.refuse(f"a pool must be 2x2, not {operation.size}x{operation.size}")
    return place.node(Operation.MAX_POOL)


@node_of.register
def _local_average_pool(operation: LocalAveragePool, place: Place) -> Node:
    if operation.size != 2:
        raise place.refuse(f"a pool must be 2x2, not {operation.size}x{operation.size}")
    return place.node(Operation.AVERAGE_POOL)


@node_of.register
def _average_pool(_operation: AveragePool, place: Place) -> Node:
    return place.node(Operation.WHOLE_AVERAGE)


@node_of.register
def _sum(_operation: Sum, place: Place) -> Node:
    return place.node(Operation.SUM)
