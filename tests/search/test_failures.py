from __future__ import annotations

import pytest

from mnist_arch.errors import UserError
from mnist_arch.training import Diverged
from search.failures import TrainingFailed, failures_named, shortage_told

SHORTAGES = [
    (MemoryError(), "host memory"),
    (RuntimeError("CUDA out of memory.\nTried to"), "CUDA out of memory."),
]


@pytest.mark.parametrize(("error", "detail"), SHORTAGES)
def test_a_shortage_of_memory_is_a_reason_or_a_message(error: Exception, detail: str) -> None:
    with pytest.raises(TrainingFailed, match=f"^out of memory: {detail}$"), failures_named():
        raise error
    with pytest.raises(UserError, match=r"out of memory; use --device cpu"), shortage_told():
        raise error


def test_a_divergence_is_a_reason_and_no_shortage() -> None:
    with pytest.raises(TrainingFailed, match=r"^diverged: loss became nan$"), failures_named():
        raise Diverged("loss became nan")
    with pytest.raises(Diverged), shortage_told():
        raise Diverged("loss became nan")


def test_a_bug_is_neither() -> None:
    for named in (failures_named, shortage_told):
        with pytest.raises(RuntimeError, match="a bug"), named():
            raise RuntimeError("a bug")
