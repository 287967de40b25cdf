"""Training steps of every engine on each of the designs of `benchmarks.steps`.

`BENCHMARK_ROUNDS` rounds (5) of three steps a variant, turn by turn; `BENCHMARK_COMPILE=1` also
measures `torch.compile`, which takes half a minute a design to compile.
"""

from __future__ import annotations

import os

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from rich.console import Console

from benchmarks.steps import DESIGNS, Measurement, heading, measure, table

ROUNDS = int(os.environ.get("BENCHMARK_ROUNDS", "5"))
COMPILED = os.environ.get("BENCHMARK_COMPILE") == "1"


@pytest.mark.parametrize("name", DESIGNS)
def test_training_steps(
    name: str, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Print a design's table; medians are kept in the benchmark's record."""
    taken: list[Measurement] = []
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: taken.append(measure(name, COMPILED, ROUNDS)), rounds=1
    )
    (measured,) = taken
    benchmark.extra_info.update(
        design=name,
        step_seconds={variant: measured.median(variant) for variant in measured.times},
        operations=measured.operations,
        peak=measured.peak,
    )
    with capsys.disabled():
        console = Console(highlight=False)
        console.print(f"\n{heading(ROUNDS)}", soft_wrap=True)
        console.print(table(measured))
