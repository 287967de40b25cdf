"""Native networks owned by Python: one forward pass and its backward pass at a time."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mnist_arch.lanes.library import (
    DescentStruct,
    NodeStruct,
    ParameterStruct,
    TensorsStruct,
    check,
    library,
)
from mnist_arch.lanes.nodes import IMAGE, Node, Operation, modules


class Descended:
    """All parameters of a network for the native descent, with memory for their gradients."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        """Make memory for the gradients of `parameters`, which stay the optimiser's."""
        self.gradients = [torch.empty(parameter.shape) for parameter in parameters]
        self.structs = (ParameterStruct * len(self.gradients))()
        for struct, gradient in zip(self.structs, self.gradients, strict=True):
            struct.gradient, struct.size = gradient.data_ptr(), gradient.numel()


class Handle:
    """One native network: its memory is kept from call to call and freed with this object.

    Pointers to parameters are read at every call, so storage may be replaced between calls.
    """

    def __init__(self, nodes: Sequence[Node], threads: int, instruction_set: str | None) -> None:
        """Build for `nodes`; raises OSError without a library, MemoryError without memory."""
        self._nodes = nodes
        self._library = library(instruction_set)
        structs = (NodeStruct * len(nodes))(*(node.struct() for node in nodes))
        handle = ctypes.c_void_p()
        check(
            self._library.lanes_create(structs, len(nodes), *IMAGE, threads, ctypes.byref(handle)),
            "build the network",
        )
        self._handle = handle
        weakref.finalize(self, self._library.lanes_destroy, handle)
        self._tensors = (TensorsStruct * len(nodes))()
        self._slots: list[_Slot] = []
        self._norms: list[tuple[TensorsStruct, nn.BatchNorm2d]] = []
        self._gradients: list[tuple[TensorsStruct, str]] = []
        self._descended: Descended | None = None  # whose gradients are set
        for struct, node in zip(self._tensors, nodes, strict=True):
            self._take_node(struct, node)
        self._places = [(slot.holder, slot.name) for slot in self._slots]
        self._addresses: list[int] = []  # of the tensors there, as written last
        channels, height, width = nodes[-1].output
        self.outputs = channels * height * width

    def forward(self, images: Tensor, use_batch: bool, keep: bool, seed: int) -> Tensor:
        """Logits [N, outputs] of float32 images [N, 1, 28, 28].

        `use_batch`: batch statistics and dropout, as in training; `keep`: `backward` will follow.
        """
        logits = torch.empty(len(images), self.outputs)
        self._point()
        status = self._library.lanes_forward(
            *(self._handle, self._tensors, images.data_ptr(), len(images)),
            *(use_batch, keep, seed, logits.data_ptr()),
        )
        check(status, "run the forward pass")
        return logits

    def _point(self) -> None:
        """Write the addresses of the tensors, if any is not where it was."""
        addresses = [_address(holder[name]) for holder, name in self._places]
        if addresses != self._addresses:
            for slot in self._slots:
                slot.point()
            self._addresses = addresses
        for struct, norm in self._norms:
            struct.momentum = -1.0 if norm.momentum is None else norm.momentum

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        seed: int,
        descended: Descended,
        descent: DescentStruct,
    ) -> tuple[Tensor, Tensor]:
        """Take a training step; returns the logits before it, [N, outputs], and the mean loss.

        `labels` is contiguous int64 [N]; `descended` holds all parameters in the order of
        `parameters(nodes)`; it is kept, for its gradients' addresses are.
        """
        logits, loss = torch.empty(len(images), self.outputs), torch.empty(())
        self._point()
        if self._descended is not descended:
            for (struct, field), parameter in zip(self._gradients, descended.structs, strict=True):
                setattr(struct, field, parameter.gradient)
            self._descended = descended
        status = self._library.lanes_train(
            *(self._handle, self._tensors, descended.structs, len(descended.structs), descent),
            *(images.data_ptr(), labels.data_ptr(), len(images), seed),
            *(logits.data_ptr(), loss.data_ptr()),
        )
        check(status, "take a training step")
        return logits, loss

    def backward(self, gradient: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """Gradients of `parameters(nodes)`, None where not wanted.

        `gradient` is the loss differentiated by the logits, contiguous [N, outputs].
        """
        require(gradient, torch.float32, len(gradient) * self.outputs, "the logits' gradient")
        gradients = [
            torch.empty_like(parameter) if want else None
            for parameter, want in zip(parameters(self._nodes), wanted, strict=True)
        ]
        self._descended = None
        for (struct, field), found in zip(self._gradients, gradients, strict=True):
            setattr(struct, field, None if found is None else found.data_ptr())
        status = self._library.lanes_backward(self._handle, self._tensors, gradient.data_ptr())
        for struct, field in self._gradients:  # autograd owns them from here on
            setattr(struct, field, None)
        check(status, "run the backward pass")
        return gradients

    def _take_node(self, struct: TensorsStruct, node: Node) -> None:
        """Note where a node's tensors are found, and where their addresses are written."""
        layer = node.module
        if layer is None or node.operation not in (Operation.CONVOLUTION, Operation.BATCH_NORM):
            return
        sizes = _sizes(node)
        for name in ("weight", "bias"):
            optional = name == "bias" and isinstance(layer, nn.Conv2d)
            if layer._parameters[name] is not None or not optional:
                self._slots.append(_Slot(layer._parameters, name, struct, name, sizes[name]))
                self._gradients.append((struct, f"{name}_gradient"))
        if isinstance(layer, nn.BatchNorm2d):
            self._norms.append((struct, layer))
            for name, field in _STATISTICS.items():
                self._slots.append(_Slot(layer._buffers, name, struct, field, sizes[name]))


def _sizes(node: Node) -> dict[str, int]:
    """How many numbers each tensor of a node has."""
    channels = node.output[0]
    if node.operation is not Operation.CONVOLUTION:
        return dict.fromkeys(("weight", "bias", *_STATISTICS), channels) | {
            "num_batches_tracked": 1
        }
    assert isinstance(node.module, nn.Conv2d)
    inputs = node.module.in_channels // node.groups
    return {"weight": channels * inputs * node.kernel**2, "bias": channels}


def _address(tensor: Tensor | None) -> int:
    """Where a tensor lies; 0, which no tensor's is, where it does not lie in one piece."""
    return tensor.data_ptr() if tensor is not None and tensor.is_contiguous() else 0


_STATISTICS = {
    "running_mean": "running_mean",
    "running_var": "running_variance",
    "num_batches_tracked": "batches",
}


class _Slot:
    """One tensor that the native library is told the address of: its layer's dict and name."""

    __slots__ = ("dtype", "field", "holder", "name", "size", "struct")

    def __init__(
        self,
        holder: Mapping[str, Tensor | None],
        name: str,
        struct: TensorsStruct,
        field: str,
        size: int,
    ) -> None:
        self.holder, self.name, self.struct, self.field = holder, name, struct, field
        self.size = size
        self.dtype = torch.int64 if field == "batches" else torch.float32

    def point(self) -> None:
        """Write the tensor's address; raises `TypeError` or `ValueError` for one that differs."""
        tensor = self.holder[self.name]
        if tensor is None:
            raise TypeError(f"{self.name} is missing, which lanes needs to train")
        require(tensor, self.dtype, self.size, self.name)
        setattr(self.struct, self.field, tensor.data_ptr())


def require(tensor: Tensor, dtype: torch.dtype, size: int, name: str) -> None:
    """Raise unless a tensor is what native code may read at its address.

    `TypeError` unless it is a contiguous `dtype` on the CPU, `ValueError` unless it has `size`
    numbers.
    """
    if tensor.dtype is not dtype or not tensor.is_cpu or not tensor.is_contiguous():
        layout = "contiguous" if tensor.is_contiguous() else "not contiguous"
        raise TypeError(
            f"{name} must be contiguous {dtype} on the CPU, not {tensor.dtype} on"
            f" {tensor.device}, {layout}"
        )
    if tensor.numel() != size:
        raise ValueError(f"{name} must have {size} numbers, not {tensor.numel()}")


def parameters(nodes: Sequence[Node]) -> list[Tensor]:
    """The parameters in the order of their nodes, as `network.parameters()` gives them."""
    return [
        parameter
        for layer in modules(nodes)
        for parameter in layer._parameters.values()  # `parameters()` takes 20 times as long
        if parameter is not None
    ]
