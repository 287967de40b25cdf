from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from mnist_arch.audit import Audit, AuditError, audit
from mnist_arch.build import build
from mnist_arch.design import Design
from mnist_arch.plan import plan
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejected, Rules, notes
from tests.mnist_arch.strategies import small_designs
from tests.mnist_arch.zoo import COVERINGS, DISGUISES, INNOCENTS, NETWORKS, ZOO, Animal, ByHand

WARNINGS = pytest.mark.filterwarnings("ignore::UserWarning")  # the zoo's own, not ours


def refusals(found: Audit) -> str:
    """The messages that refuse a module."""
    return "; ".join(map(str, found.rejections))


@WARNINGS
@pytest.mark.parametrize("animal", ZOO.values(), ids=ZOO.keys())
def test_the_zoo_gets_every_verdict_right(animal: Animal) -> None:
    torch.manual_seed(1)
    plainly, strictly = audit(animal.make()), audit(animal.make(), Rules(strict=True))
    assert plainly.passes == animal.allowed, refusals(plainly)
    assert strictly.passes == animal.allowed_strictly, refusals(strictly)
    assert animal.says in refusals(plainly if not animal.allowed else strictly)


def test_the_zoo_is_large_enough() -> None:
    assert len(DISGUISES) >= 30
    assert min(len(COVERINGS), len(NETWORKS) * 2) >= 8
    assert len(INNOCENTS) >= 25
