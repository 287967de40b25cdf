"""Finding the native library, and doing without."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mnist_arch import lanes
from mnist_arch.lanes import library
from mnist_arch.lanes.sources import digest
from tests.mnist_arch.lanes.chains import accelerate
from tests.mnist_arch.lanes.designs import small_network


def run(code: str, **environment: str) -> str:
    """What a fresh Python prints."""
    root = Path(lanes.__file__).parents[2]
    variables = {**os.environ, "PYTHONPATH": str(root), **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=variables, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def fresh_cache() -> Iterator[None]:
    """Let the library be searched for anew, now and after the test."""
    library.usable.cache_clear()
    library.library.cache_clear()
    yield
    library.usable.cache_clear()
    library.library.cache_clear()


def test_the_best_instruction_set_is_taken() -> None:
    assert lanes.available()
    assert lanes.why_not() is None
    assert lanes.usable()[-1] == "baseline"
    wanted = os.environ.get(library.ENVIRONMENT_VARIABLE) or lanes.usable()[0]
    assert lanes.instruction_set() == wanted


def test_the_environment_chooses(
    instruction_set: str, fresh_cache: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(library.ENVIRONMENT_VARIABLE, instruction_set)
    assert lanes.instruction_set() == instruction_set


def test_an_unknown_choice_is_a_clear_reason(
    fresh_cache: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(library.ENVIRONMENT_VARIABLE, "sse9")
    assert not lanes.available()
    assert lanes.why_not() == "instruction set 'sse9' is none of avx512, avx2, baseline"


@pytest.mark.needs_no_library
def test_a_library_that_was_not_built_is_a_clear_reason(
    fresh_cache: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "_files", lambda name: [])
    assert "was not built" in str(lanes.why_not())
    assert not lanes.available()
    with pytest.raises(OSError, match="was not built"):
        accelerate(small_network())


def test_instruction_sets_agree() -> None:
    images = torch.randn(20, 1, 28, 28)
    torch.manual_seed(0)
    network = small_network()
    results = [accelerate(network, instruction_set=name)(images) for name in lanes.usable()]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=1e-4, atol=1e-5)


def test_the_peak_is_a_rate() -> None:
    assert 0.5 < lanes.peak_gflops(0.01) < 10_000


def test_statuses_become_exceptions() -> None:
    library.check(0, "do")
    for status, error in ((1, MemoryError), (2, ValueError), (3, RuntimeError), (4, RuntimeError)):
        with pytest.raises(error, match="do"):
            library.check(status, "do")


def test_an_error_on_a_worker_thread_reaches_the_caller(instruction_set: str) -> None:
    native = library.library(instruction_set)
    assert native.lanes_fail_on_worker(1) == 0  # there is no worker
    for _ in range(50):
        status = native.lanes_fail_on_worker(3)
        with pytest.raises(RuntimeError, match="an error inside the native library"):
            library.check(status, "go on")


def test_a_stale_or_foreign_library_is_refused_with_the_remedy(
    fresh_cache: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(library, "digest", lambda: "0123456789abcdef")
        assert f"is stale: its interface {library.ABI} and sources" in str(lanes.why_not())
        assert f"are not {library.ABI} and 0123456789abcdef; build it again: python -m pip" in str(
            lanes.why_not()
        )
    with monkeypatch.context() as patched:
        patched.setattr(library, "ABI", 99)
        assert "are not 99 and" in str(lanes.why_not())
    foreign = ctypes.util.find_library("m")
    assert foreign is not None
    with pytest.raises(OSError, match="is stale: its interface 0 and sources unknown"):
        library._require_own(ctypes.CDLL(foreign), Path("_foreign.so"))
    assert lanes.available()


def test_the_digest_follows_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a.h").write_text("one")
    first = digest(tmp_path)
    (tmp_path / "README.md").write_text("not compiled")
    assert digest(tmp_path) == first
    (tmp_path / "a.h").write_text("two")
    second = digest(tmp_path)
    (tmp_path / "a.h").rename(tmp_path / "b.h")
    assert len({first, second, digest(tmp_path)}) == 3


def test_running_out_of_memory_is_a_memory_error() -> None:
    code = """
import resource, torch
from mnist_arch import lanes
from mnist_arch.build import Network
from mnist_arch.design import Conv, Design
from mnist_arch.plan import plan
conv = Conv(64, padding=0, batch_norm=False, relu=False)
network = lanes.accelerate(Network(plan(Design((conv,)))))
images = torch.zeros(1000, 1, 28, 28)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 250_000_000, used + 250_000_000))
try:
    network(images)
except MemoryError as error:
    print(error)
print(network(images[:16]).shape)
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("limits its own memory as Linux does")
    answer = run(code)
    assert "not enough memory to run the forward pass" in answer
    assert "torch.Size([16, 43264])" in answer


JOB = """
import multiprocessing, torch
from mnist_arch import lanes
from mnist_arch.build import Network
from mnist_arch.design import AveragePool, Conv, Design
from mnist_arch.plan import plan
def train(_):
    conv = Conv(4, padding=0, batch_norm=False, relu=False, bias=True)
    network = Network(plan(Design((conv, AveragePool()))))
    lanes.accelerate(network, threads=2)(torch.zeros(40, 1, 28, 28)).sum().backward()
    return round(float(network[0].bias.grad.sum()))
if __name__ == "__main__":
    train(0)
    for method in ("spawn", "fork"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.map(train, range(3)))
"""


@pytest.mark.ci
@pytest.mark.slow
def test_processes_started_by_spawn_or_fork_train(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(JOB)
    answer = run(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    assert answer.splitlines() == ["[160, 160, 160]"] * 2
