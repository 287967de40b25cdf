"""A plan: the single walk over a design, from which everything counts and builds.

Pure integer arithmetic: no torch, no allocation, whatever the widths.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from mnist_arch.arithmetic import (
    ACTIVATION_MODULES,
    BatchNorm,
    Convolution,
    Misfit,
    Operation,
    Part,
    parts,
)
from mnist_arch.design import Design, DesignError
from mnist_arch.layers import Activation, Layer, Shape, Sum

__all__ = [
    "CLASSES",
    "IMAGE_SHAPE",
    "BatchNorm",
    "Convolution",
    "Node",
    "Operation",
    "Plan",
    "PlanError",
    "Shape",
    "plan",
]

IMAGE_SHAPE: Shape = (1, 28, 28)
CLASSES = 10


class PlanError(DesignError):
    """A design through which no image can pass; names the layer and its input map.

    `nodes` are the plan's nodes up to there. `limit` says what is broken, with the value
    `counted` and the largest one `allowed`.
    """

    def __init__(
        self, message: str, nodes: tuple[Node, ...], limit: str, counted: int, allowed: int
    ) -> None:
        super().__init__(message)
        self.nodes = nodes
        self.limit, self.counted, self.allowed = limit, counted, allowed


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a network: what it takes, what comes out of it and what it costs.

    `position` counts the design's layers from 1; a `Conv` makes a node `Convolution` and, with
    batch norm, a node `BatchNorm`. `inputs` are indices of earlier nodes: none for the first
    node, which takes the image, two for a sum, whose second is the earlier map. `activation` is
    applied to the node's output; like in the published log it has no node of its own. `module` is
    the torch module. `macs` counts the multiply-accumulates of convolutions and fully connected
    layers for one image. `receptive_field` is the side, in input pixels, of the square that one
    output value can see, by Araujo et al., "Computing receptive fields of convolutional neural
    networks", Distill 2019: r += (kernel - 1) * jump, jump *= stride; it may exceed the image.
    `jump` is the distance of neighbouring output values in input pixels. For a sum both are the
    larger ones of its inputs.
    """

    position: int
    spec: Layer
    operation: Operation
    inputs: tuple[int, ...]
    label: str
    module: str
    input_shape: Shape
    output_shape: Shape
    parameters: int
    macs: int
    receptive_field: int
    jump: int
    activation: Activation

    @property
    def activation_module(self) -> str:
        """The torch module of the activation, such as `ReLU`; nothing where there is none."""
        return ACTIVATION_MODULES[self.activation]

    @property
    def covers_its_map(self) -> bool:
        """Whether this is a convolution whose weights are used at one place, or see all places.

        Output pixel o sees rows o - padding to o - padding + kernel - 1; for the first and the
        last of them that is the whole side when kernel >= side + padding. A stride may leave one
        output pixel where the kernel is smaller.
        """
        if not isinstance(self.operation, Convolution):
            return False
        operation = self.operation
        covers = operation.kernel >= self.input_shape[1] + operation.padding
        return covers or self.output_shape[1:] == (1, 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """A design walked from the image to the logits: its nodes in order and their totals."""

    design: Design
    nodes: tuple[Node, ...]

    @property
    def layers(self) -> tuple[Node, ...]:
        """The nodes, by their former name."""
        return self.nodes

    @property
    def parameters(self) -> int:
        """Parameters of the whole network, trainable or not."""
        return sum(node.parameters for node in self.nodes)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(node.macs for node in self.nodes)

    @property
    def receptive_field(self) -> int:
        """Receptive field of a logit, in pixels a side."""
        return self.nodes[-1].receptive_field

    @property
    def output_shape(self) -> Shape:
        """Shape of what comes out for one image: (10, 1, 1) when the design makes ten logits."""
        return self.nodes[-1].output_shape

    @property
    def places(self) -> tuple[int, ...]:
        """The place of each node's module among the built network's modules, from 0.

        An activation is a module of its own, right behind its node's; names in a `state_dict`
        begin with these numbers.
        """
        counts = [1 + bool(node.activation_module) for node in self.nodes]
        return tuple(accumulate(counts[:-1], initial=0))

    @property
    def sums(self) -> dict[int, int]:
        """The place of each sum's module -> that of the module whose output it adds.

        That is the module of an activation where one follows the node that is added.
        """
        places = self.places
        added = {
            place: node.inputs[1]
            for place, node in zip(places, self.nodes, strict=True)
            if len(node.inputs) == 2
        }
        return {
            place: places[index] + bool(self.nodes[index].activation_module)
            for place, index in added.items()
        }


def plan(design: Design) -> Plan:
    """Walk a design once; raises `PlanError` if a layer cannot take the map that it is given.

    Raises `TypeError` for a layer that `arithmetic` does not know.
    """
    nodes: list[Node] = []
    last_of: dict[int, int] = {}  # layer number -> index of its last node
    for position, spec in enumerate(design.layers, 1):
        shape = nodes[-1].output_shape if nodes else IMAGE_SHAPE
        label = f"layer {position} ({spec.words(shape)})"
        other = last_of[spec.layer] if isinstance(spec, Sum) else None
        try:
            for part in _fitting(spec, shape, None if other is None else nodes[other]):
                nodes.append(_node(position, spec, label, part, nodes, other))
        except Misfit as misfit:
            raise PlanError(
                f"{label}: {misfit}", tuple(nodes), misfit.limit, misfit.counted, misfit.allowed
            ) from None
        last_of[position] = len(nodes) - 1
    return Plan(design, tuple(nodes))


def _fitting(spec: Layer, shape: Shape, other: Node | None) -> tuple[Part, ...]:
    """The parts of a layer; raises `Misfit` where they lead nowhere or do not fit."""
    found = parts(spec, shape)
    if min(found[0].output_shape) < 1:
        side = shape[1]
        raise Misfit(
            "feature map", 0, 1,
            f"leaves nothing of its {side}x{side} input map; "
            "use a smaller kernel, more padding or fewer pools",
        )  # fmt: skip
    if other is not None and other.output_shape != shape:
        raise Misfit(
            "sum", 1, 0,
            f"adds {_sizes(other.output_shape)} to {_sizes(shape)}; both must have the same shape",
        )  # fmt: skip
    return found


def _sizes(shape: Shape) -> str:
    return "x".join(f"{size:,}" for size in shape)


def _node(
    position: int, spec: Layer, label: str, part: Part, nodes: list[Node], other: int | None
) -> Node:
    """The node of one part, after `nodes`; `other` is the index of the map that it adds."""
    inputs = (len(nodes) - 1,) if nodes else ()
    if other is not None:
        inputs = (*inputs, other)
    taken = [nodes[index] for index in inputs]
    jump = max((node.jump for node in taken), default=1)
    field = max((node.receptive_field for node in taken), default=1)
    return Node(
        position, spec, part.operation, inputs, label, part.module,
        taken[0].output_shape if taken else IMAGE_SHAPE, part.output_shape, part.parameters,
        part.macs, field + (part.window - 1) * jump, jump * part.stride, part.activation,
    )  # fmt: skip
