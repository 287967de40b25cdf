from __future__ import annotations

import pytest
import torch

from mnist_arch.data import Digits, load
from mnist_arch.engine import choose_engine
from mnist_arch.recipe import RECIPES
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejected, Rules
from mnist_arch.training import FittedEpoch, evaluate
from search.confirmation.final import Judgement, train_finally


def some(part: Digits, count: int) -> Digits:
    return part.take(torch.arange(count))


def trained(
    seed: int, engine: str = "auto", epochs: list[FittedEpoch] | None = None
) -> tuple[torch.nn.Sequential, Judgement]:
    return train_finally(
        BASELINE, Rules(), RECIPES["default"], 2, seed, choose_engine(engine, "cpu"),
        some(load("train"), 512), some(load("test"), 300),
        None if epochs is None else epochs.append,
    )  # fmt: skip


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_the_network_that_comes_back_is_the_one_that_was_judged(engine: str) -> None:
    network, judgement = trained(3, engine)
    loss, accuracy = evaluate(network, some(load("test"), 300))
    assert accuracy == pytest.approx(judgement.test_accuracy, abs=1 / 300)
    assert loss == pytest.approx(judgement.test_loss, rel=1e-3)
    assert all(tensor.is_contiguous() for tensor in network.state_dict().values())
    assert not network.training


def test_the_seed_decides_everything() -> None:
    (first, a), (second, b), (_, c) = trained(3), trained(3), trained(4)
    assert all(
        torch.equal(x, y) for x, y in zip(first.parameters(), second.parameters(), strict=True)
    )
    assert a.test_loss == b.test_loss != c.test_loss


def test_every_epoch_is_told() -> None:
    epochs: list[FittedEpoch] = []
    _, judgement = trained(0, epochs=epochs)
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert judgement.train_loss == epochs[-1].train_loss
    assert judgement.seconds == sum(epoch.train_seconds for epoch in epochs)


def test_a_design_against_the_rules_is_refused() -> None:
    with pytest.raises(Rejected, match="parameters: 18,430, must be fewer than 10,000"):
        train_finally(
            BASELINE, Rules(10_000), RECIPES["default"], 2, 0, choose_engine("auto", "cpu"),
            some(load("train"), 64), some(load("test"), 64),
        )  # fmt: skip
