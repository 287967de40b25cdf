"""Native networks owned by Python: one forward pass and its backward pass at a time."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mnist_arch.lanes.library import StageStruct, TensorsStruct, check, library
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
        self._identities = [_identity(stage) for stage in stages]
        channels, height, width = stages[-1].output
        self.outputs = channels * height * width

    def forward(self, images: Tensor, use_batch: bool, keep: bool, seed: int) -> Tensor:
        """Logits [N, outputs] of float32 images [N, 1, 28, 28].

        `use_batch`: batch statistics and dropout, as in training; `keep`: `backward` will follow.
        """
        logits = torch.empty(len(images), self.outputs)
        for struct, stage, identity in zip(
            self._tensors, self._stages, self._identities, strict=True
        ):
            _point_at_parameters(struct, stage, identity)
        status = self._library.lanes_forward(
            *(self._handle, self._tensors, images.data_ptr(), len(images)),
            *(use_batch, keep, seed, logits.data_ptr()),
        )
        check(status, "run the forward pass")
        return logits

    def backward(self, slopes: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """Gradients of `parameters(stages)`, None where not wanted.

        `slopes` is the loss differentiated by the logits, contiguous [N, outputs].
        """
        gradients = [
            torch.empty_like(parameter) if want else None
            for parameter, want in zip(parameters(self._stages), wanted, strict=True)
        ]
        left = iter(gradients)
        for struct, stage in zip(self._tensors, self._stages, strict=True):
            struct.weight_gradient = struct.bias_gradient = None
            struct.gamma_gradient = struct.beta_gradient = None
            if stage.convolution is not None:
                struct.weight_gradient = _address(next(left))
                if stage.convolution.bias is not None:
                    struct.bias_gradient = _address(next(left))
            if stage.batch_norm is not None:
                struct.gamma_gradient = _address(next(left))
                struct.beta_gradient = _address(next(left))
        status = self._library.lanes_backward(self._handle, self._tensors, slopes.data_ptr())
        check(status, "run the backward pass")
        return gradients


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


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _identity(stage: Stage) -> Tensor | None:
    return torch.eye(stage.map[0]) if stage.convolution is None else None


def _point_at_parameters(struct: TensorsStruct, stage: Stage, identity: Tensor | None) -> None:
    convolution, norm = stage.convolution, stage.batch_norm
    if convolution is None:
        struct.weight, struct.bias = _address(identity), None
    else:
        struct.weight, struct.bias = _address(convolution.weight), _address(convolution.bias)
    if norm is not None:
        struct.gamma, struct.beta = norm.weight.data_ptr(), norm.bias.data_ptr()
        struct.running_mean = _address(norm.running_mean)
        struct.running_variance = _address(norm.running_var)
        struct.momentum = _momentum(norm)


def _momentum(norm: nn.BatchNorm2d) -> float:
    """The weight of this batch; without a momentum every batch so far weighs the same."""
    if norm.momentum is not None:
        return norm.momentum
    assert norm.num_batches_tracked is not None
    return 1.0 / max(1, int(norm.num_batches_tracked))
