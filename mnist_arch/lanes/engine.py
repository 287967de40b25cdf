"""Native networks owned by Python: one forward pass and its backward pass at a time."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mnist_arch.lanes.library import (
    DescentStruct,
    ParameterStruct,
    StageStruct,
    TensorsStruct,
    check,
    library,
)
from mnist_arch.lanes.stage import Stage


class Engine:
    """One native network: its memory is kept from step to step and freed with this object.

    Pointers to parameters are read at every pass, so storage may be replaced between passes.
    """

    def __init__(self, stages: Sequence[Stage], threads: int, instruction_set: str | None) -> None:
        """Build for `stages`; raises OSError without a library, MemoryError without memory."""
        self._stages = stages
        self._library = library(instruction_set)
        structs = (StageStruct * len(stages))(*(stage.struct() for stage in stages))
        handle = ctypes.c_void_p()
        check(
            self._library.lanes_create(structs, len(stages), threads, ctypes.byref(handle)),
            "build the network",
        )
        self._handle = handle
        weakref.finalize(self, self._library.lanes_destroy, handle)
        self._tensors = (TensorsStruct * len(stages))()
        self._slots: list[_Slot] = []
        self._norms: list[tuple[TensorsStruct, nn.BatchNorm2d]] = []
        self._gradients: list[tuple[TensorsStruct, str]] = []
        self._descended: ctypes.Array[ParameterStruct] | None = None  # whose gradients are set
        for struct, stage in zip(self._tensors, stages, strict=True):
            self._take_stage(struct, stage)
        self._places = [(slot.holder, slot.name) for slot in self._slots]
        self._addresses: list[int] = []  # of the tensors there, as written last
        channels, height, width = stages[-1].output
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
        descended: ctypes.Array[ParameterStruct],
        descent: DescentStruct,
    ) -> tuple[Tensor, Tensor]:
        """Take a training step; returns the logits before it, [N, outputs], and the mean loss.

        `labels` is contiguous int64 [N]; `descended` holds all parameters in the order of
        `parameters(stages)`, with memory for their gradients.
        """
        logits, loss = torch.empty(len(images), self.outputs), torch.empty(())
        self._point()
        if self._descended is not descended:
            for (struct, field), parameter in zip(self._gradients, descended, strict=True):
                setattr(struct, field, parameter.gradient)
            self._descended = descended
        status = self._library.lanes_train(
            *(self._handle, self._tensors, descended, len(descended), descent),
            *(images.data_ptr(), labels.data_ptr(), len(images), seed),
            *(logits.data_ptr(), loss.data_ptr()),
        )
        check(status, "take a training step")
        return logits, loss

    def backward(self, slopes: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """Gradients of `parameters(stages)`, None where not wanted.

        `slopes` is the loss differentiated by the logits, contiguous [N, outputs].
        """
        gradients = [
            torch.empty_like(parameter) if want else None
            for parameter, want in zip(parameters(self._stages), wanted, strict=True)
        ]
        self._descended = None
        for (struct, field), gradient in zip(self._gradients, gradients, strict=True):
            setattr(struct, field, None if gradient is None else gradient.data_ptr())
        status = self._library.lanes_backward(self._handle, self._tensors, slopes.data_ptr())
        check(status, "run the backward pass")
        return gradients

    def _take_stage(self, struct: TensorsStruct, stage: Stage) -> None:
        """Note where a stage's tensors are found, and where their addresses are written."""
        convolution, norm = stage.convolution, stage.batch_norm
        if convolution is None:
            identity: dict[str, Tensor | None] = {"weight": torch.eye(stage.map[0])}
            self._slots.append(_Slot(identity, "weight", struct, "weight"))
        else:
            self._take_parameters(convolution, struct, weight="weight", bias="bias")
        if norm is not None:
            self._norms.append((struct, norm))
            self._take_parameters(norm, struct, weight="gamma", bias="beta")
            for name, field in _STATISTICS.items():
                if norm._buffers[name] is not None:
                    self._slots.append(_Slot(norm._buffers, name, struct, field))

    def _take_parameters(self, layer: nn.Module, struct: TensorsStruct, **fields: str) -> None:
        for name, field in fields.items():
            if layer._parameters[name] is not None:
                self._slots.append(_Slot(layer._parameters, name, struct, field))
                self._gradients.append((struct, f"{field}_gradient"))


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

    __slots__ = ("dtype", "field", "holder", "name", "struct")

    def __init__(
        self, holder: Mapping[str, Tensor | None], name: str, struct: TensorsStruct, field: str
    ) -> None:
        self.holder, self.name, self.struct, self.field = holder, name, struct, field
        self.dtype = torch.int64 if field == "batches" else torch.float32

    def point(self) -> None:
        """Write the tensor's address; raises `TypeError` for one of another kind."""
        tensor = self.holder[self.name]
        assert tensor is not None
        if tensor.dtype is not self.dtype or not tensor.is_cpu or not tensor.is_contiguous():
            raise TypeError(
                "parameters and statistics must be contiguous float32 on the CPU, not"
                f" {tensor.dtype} on {tensor.device}"
            )
        setattr(self.struct, self.field, tensor.data_ptr())


def parameters(stages: Sequence[Stage]) -> list[Tensor]:
    """The parameters in the order of their layers, as `network.parameters()` gives them."""
    return [
        parameter
        for stage in stages
        for layer in (stage.convolution, stage.batch_norm)
        if layer is not None
        for parameter in layer._parameters.values()  # `parameters()` takes 20 times as long
        if parameter is not None
    ]
