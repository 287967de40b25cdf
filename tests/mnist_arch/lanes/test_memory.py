"""Native memory is freed with its network, and kept from step to step."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest
import torch

from tests.mnist_arch.lanes.chains import accelerate
from tests.mnist_arch.lanes.designs import seed_network

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads its own memory as Linux tells it"
)


def resident_megabytes() -> float:
    with Path("/proc/self/statm").open() as pages:
        return int(pages.read().split()[1]) * 4096 / 1e6


def train(steps: int = 1, threads: int = 1) -> None:
    fast = accelerate(seed_network("de"), threads=threads)
    for _ in range(steps):
        fast(torch.zeros(32, 1, 28, 28)).sum().backward()


def growth(threads: int, networks: int) -> float:
    before = resident_megabytes()
    for _ in range(networks):
        train(threads=threads)
    gc.collect()
    return resident_megabytes() - before


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_three_hundred_networks_leave_nothing_behind(threads: int) -> None:
    """One network alone takes about 10 MB: a leak shows in every round, an allocator's whim not."""
    growth(threads, 20)
    rounds = [growth(threads, 100 if threads == 1 else 20) for _ in range(3)]
    assert min(rounds) < 20


def test_steps_take_no_further_memory() -> None:
    train(steps=20)
    rounds = []
    for _ in range(3):
        before = resident_megabytes()
        train(steps=70)
        rounds.append(resident_megabytes() - before)
    assert min(rounds) < 20
