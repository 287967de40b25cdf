"""Engines and devices: where a network trains and with what.

Every engine trains the same `nn.Module` with the same optimiser and gives the same record.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mnist_arch import augment, lanes
from mnist_arch.build import build
from mnist_arch.datasets import DATASETS
from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from mnist_arch.shuffle import Gather
from mnist_arch.step import stepper

ENGINES = ("auto", "torch", "lanes")


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine (`torch` or `lanes`) on a device, and one line that says why this one.

    `falls_back` says that a network whose layers lanes does not know is trained by torch instead
    of being refused.
    """

    name: str
    device: str
    reason: str
    falls_back: bool = True


def choose_device(name: str) -> str:
    """Turn `auto`, `cpu`, `cuda` or `mps` into a device that is there; raises `UserError`.

    `auto` takes a CUDA GPU where there is one. Where there is Apple's GPU, it takes the device
    that trains faster now, by `step_seconds`: launching work there may cost a small network more
    than the CPU's cores do, and which one wins depends on the machine.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto" and present["mps"] and not present["cuda"]:
        return min(("cpu", "mps"), key=step_seconds)
    if name == "auto":
        return "cuda" if present["cuda"] else "cpu"
    if not present.get(name, False):
        there = ", ".join(device for device, there in present.items() if there)
        raise UserError(
            f"--device {name}: not on this machine, which has {there}; use --device auto"
        )
    return name


@functools.cache
def step_seconds(device: str, steps: int = 5) -> float:
    """Seconds of a training step of the baseline on a device, by its fastest engine: the least.

    Batches of 128 images, `steps` of them, after as many to warm up; measured once a process.
    Draws no numbers from torch's global generator.
    """
    images = torch.zeros(128, 1, 28, 28, device=device)
    labels = torch.zeros(128, dtype=torch.int64, device=device)
    with torch.random.fork_rng(devices=[]):
        network = prepare(build(BASELINE), choose_engine("auto", device))
        step = stepper(network, torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9))
        seconds = []
        for _ in range(2 * steps):
            start = time.perf_counter()
            step(images, labels)[1].item()  # waits for the device
            seconds.append(time.perf_counter() - start)
    return min(seconds[steps:])


def choose_engine(engine: str, device: str) -> Engine:
    """Choose an engine for a device; raises `UserError` where it cannot run."""
    if engine not in ENGINES:
        raise UserError(f"--engine {engine}: must be one of {', '.join(ENGINES)}")
    chosen = choose_device(device)
    obstacle = "it trains on a CPU only" if chosen != "cpu" else lanes.why_not()
    if engine == "torch" or (engine == "auto" and obstacle):
        why = f" (lanes not used: {obstacle})" if engine == "auto" else ""
        return Engine("torch", chosen, f"engine torch on {chosen}{why}")
    if obstacle:
        raise UserError(
            f"--engine lanes cannot run here: {obstacle}; use --engine torch, or --engine auto"
        )
    reason = f"engine lanes on cpu ({lanes.instruction_set()})"
    return Engine("lanes", chosen, reason, falls_back=engine == "auto")


def prepare(network: nn.Sequential, engine: Engine, threads: int = 1) -> nn.Module:
    """Make a network ready for training by an engine; its parameters stay what they are.

    Lanes takes a network over layer by layer, with `threads` threads; one with a layer that it
    does not know is left to torch, or refused with `UserError` where lanes was asked for. Torch
    on a CPU stores channels last, which is faster than rows last on designs of 8 to 32 channels
    (`pytest benchmarks` measures both). So it does on a CUDA GPU, but not for a network with
    grouped convolutions: cuDNN compiles a program for each of these, for seconds.
    """
    if engine.name == "lanes":
        unsupported = lanes.supports(network)
        if unsupported is None:
            return lanes.accelerate(network, threads)
        if not engine.falls_back:
            raise UserError(f"--engine lanes: {unsupported}; use --engine auto or torch")
    if engine.device == "cpu":
        return network.to(memory_format=torch.channels_last)
    if engine.device == "cuda" and not any(_is_grouped(layer) for layer in network):
        return network.to(engine.device).to(memory_format=torch.channels_last)
    return network.to(engine.device)


def use_threads(network: nn.Module, threads: int) -> None:
    """Let a prepared network train with so many threads from now on, if that changes no result.

    Lanes gives the same bits with any number. Torch does not, and is left with what it has.
    """
    if isinstance(network, lanes.Accelerated):
        network.use_threads(threads)


def _is_grouped(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups > 1


def engine_of(network: nn.Module) -> str:
    """The name of the engine that trains a prepared network: what to write down."""
    return "lanes" if isinstance(network, lanes.Accelerated) else "torch"


def gather_for(engine: Engine, dataset: str = "mnist") -> Gather:
    """What makes batches of a data set's images, normalised for it, for an engine."""
    gather = _gather if engine.name == "lanes" else augment.gather
    return functools.partial(gather, dataset=dataset)


def _gather(images: Tensor, index: Tensor, matrices: Tensor | None, dataset: str) -> Tensor:
    """As `augment.gather`, in one native pass."""
    data = DATASETS[dataset]
    return lanes.augment(images, index, matrices, data.mean, data.standard_deviation)
