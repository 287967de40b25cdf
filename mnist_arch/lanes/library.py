"""The native library: which one this CPU can run, and its C interface (`native/lanes.h`)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

INSTRUCTION_SETS = ("avx512", "avx2", "baseline")
"""Best first; a machine that is not x86-64 has the baseline only."""

ENVIRONMENT_VARIABLE = "LANES_INSTRUCTION_SET"
MAX_CHANNEL_DROPOUTS = 4

_SUFFIXES = (".so", ".dylib", ".pyd", ".dll")
_int32, _double, _pointer = ctypes.c_int32, ctypes.c_double, ctypes.c_void_p


class StageStruct(ctypes.Structure):
    """`LanesStage`: one convolution and what follows it up to the next."""

    _fields_ = (
        *((name, _int32) for name in ("in_channels", "out_channels", "kernel", "padding")),
        *((name, _int32) for name in ("height", "width")),
        *((name, _int32) for name in ("relu_before", "batch_norm", "relu_after", "pool")),
        *((name, _int32) for name in ("before_layer", "after_layer")),
        ("channel_layers", _int32 * MAX_CHANNEL_DROPOUTS),
        ("before_probability", _double),
        ("after_probability", _double),
        ("channel_probabilities", _double * MAX_CHANNEL_DROPOUTS),
        ("epsilon", _double),
    )


TENSOR_FIELDS = (
    *("weight", "bias", "gamma", "beta", "running_mean", "running_variance", "batches"),
    *("weight_gradient", "bias_gradient", "gamma_gradient", "beta_gradient"),
)


class TensorsStruct(ctypes.Structure):
    """`LanesTensors`: the addresses of one stage's tensors, and its momentum in this step."""

    _fields_ = (*((name, _pointer) for name in TENSOR_FIELDS), ("momentum", _double))


class ParameterStruct(ctypes.Structure):
    """`LanesParameter`: the addresses of a parameter, its gradient and its momentum, its size."""

    _fields_ = (
        *((name, _pointer) for name in ("value", "gradient", "momentum")),
        ("size", ctypes.c_int64),
    )


class DescentStruct(ctypes.Structure):
    """`LanesDescent`: the settings of stochastic gradient descent."""

    _fields_ = (
        *((name, _double) for name in ("learning_rate", "momentum", "weight_decay")),
        ("nesterov", _int32),
    )


_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "lanes_instruction_set": (ctypes.c_char_p, ()),
    "lanes_cpu_supports": (ctypes.c_int, (ctypes.c_char_p,)),
    "lanes_create": (
        ctypes.c_int,
        (_pointer, ctypes.c_int, ctypes.c_int, ctypes.POINTER(_pointer)),
    ),
    "lanes_destroy": (None, (_pointer,)),
    "lanes_forward": (
        ctypes.c_int,
        (
            *(_pointer, _pointer, _pointer, ctypes.c_int64),
            *(ctypes.c_int, ctypes.c_int, ctypes.c_uint64, _pointer),
        ),
    ),
    "lanes_backward": (ctypes.c_int, (_pointer, _pointer, _pointer)),
    "lanes_train": (
        ctypes.c_int,
        (
            *(_pointer, _pointer, _pointer, ctypes.c_int, ctypes.POINTER(DescentStruct)),
            *(_pointer, _pointer, ctypes.c_int64, ctypes.c_uint64, _pointer, _pointer),
        ),
    ),
    "lanes_dropout_mask": (
        ctypes.c_int,
        (
            *(ctypes.c_uint64, ctypes.c_int, _double, ctypes.c_int),
            *(ctypes.c_int64, ctypes.c_int, ctypes.c_int, ctypes.c_int, _pointer),
        ),
    ),
    "lanes_augment": (
        ctypes.c_int,
        (
            *(_pointer, ctypes.c_int64, _pointer, ctypes.c_int64),
            *(_pointer, ctypes.c_float, ctypes.c_float, _pointer),
        ),
    ),
    "lanes_ceiling": (_double, (_double,)),
}


def check(status: int, what: str) -> None:
    """Raise what a `LanesStatus` stands for: `MemoryError`, `ValueError` or `RuntimeError`."""
    if status == 1:
        raise MemoryError(f"lanes: not enough memory to {what}")
    if status == 2:
        raise ValueError(f"lanes: refused to {what}: an argument is out of its range")
    if status == 3:
        raise RuntimeError(
            f"lanes: cannot {what}: its forward pass is no longer kept (a graph can be"
            " backpropagated once)"
        )


@cache
def library(instruction_set: str | None = None) -> ctypes.CDLL:
    """The library of one instruction set (None: the best that this CPU runs).

    Raises OSError, which says why, where there is none.
    """
    name = instruction_set or os.environ.get(ENVIRONMENT_VARIABLE) or usable()[0]
    if name not in INSTRUCTION_SETS:
        raise OSError(f"instruction set {name!r} is none of {', '.join(INSTRUCTION_SETS)}")
    if name not in usable():
        raise OSError(f"instruction set {name!r} was not built or this CPU lacks it")
    return _load(name)


@cache
def usable() -> tuple[str, ...]:
    """The instruction sets that were built and that this CPU runs, best first.

    Raises OSError where the library was not built.
    """
    runs: Callable[[bytes], int] = _load("baseline").lanes_cpu_supports
    return tuple(name for name in INSTRUCTION_SETS if runs(name.encode()) and _files(name))


def why_not() -> str | None:
    """Why lanes cannot run here, or None where it can."""
    try:
        library()
    except OSError as error:
        return str(error)
    return None


def available() -> bool:
    """Whether lanes can run here: built, and for this CPU."""
    return why_not() is None


def instruction_set() -> str:
    """The instruction set in use: avx512, avx2 or baseline (raises OSError where there is none)."""
    name: bytes = library().lanes_instruction_set()
    return name.decode()


def ceiling(seconds: float = 0.1) -> float:
    """Measured billions of floating-point operations a second of multiply-adds on one core."""
    rate: float = library().lanes_ceiling(seconds)
    return rate


def _files(name: str) -> list[Path]:
    folder = Path(__file__).parent
    return sorted(path for path in folder.glob(f"_{name}.*") if path.suffix in _SUFFIXES)


def _load(name: str) -> ctypes.CDLL:
    files = _files(name)
    if not files:
        raise OSError("the lanes library was not built (no C++ compiler when this was installed?)")
    loaded = ctypes.CDLL(str(files[0]))
    for function, (result, arguments) in _SIGNATURES.items():
        getattr(loaded, function).restype = result
        getattr(loaded, function).argtypes = list(arguments)
    return loaded
