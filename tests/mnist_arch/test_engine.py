from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from mnist_arch import engine as engine_module
from mnist_arch import lanes
from mnist_arch.augment import draw_matrices, gather
from mnist_arch.build import build
from mnist_arch.data import load
from mnist_arch.design import AveragePool, Conv, Design, MaxPool
from mnist_arch.engine import (
    Engine,
    choose_device,
    choose_engine,
    engine_of,
    gather_for,
    prepare,
    step_seconds,
    use_threads,
)
from mnist_arch.errors import UserError
from mnist_arch.recipe import RECIPES, Affine
from mnist_arch.references import REFERENCE_DESIGNS
from mnist_arch.training import seed_everything, train

LOGITS = Conv(10, 1, 0, batch_norm=False, relu=False, bias=True)
PLAIN = Design((Conv(6), MaxPool(), Conv(12), MaxPool(), Conv(12), AveragePool(), LOGITS))


def present(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    """Pretend that these devices are there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_a_device_that_is_named_is_taken() -> None:
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("cuda", "mps", "seconds", "chosen"),
    [
        (False, False, {}, "cpu"),
        (True, False, {}, "cuda"),
        (True, True, {}, "cuda"),
        (False, True, {"mps": 0.005, "cpu": 0.010}, "mps"),
        (False, True, {"mps": 0.015, "cpu": 0.010}, "cpu"),
    ],
)
def test_auto_takes_cuda_or_what_was_measured_to_be_faster(
    monkeypatch: pytest.MonkeyPatch,
    cuda: bool,
    mps: bool,
    seconds: dict[str, float],
    chosen: str,
) -> None:
    present(monkeypatch, cuda=cuda, mps=mps)
    monkeypatch.setattr(engine_module, "step_seconds", seconds.__getitem__)
    assert choose_device("auto") == chosen


def test_a_step_is_measured_once_and_leaves_torchs_generator_alone() -> None:
    step_seconds.cache_clear()
    before = torch.get_rng_state()
    first = step_seconds("cpu", 2)
    assert 1e-4 < first < 5
    assert torch.get_rng_state().equal(before)
    assert step_seconds("cpu", 2) == first


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


NOT_BUILT = "the lanes library was not built"

needs_lanes = pytest.mark.skipif(not lanes.available(), reason=f"lanes: {lanes.why_not()}")


def test_torch_says_where_it_runs() -> None:
    engine = choose_engine("torch", "cpu")
    assert (engine.name, engine.device) == ("torch", "cpu")
    assert engine.reason == "engine torch on cpu"


@needs_lanes
@pytest.mark.parametrize("name", ["auto", "lanes"])
def test_lanes_is_taken_on_a_cpu_and_says_its_instruction_set(name: str) -> None:
    engine = choose_engine(name, "cpu")
    assert (engine.name, engine.device) == ("lanes", "cpu")
    assert engine.reason == f"engine lanes on cpu ({lanes.instruction_set()})"


def test_auto_falls_back_to_torch_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "why_not", lambda: NOT_BUILT)
    engine = choose_engine("auto", "cpu")
    assert engine.name == "torch"
    assert engine.reason == f"engine torch on cpu (lanes not used: {NOT_BUILT})"


def test_lanes_where_it_cannot_run_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "why_not", lambda: NOT_BUILT)
    message = f"--engine lanes cannot run here: {NOT_BUILT}; use --engine torch, or --engine auto"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        choose_engine("lanes", "cpu")


def test_lanes_on_a_gpu_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    present(monkeypatch, cuda=True, mps=False)
    with pytest.raises(UserError, match="it trains on a CPU only"):
        choose_engine("lanes", "cuda")
    assert choose_engine("auto", "cuda").name == "torch"


@needs_lanes
def test_a_layer_that_lanes_does_not_know_is_left_to_torch_or_refused() -> None:
    network = nn.Sequential(nn.Conv2d(1, 10, 28), nn.Tanh(), nn.Flatten(1))
    assert prepare(network, Engine("lanes", "cpu", "", falls_back=True)) is network
    assert engine_of(network) == "torch"
    with pytest.raises(UserError, match="that build made, not a Sequential"):
        prepare(network, Engine("lanes", "cpu", "", falls_back=False))


@needs_lanes
def test_both_engines_make_the_same_batches() -> None:
    images = torch.randint(0, 256, (20, 28, 28), dtype=torch.uint8)
    index = torch.tensor([3, 1, 19])
    matrices = draw_matrices(Affine(10, 0.1, 0.1), 3, torch.Generator().manual_seed(0))
    for maps in (None, matrices):
        native = gather_for(Engine("lanes", "cpu", ""))(images, index, maps)
        torch.testing.assert_close(native, gather(images, index, maps), atol=2e-5, rtol=1e-5)


@needs_lanes
def test_both_engines_train_alike() -> None:
    """Without dropout the first epochs of two engines differ by rounding only."""
    digits = load("train").take(torch.arange(512))
    recipe = replace(RECIPES["default"], learning_rate=0.02)
    losses = []
    for name in ("torch", "lanes"):
        engine = Engine(name, "cpu", "")
        seed_everything(5)
        network = prepare(build(PLAIN), engine)
        records = list(train(network, recipe, 2, digits, digits, 5, gather_for(engine)))
        losses.append([record.validation_loss for record in records])
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


def test_an_unknown_engine_is_a_mistake() -> None:
    with pytest.raises(UserError, match=r"^--engine jax: must be one of auto, torch, lanes"):
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


def test_threads_are_changed_where_they_change_no_result() -> None:
    network = build(REFERENCE_DESIGNS["assignment"])
    use_threads(network, 3)  # torch's: nothing happens
    fast = lanes.accelerate(network)
    use_threads(fast, 3)
    assert fast.threads == 3
