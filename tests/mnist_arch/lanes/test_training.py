"""Outputs, gradients and running statistics against PyTorch in float64."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mnist_arch.build import Network
from mnist_arch.plan import Convolution
from tests.mnist_arch.lanes.chains import accelerate
from tests.mnist_arch.lanes.designs import graphs, networks, seed_network, small_network
from tests.mnist_arch.lanes.reference import TOLERANCE, check_step, distance, gradient, train_both


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_networks_train_as_in_float64(instruction_set: str, data: st.DataObject) -> None:
    images = data.draw(st.sampled_from([2, 3, 5, 16, 17, 21]))
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    check_step(data.draw(networks(images)), images, instruction_set)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_graphs_train_as_in_float64(instruction_set: str, data: st.DataObject) -> None:
    images = data.draw(st.sampled_from([2, 3, 5, 16, 17, 21]))
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    check_step(data.draw(graphs(images)), images, instruction_set)


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_graphs_evaluate_as_in_float64_and_threads_change_no_bit(
    instruction_set: str, data: st.DataObject
) -> None:
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    network, images = data.draw(graphs(40)), torch.randn(40, 1, 28, 28)
    found: list[list[Tensor]] = []
    for threads in (1, 2):
        torch.manual_seed(5)
        twin = copy.deepcopy(network)
        fast = accelerate(twin, threads, instruction_set)
        logits = fast(images)
        logits.square().sum().backward()
        twin.eval()
        fast.eval()
        with torch.no_grad():
            evaluated, expected = fast(images), copy.deepcopy(twin).double()(images.double())
        assert distance(evaluated, expected) < 1e-5
        gradients = [gradient(parameter) for parameter in twin.parameters()]
        found.append([logits.detach(), evaluated, *gradients, *twin.buffers()])
    assert all(map(torch.equal, *found))


def test_random_graphs_have_every_layer() -> None:
    seen: set[str] = set()

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(graphs(16))
    def look(network: Network) -> None:
        for node in network.plan.nodes:
            seen.update((node.module, node.activation))
            match node.operation:
                case Convolution(stride=2):
                    seen.add("stride")
                case Convolution(groups=groups) if groups > 1:
                    seen.add("depthwise" if groups == node.input_shape[0] else "groups")
            if len(node.inputs) == 2:
                seen.add("sum")

    look()
    wanted = {"stride", "depthwise", "groups", "sum", "relu", "silu", "hard_swish", "none"}
    assert wanted | {"MaxPool2d", "AvgPool2d", "Dropout", "Dropout2d", "BatchNorm2d"} <= seen


@pytest.mark.parametrize("dropout", ["", "d", "e", "de"])
@pytest.mark.parametrize("images", [1, 7, 33])
def test_the_seed_design_trains_as_in_float64(
    dropout: str, images: int, instruction_set: str
) -> None:
    torch.manual_seed(3)
    check_step(seed_network(dropout), images + 1, instruction_set)


def test_statistics_of_nearly_constant_maps_are_accurate(instruction_set: str) -> None:
    torch.manual_seed(0)
    network = seed_network("")
    fast = accelerate(network, instruction_set=instruction_set)
    images = torch.full((64, 1, 28, 28), -0.4242)  # MNIST's background, and a few strokes
    images[:, :, 10:14, 12:16] = torch.rand(64, 1, 4, 4) * 3
    oracle, logits, expected = train_both(network, fast, images, torch.ones(64, 10))
    statistics = dict(oracle.named_buffers())
    for name, buffer in network.named_buffers():
        assert distance(buffer, statistics[name]) < 1e-6, name
    assert distance(logits, expected) < 1e-5


def test_lanes_without_an_image_do_not_disturb_the_others(instruction_set: str) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(1, 2, 1)
    with torch.no_grad():  # channel 0 is dead for these images, and would not be for zeros
        convolution.weight.copy_(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
        bias = convolution.bias
        assert bias is not None
        bias.fill_(0.5)
    network = nn.Sequential(
        *(convolution, nn.ReLU(), nn.BatchNorm2d(2)),
        *(nn.Conv2d(2, 1, 1), nn.ReLU(), nn.BatchNorm2d(1), nn.Conv2d(1, 1, 7), nn.Flatten(1)),
    )
    fast = accelerate(network, instruction_set=instruction_set)
    oracle, logits, expected = train_both(
        network, fast, 1 + torch.rand(2, 1, 28, 28), torch.randn(2, 22 * 22)
    )
    assert distance(logits, expected) < 1e-5
    for buffer, other in zip(network.buffers(), oracle.buffers(), strict=True):
        assert distance(buffer, other) < 1e-6


def test_evaluation_equals_pytorch(instruction_set: str) -> None:
    torch.manual_seed(1)
    network = seed_network("de")
    fast = accelerate(network, instruction_set=instruction_set)
    for _ in range(3):
        fast(torch.randn(40, 1, 28, 28))
    fast.eval()
    images = torch.randn(37, 1, 28, 28)
    with torch.no_grad():
        expected = copy.deepcopy(network).double()(images.double())
        assert distance(fast(images), expected) < 1e-5


def test_gradients_in_evaluation_mode_equal_pytorch(instruction_set: str) -> None:
    torch.manual_seed(2)
    network = seed_network("de")
    fast = accelerate(network, instruction_set=instruction_set).eval()
    oracle = copy.deepcopy(network).double()
    images, weights = torch.randn(5, 1, 28, 28), torch.randn(5, 10)
    (fast(images) * weights).sum().backward()
    (oracle(images.double()) * weights.double()).sum().backward()
    for (name, parameter), expected in zip(
        network.named_parameters(), oracle.parameters(), strict=True
    ):
        assert distance(gradient(parameter), gradient(expected)) < TOLERANCE, name


def _losses(module: nn.Module, steps: int, dtype: torch.dtype) -> Tensor:
    optimiser = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9)
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(512, 1, 28, 28, generator=generator)
    labels = (images[:, 0, :14].mean((1, 2)) * 200).long() % 10
    losses = []
    for step in range(steps):
        batch = torch.arange(128) + 128 * (step % 4)
        loss = F.cross_entropy(module(images[batch].to(dtype)), labels[batch])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def test_losses_of_fifty_steps_follow_float64_as_pytorch_does() -> None:
    torch.manual_seed(4)
    network = small_network("rbm", width=8)
    expected = _losses(copy.deepcopy(network).double(), 50, torch.float64)
    eager = _losses(copy.deepcopy(network), 50, torch.float32)
    found = _losses(accelerate(network), 50, torch.float32)
    torch.testing.assert_close(found[:5], expected[:5], rtol=1e-4, atol=1e-4)
    # Rounding grows from step to step, for PyTorch too.
    assert (found - expected).abs().mean() < 3 * (eager - expected).abs().mean() + 1e-3
    assert expected[-1] < expected[0]
