from __future__ import annotations

import re

import pytest
import torch

from mnist_arch.build import build
from mnist_arch.design import REFERENCE_DESIGNS
from mnist_arch.engine import Engine, choose_device, choose_engine, prepare
from mnist_arch.errors import UserError


def present(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    """Pretend that these devices are there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_a_device_that_is_named_is_taken() -> None:
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(False, False, "cpu"), (False, True, "mps"), (True, False, "cuda"), (True, True, "cuda")],
)
def test_auto_takes_the_fastest_device(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, chosen: str
) -> None:
    present(monkeypatch, cuda=cuda, mps=mps)
    assert choose_device("auto") == chosen


@pytest.mark.parametrize("name", ["cuda", "mps", "tpu", ""])
def test_a_device_that_is_not_there_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    present(monkeypatch, cuda=False, mps=False)
    message = f"--device {name}: not on this machine, which has cpu; use --device auto"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        choose_device(name)


def test_the_message_names_the_devices_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    present(monkeypatch, cuda=False, mps=True)
    with pytest.raises(UserError, match=r"which has mps, cpu; use --device auto$"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["auto", "torch"])
def test_an_engine_says_where_it_runs(name: str) -> None:
    engine = choose_engine(name, "cpu")
    assert (engine.name, engine.device) == ("torch", "cpu")
    assert engine.reason == "engine torch on cpu"


def test_an_unknown_engine_is_a_mistake() -> None:
    with pytest.raises(UserError, match=r"^--engine jax: must be one of auto, torch"):
        choose_engine("jax", "cpu")


def test_an_engine_on_a_device_that_is_not_there_is_a_mistake() -> None:
    with pytest.raises(UserError, match=r"^--device tpu: not on this machine"):
        choose_engine("torch", "tpu")


def test_prepare_keeps_values_and_outputs() -> None:
    network = build(REFERENCE_DESIGNS["assignment"]).eval()
    images = torch.randn(4, 1, 28, 28)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    expected = network(images)
    prepared = prepare(network, choose_engine("torch", "cpu"))
    assert all(value.equal(state[name]) for name, value in prepared.state_dict().items())
    torch.testing.assert_close(prepared(images), expected, atol=1e-5, rtol=1e-5)


def test_prepare_on_a_cpu_lays_weights_out_channels_last() -> None:
    prepared = prepare(build(REFERENCE_DESIGNS["assignment"]), Engine("torch", "cpu", ""))
    weight = prepared.state_dict()["4.weight"]
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_prepare_moves_to_the_gpu() -> None:
    network = prepare(build(REFERENCE_DESIGNS["assignment"]), choose_engine("torch", "cuda"))
    assert {parameter.device.type for parameter in network.parameters()} == {"cuda"}
