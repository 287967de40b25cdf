"""What the tests of lanes share: they need the library, and run one thread for PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from mnist_arch import lanes


@pytest.fixture(autouse=True)
def _library(request: pytest.FixtureRequest) -> None:
    """Skip, with the reason, where the library cannot run; its absence is tested elsewhere."""
    reason = lanes.why_not()
    if reason and "needs_no_library" not in request.keywords:
        pytest.skip(f"lanes: {reason}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that asks for an `instruction_set` with all that this CPU has."""
    if "instruction_set" in metafunc.fixturenames:
        names = lanes.usable() if lanes.available() else ("none",)
        metafunc.parametrize("instruction_set", names)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
