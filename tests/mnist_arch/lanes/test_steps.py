"""A network of lanes behaves as an `nn.Module` and its gradients as PyTorch's."""

from __future__ import annotations

import copy
import gc
import pickle

import pytest
import torch
from torch import Tensor, nn

from mnist_arch import lanes
from tests.mnist_arch.lanes.chains import accelerate
from tests.mnist_arch.lanes.designs import seed_network, small_network
from tests.mnist_arch.lanes.reference import distance

IMAGES = torch.randn(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def convolution(network: nn.Sequential, index: int) -> nn.Conv2d:
    layer = network[index]
    assert isinstance(layer, nn.Conv2d)
    return layer


def gradients(network: nn.Module) -> list[Tensor]:
    found = [parameter.grad for parameter in network.parameters()]
    return [gradient.clone() for gradient in found if gradient is not None]


def backpropagate(network: nn.Module, images: Tensor = IMAGES) -> list[Tensor]:
    network.zero_grad()
    network(images).square().sum().backward()
    return gradients(network)


def test_layers_parameters_and_state_are_shared() -> None:
    network = small_network()
    fast = accelerate(network)
    assert list(fast.state_dict()) == list(network.state_dict())
    assert all(a is b for a, b in zip(fast.parameters(), network.parameters(), strict=True))
    assert all(a is b for a, b in zip(fast.buffers(), network.buffers(), strict=True))
    fast(IMAGES)
    assert network[1].num_batches_tracked == 1
    fast.eval()
    assert not network[0].training
    assert fast.train()[1] is network[1]


def test_gradients_accumulate_and_may_be_none() -> None:
    fast = accelerate(small_network())
    once = backpropagate(fast)
    fast(IMAGES).square().sum().backward()
    for first, both in zip(once, gradients(fast), strict=True):
        torch.testing.assert_close(both, 2 * first, rtol=1e-4, atol=1e-5)
    fast.zero_grad(set_to_none=False)
    fast(IMAGES).square().sum().backward()
    for first, again in zip(once, gradients(fast), strict=True):
        torch.testing.assert_close(again, first, rtol=1e-4, atol=1e-5)
    fast.zero_grad(set_to_none=True)
    assert all(parameter.grad is None for parameter in fast.parameters())


def test_frozen_parameters_get_no_gradient() -> None:
    network = small_network()
    expected = backpropagate(accelerate(copy.deepcopy(network)))
    for index, parameter in enumerate(network.parameters()):
        parameter.requires_grad_(index % 2 == 0)
    accelerate(network)(IMAGES).square().sum().backward()
    for index, parameter in enumerate(network.parameters()):
        if index % 2 == 0:
            torch.testing.assert_close(parameter.grad, expected[index])
        else:
            assert parameter.grad is None
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    assert not accelerate(network)(IMAGES).requires_grad


def test_two_forward_passes_may_wait_for_their_backward_passes() -> None:
    network = small_network()
    fast, other = accelerate(network), accelerate(copy.deepcopy(network))
    (fast(IMAGES[:9]).sum() + 2 * fast(IMAGES[9:]).sum()).backward()
    other(IMAGES[:9]).sum().backward()
    (2 * other(IMAGES[9:]).sum()).backward()
    for left, right in zip(gradients(fast), gradients(other), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_abandoned_forward_passes_leave_no_engine_behind() -> None:
    fast = accelerate(small_network())
    for _ in range(5):
        fast(IMAGES)
        gc.collect()
    assert len(fast._idle) == 1


def test_a_graph_is_backpropagated_once() -> None:
    loss = accelerate(small_network())(IMAGES).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="backpropagated already"):
        loss.backward()


def test_optimisers_may_replace_storage() -> None:
    network = small_network()
    fast = accelerate(network)
    before = fast(IMAGES)
    weight = convolution(network, 0).weight
    weight.data = weight.data * 2
    weight.data = weight.data.clone() / 2
    torch.testing.assert_close(fast(IMAGES), before)
    optimiser = torch.optim.SGD(fast.parameters(), lr=0.1, momentum=0.9, fused=True)
    fast(IMAGES).square().mean().backward()
    optimiser.step()
    assert not torch.equal(fast(IMAGES), before)


def test_weights_changed_after_forward_do_not_reach_its_gradient() -> None:
    network = small_network()
    expected = backpropagate(accelerate(copy.deepcopy(network)))
    loss = accelerate(network)(IMAGES).square().sum()
    convolution(network, 4).weight.data.zero_()
    loss.backward()
    assert all(torch.equal(a, b) for a, b in zip(gradients(network), expected, strict=True))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda fast: pickle.loads(pickle.dumps(fast))])
def test_copies_are_independent(copied: object) -> None:
    fast = accelerate(small_network())
    twin = copied(fast)  # type: ignore[operator]
    assert torch.equal(twin(IMAGES), fast(IMAGES))
    assert next(twin.parameters()) is not next(fast.parameters())


def test_threads_do_not_change_a_bit() -> None:
    network = seed_network("de")
    results = []
    for threads in (1, 2, 3, 16):
        fast = accelerate(copy.deepcopy(network), threads=threads)
        torch.manual_seed(7)
        for images in (IMAGES.repeat(4, 1, 1, 1), IMAGES):
            found = backpropagate(fast, images)
        results.append([*found, *fast.buffers(), fast.eval()(IMAGES)])
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_batches_of_any_size_follow_each_other() -> None:
    network = small_network()
    fast = accelerate(network)
    for images in (3, 20, 1, 17, 16, 20):
        oracle = copy.deepcopy(network).double()
        expected = oracle(IMAGES[:images].double())
        assert distance(fast(IMAGES[:images]), expected) < 1e-5


def test_momentum_none_averages_all_batches(instruction_set: str) -> None:
    network = small_network()
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    oracle = copy.deepcopy(network).double()
    fast = accelerate(network, instruction_set=instruction_set)
    for start in (0, 5, 10):
        fast(IMAGES[start : start + 5])
        oracle(IMAGES[start : start + 5].double())
    for buffer, expected in zip(network.buffers(), oracle.buffers(), strict=True):
        assert distance(buffer, expected) < 1e-6


def test_a_batch_without_variance_is_refused() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 7), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 3, 1), nn.BatchNorm2d(3),
        nn.Flatten(1),
    )  # fmt: skip
    fast = accelerate(network)
    with pytest.raises(ValueError, match="more than one value per channel"):
        fast(IMAGES[:1])
    assert network[3].num_batches_tracked == 0
    assert fast.eval()(IMAGES[:1]).shape == (1, 3)


def test_diverging_networks_show_it() -> None:
    network = seed_network("de")
    fast = accelerate(network)
    images = IMAGES.clone()
    images[3, 0, 5, 5] = float("nan")
    assert fast(images).isnan().any()
    with torch.no_grad():
        convolution(network, 0).weight.fill_(float("nan"))
    assert fast(IMAGES).isnan().all()
    assert fast.eval()(IMAGES).isnan().all()


WRONG = {
    "float64": (IMAGES.double(), TypeError, "float32 on the CPU, not torch.float64"),
    "array": (IMAGES.numpy(), TypeError, "must be a tensor, not ndarray"),
    "flat": (IMAGES.flatten(1), ValueError, r"\[N, 1, 28, 28\], N at least 1, not \[20, 784\]"),
    "side": (torch.zeros(2, 1, 32, 32), ValueError, r"not \[2, 1, 32, 32\]"),
    "none": (torch.zeros(0, 1, 28, 28), ValueError, r"not \[0, 1, 28, 28\]"),
    "gradient": (IMAGES.clone().requires_grad_(), ValueError, "gradient by the images"),
}


@pytest.mark.parametrize(("images", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_images_are_refused(images: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        accelerate(small_network())(images)


def test_wrong_parameters_modes_and_threads_are_refused() -> None:
    fast = accelerate(small_network())
    fast[0].eval()
    with pytest.raises(ValueError, match="same mode"):
        fast(IMAGES)
    with pytest.raises(
        TypeError, match=r"contiguous torch\.float32 on the CPU, not torch\.float64"
    ):
        accelerate(small_network().double())(IMAGES)
    with pytest.raises(ValueError, match="threads must be at least 1, not 0"):
        accelerate(small_network(), threads=0)


def test_layers_added_replaced_hooked_or_set_otherwise_are_refused() -> None:
    fast = accelerate(small_network("brd"))
    assert not hasattr(fast, "append")
    fast[0].register_forward_hook(lambda *_: None)
    with pytest.raises(lanes.Unsupported, match="Conv2d: has hooks, which lanes would not call"):
        fast(IMAGES)
    for change in (
        lambda module: module.add_module("more", nn.Tanh()),
        lambda module: setattr(module, "2", nn.Tanh()),
    ):
        fast = accelerate(small_network("brd"))
        change(fast)
        with pytest.raises(ValueError, match="accelerate the changed network anew"):
            fast(IMAGES)
    fast = accelerate(small_network("brd"))
    setattr(fast[3], "p", 0.5)  # noqa: B010 - torch types it as a tensor
    with pytest.raises(ValueError, match=r"Dropout2d.p was 0.1 when .* and is now 0.5"):
        fast(IMAGES)
    fast = accelerate(small_network("brd"))
    setattr(fast[1], "eps", 0.1)  # noqa: B010 - as above
    with pytest.raises(ValueError, match=r"BatchNorm2d.eps was 1e-05 when lanes took"):
        fast(IMAGES)
    fast = accelerate(small_network("brd"))
    setattr(fast[0], "padding", (0, 0))  # noqa: B010 - as above
    with pytest.raises(ValueError, match=r"Conv2d.padding was \(1, 1\) when lanes took"):
        fast(IMAGES)
    network = small_network()
    network[1].register_parameter("weight", None)
    with pytest.raises(TypeError, match="weight is missing, which lanes needs to train"):
        accelerate(network)(IMAGES)


def test_its_own_hooks_are_called() -> None:
    fast, called = accelerate(small_network()), []
    fast.register_forward_hook(lambda *_: called.append(True))
    assert fast.stepper(torch.optim.SGD(fast.parameters(), lr=0.1)) is None
    fast(IMAGES)
    assert called == [True]


def test_tensors_of_another_kind_or_length_are_refused_before_they_are_read() -> None:
    network = small_network()
    fast = accelerate(network)
    weight = convolution(network, 0).weight
    original = weight.data
    weight.data = original.expand(6, 1, 3, 3).permute(0, 1, 3, 2)
    with pytest.raises(TypeError, match=r"weight must be contiguous .* on cpu, not contiguous"):
        fast(IMAGES)
    weight.data = original[:5].clone()
    with pytest.raises(ValueError, match="weight must have 54 numbers, not 45"):
        fast(IMAGES)
    weight.data = original
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.running_mean = torch.zeros(6, dtype=torch.float64)
    with pytest.raises(TypeError, match=r"running_mean must be contiguous torch\.float32"):
        fast(IMAGES)
    norm.running_mean = torch.zeros(60)
    with pytest.raises(ValueError, match="running_mean must have 6 numbers, not 60"):
        fast(IMAGES)
    norm.running_mean = None
    with pytest.raises(TypeError, match="running_mean is missing, which lanes needs"):
        fast(IMAGES)
