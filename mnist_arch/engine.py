"""Engines and devices: where a network trains and with what.

Every engine trains the same `nn.Module` with the same optimiser and gives the same record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from mnist_arch.errors import UserError

DEVICES = ("auto", "cpu", "cuda", "mps")
ENGINES = ("auto", "torch")

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine on a device, and one line that says why this one."""

    name: str
    device: str
    reason: str


def choose_device(name: str) -> str:
    """Turn `auto`, `cpu`, `cuda` or `mps` into a device that is there; raises `UserError`."""
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return next(device for device, there in present.items() if there)
    if not present.get(name, False):
        there = ", ".join(device for device, there in present.items() if there)
        raise UserError(
            f"--device {name}: not on this machine, which has {there}; use --device auto"
        )
    return name


def choose_engine(engine: str, device: str) -> Engine:
    """Choose an engine for a device; raises `UserError` where it can't run."""
    chosen = choose_device(device)
    if engine not in ENGINES:
        raise UserError(f"--engine {engine}: must be one of {', '.join(ENGINES)}")
    return Engine("torch", chosen, f"engine torch on {chosen}")


def prepare(network: Network, engine: Engine) -> Network:
    """Move a network to the engine's device, in the memory layout that is fastest there.

    On a CPU that is channels last, which is faster than rows last on designs of 8 to 32
    channels (`pytest benchmarks` measures both).
    """
    if engine.device == "cpu":
        return network.to(memory_format=torch.channels_last)
    return network.to(engine.device)
