"""Training steps of lanes on each of the designs of `benchmarks.steps`."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.steps import DESIGNS, training_step
from mnist_arch import lanes


@pytest.mark.skipif(not lanes.available(), reason=f"lanes: {lanes.why_not()}")
@pytest.mark.parametrize("name", DESIGNS)
def test_training_step(name: str, benchmark: BenchmarkFixture) -> None:
    """One training step on a batch of 128, on one thread."""
    torch.set_num_threads(1)
    benchmark(training_step(lanes.accelerate(DESIGNS[name]())))
