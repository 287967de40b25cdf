"""The native library: which one this CPU can run, and its C interface (`native/lanes.h`)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from mnist_arch.lanes.sources import digest

INSTRUCTION_SETS = ("avx512", "avx2", "baseline")
"""Best first; a machine that is not x86-64 has the baseline only."""

ENVIRONMENT_VARIABLE = "LANES_INSTRUCTION_SET"
ABI = 3
"""The number of the C interface that this file mirrors."""

_SUFFIXES = (".so", ".dylib", ".pyd", ".dll")
_int32, _double, _pointer = ctypes.c_int32, ctypes.c_double, ctypes.c_void_p


class NodeStruct(ctypes.Structure):
    """`LanesNode`: one operation of a network."""

    _fields_ = (
        ("operation", _int32),
        ("inputs", _int32 * 2),
        *((name, _int32) for name in ("channels", "kernel", "stride", "padding", "groups")),
        ("activation", _int32),
        ("layer", _int32),
        ("probability", _double),
        ("epsilon", _double),
    )


TENSOR_FIELDS = (
    *("weight", "bias", "running_mean", "running_variance", "batches"),
    *("weight_gradient", "bias_gradient"),
)


class TensorsStruct(ctypes.Structure):
    """`LanesTensors`: the addresses of one node's tensors, and its momentum in this step."""

    _fields_ = (*((name, _pointer) for name in TENSOR_FIELDS), ("momentum", _double))


class ParameterStruct(ctypes.Structure):
    """`LanesParameter`: the addresses of a parameter, its gradient and its momentum, its size."""

    _fields_ = (
        *((name, _pointer) for name in ("value", "gradient", "momentum")),
        ("size", ctypes.c_int64),
    )


class DescentStruct(ctypes.Structure):
    """`LanesDescent`: the settings of the loss and of stochastic gradient descent."""

    _fields_ = (
        *(
            (name, _double)
            for name in ("label_smoothing", "learning_rate", "momentum", "weight_decay")
        ),
        ("nesterov", _int32),
    )


_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "lanes_abi": (ctypes.c_int, ()),
    "lanes_sources": (ctypes.c_char_p, ()),
    "lanes_instruction_set": (ctypes.c_char_p, ()),
    "lanes_cpu_supports": (ctypes.c_int, (ctypes.c_char_p,)),
    "lanes_create": (
        ctypes.c_int,
        (_pointer, *(ctypes.c_int,) * 5, ctypes.POINTER(_pointer)),
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
    "lanes_peak": (_double, (_double,)),
    "lanes_fail_on_worker": (ctypes.c_int, (ctypes.c_int,)),
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
    if status != 0:
        raise RuntimeError(f"lanes: cannot {what}: an error inside the native library")


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


def peak_gflops(seconds: float = 0.1) -> float:
    """Measured billions of floating-point operations a second of multiply-adds on one core."""
    rate: float = library().lanes_peak(seconds)
    return rate


def _files(name: str) -> list[Path]:
    folder = Path(__file__).parent
    return sorted(path for path in folder.glob(f"_{name}.*") if path.suffix in _SUFFIXES)


def _load(name: str) -> ctypes.CDLL:
    files = _files(name)
    if not files:
        raise OSError("the lanes library was not built (no C++ compiler when this was installed?)")
    loaded = ctypes.CDLL(str(files[0]))
    _require_own(loaded, files[0])
    for function, (result, arguments) in _SIGNATURES.items():
        getattr(loaded, function).restype = result
        getattr(loaded, function).argtypes = list(arguments)
    return loaded


def _require_own(loaded: ctypes.CDLL, path: Path) -> None:
    """Raise OSError for a library of another interface, or built from other sources."""
    try:
        loaded.lanes_sources.restype = ctypes.c_char_p
        abi, sources = loaded.lanes_abi(), loaded.lanes_sources().decode()
    except AttributeError:
        abi, sources = 0, "unknown"
    if (abi, sources) != (ABI, wanted := digest()):
        raise OSError(
            f"{path.name} is stale: its interface {abi} and sources {sources} are not {ABI} and"
            f" {wanted}; build it again: python -m pip install -e ."
        )
