"""Checkup: what `search.doctor` finds out about this machine."""

from __future__ import annotations

import torch

from mnist_arch import lanes
from mnist_arch.data import DataError, load
from mnist_arch.engine import choose_device, choose_engine
from search import facts


def findings() -> list[tuple[str, str]]:
    """What there is here, as names and sentences."""
    hardware = facts.hardware(choose_device("auto"))
    versions = facts.versions()
    return [
        ("machine", f"{hardware['processor']}, {hardware['memory_gib']} GiB, {hardware['system']}"),
        ("cores", f"{facts.usable_cores()} usable; a search on the CPU takes one worker a core"),
        ("device", f"auto is {choose_device('auto')}"),
        ("engine", choose_engine("auto", "auto").reason),
        ("lanes", _lanes()),
        ("torch", f"{versions['torch']}, {torch.get_num_threads()} threads in a single training"),
        ("versions", ", ".join(f"{name} {found}" for name, found in versions.items())),
        ("commit", facts.commit()),
    ]


def _lanes() -> str:
    """Which instruction set lanes runs on, or why it cannot."""
    obstacle = lanes.why_not()
    if obstacle:
        return f"cannot run: {obstacle}"
    usable = ", ".join(lanes.usable())
    return (
        f"runs with {lanes.instruction_set()} (usable here: {usable}); one thread a worker, "
        f"{lanes.peak_gflops():.0f} GFLOP/s of multiply-adds measured on one core"
    )


def data_finding() -> tuple[bool, str]:
    """Whether the packaged MNIST is intact, and a sentence."""
    try:
        images = sum(len(load(part)) for part in ("train", "test"))
    except DataError as error:
        return False, str(error)
    return True, f"{images:,} images, checksums right"
