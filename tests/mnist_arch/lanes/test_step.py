"""Whole native training steps against autograd and torch's optimiser."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import Tensor, nn

from mnist_arch.step import stepper
from tests.mnist_arch.lanes.chains import accelerate
from tests.mnist_arch.lanes.designs import block, seed_network, small_network
from tests.mnist_arch.lanes.reference import TOLERANCE, distance, reference

Batch = tuple[Tensor, Tensor]


def batches(count: int, images: int = 24) -> list[Batch]:
    torch.manual_seed(5)
    return [(torch.randn(images, 1, 28, 28), torch.randint(0, 10, (images,))) for _ in range(count)]


def smooth_network() -> nn.Sequential:
    """Without ReLU and maximum: a decision that rounding flips would part the steps for good."""
    return nn.Sequential(
        *block(1, 6, then="b"), *block(6, 9, then="ba"), nn.Conv2d(9, 10, 1), nn.Flatten(1)
    )


def descent(network: nn.Module, **settings: float | bool) -> torch.optim.SGD:
    return torch.optim.SGD(network.parameters(), lr=0.05, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.01},
        {"momentum": 0.9},
        {"momentum": 0.9, "weight_decay": 5e-4, "nesterov": True},
    ],
    ids=["plain", "decay", "momentum", "nesterov"],
)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_steps_are_those_of_autograd_and_torch_in_float64(
    settings: dict[str, float | bool], label_smoothing: float, instruction_set: str
) -> None:
    torch.manual_seed(1)
    network = smooth_network()
    oracle = reference(network)
    fast = accelerate(network, instruction_set=instruction_set)
    ours, theirs = descent(fast, **settings), descent(oracle, **settings)
    step = fast.stepper(ours, label_smoothing)
    assert step is not None
    expected = stepper(oracle, theirs, label_smoothing)
    for images, labels in batches(4):
        logits, loss = step(images, labels)
        logits64, loss64 = expected(images.double(), labels)
        assert distance(logits, logits64) < TOLERANCE
        assert loss.item() == pytest.approx(loss64.item(), rel=TOLERANCE)
    for mine, other in zip(fast.parameters(), oracle.parameters(), strict=True):
        assert distance(mine, other, floor=0.1) < TOLERANCE
        if settings.get("momentum"):
            kept, kept64 = (
                optimiser.state[parameter]["momentum_buffer"]
                for optimiser, parameter in ((ours, mine), (theirs, other))
            )
            assert distance(kept, kept64, floor=0.1) < TOLERANCE
    for buffer, buffer64 in zip(fast.buffers(), oracle.buffers(), strict=True):
        assert distance(buffer, buffer64, floor=0.1) < TOLERANCE


def test_one_step_has_the_gradients_of_autograd() -> None:
    torch.manual_seed(2)
    network = small_network()
    stepped, graded = (accelerate(copy.deepcopy(network)) for _ in range(2))
    (images, labels), rate = batches(1)[0], 0.5
    before = [parameter.detach().clone() for parameter in stepped.parameters()]
    step = stepped.stepper(torch.optim.SGD(stepped.parameters(), lr=rate))
    assert step is not None
    torch.manual_seed(9)
    step(images, labels)
    torch.manual_seed(9)  # the same dropout
    nn.functional.cross_entropy(graded(images), labels).backward()  # type: ignore[no-untyped-call]
    for old, new, parameter in zip(before, stepped.parameters(), graded.parameters(), strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close((old - new) / rate, parameter.grad, rtol=1e-3, atol=1e-5)


def test_a_schedule_moves_the_rate_without_a_warning() -> None:
    fast = accelerate(small_network())
    optimiser = descent(fast)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: 0.0 if done else 1.0)
    step = fast.stepper(optimiser)
    assert step is not None
    images, labels = batches(1)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(images, labels)
        schedule.step()
    before = [parameter.detach().clone() for parameter in fast.parameters()]
    step(images, labels)  # at a rate of 0
    assert all(map(torch.equal, before, fast.parameters()))


def test_momentum_starts_afresh_where_the_optimiser_does() -> None:
    torch.manual_seed(3)
    fast = accelerate(small_network())
    (first, second), settings = batches(2), {"momentum": 0.9}
    optimiser = descent(fast, **settings)
    step = fast.stepper(optimiser)
    assert step is not None
    step(*first)
    other = accelerate(copy.deepcopy(nn.Sequential(*fast)))
    other_step = other.stepper(descent(other, **settings))
    assert other_step is not None
    optimiser.state.clear()
    for parameter in fast.parameters():  # as many entries as before
        optimiser.state[parameter] = {"momentum_buffer": torch.zeros_like(parameter)}
    step(*second)
    other_step(*second)
    assert all(map(torch.equal, fast.parameters(), other.parameters()))


def test_momentum_goes_on_from_a_checkpoint() -> None:
    torch.manual_seed(3)
    fast = accelerate(small_network())
    (first, second), settings = batches(2), {"momentum": 0.9, "nesterov": True}
    optimiser = descent(fast, **settings)
    step = fast.stepper(optimiser)
    assert step is not None
    torch.manual_seed(4)
    step(*first)
    copied = accelerate(copy.deepcopy(nn.Sequential(*fast)))
    other = descent(copied, **settings)
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    other_step = copied.stepper(other)
    assert other_step is not None
    for each in (step, other_step):
        torch.manual_seed(6)
        each(*second)
    assert all(map(torch.equal, fast.parameters(), copied.parameters()))


def test_threads_change_no_bit() -> None:
    results = []
    for threads in (1, 2):
        torch.manual_seed(7)
        fast = accelerate(seed_network("d"), threads)
        step = fast.stepper(descent(fast, momentum=0.9))
        assert step is not None
        for images, labels in batches(2, 50):
            step(images, labels)
        results.append([parameter.detach().clone() for parameter in fast.parameters()])
    assert all(map(torch.equal, *results))


def test_threads_that_change_between_two_steps_change_no_bit() -> None:
    results = []
    for second in (1, 3):
        torch.manual_seed(7)
        fast = accelerate(seed_network("d"), threads=2)
        step = fast.stepper(descent(fast, momentum=0.9))
        assert step is not None
        for threads, (images, labels) in zip((2, second), batches(2, 50), strict=True):
            fast.use_threads(threads)
            step(images, labels)
        assert fast.threads == second
        results.append([each.detach().clone() for each in (*fast.parameters(), *fast.buffers())])
    assert all(map(torch.equal, *results))
    with pytest.raises(ValueError, match="threads must be at least 1, not 0"):
        fast.use_threads(0)


def test_other_optimisers_are_left_to_autograd() -> None:
    fast = accelerate(small_network())
    parameters = list(fast.parameters())
    assert fast.stepper(torch.optim.Adam(parameters)) is None
    assert fast.stepper(torch.optim.SGD(parameters[1:], lr=0.1)) is None
    assert fast.stepper(descent(fast, momentum=0.9, dampening=0.1)) is None
    assert fast.stepper(descent(fast, maximize=True)) is None
    hooked = descent(fast)
    hooked.register_step_post_hook(lambda *_: None)
    assert fast.stepper(hooked) is None
    parameters[0].requires_grad_(False)
    assert fast.stepper(descent(fast)) is None
    images, labels = batches(1)[0]
    logits, loss = stepper(fast, torch.optim.Adam(parameters[1:]))(images, labels)
    assert logits.shape == (24, 10)
    assert not loss.requires_grad


def test_momenta_of_another_kind_or_length_are_refused() -> None:
    (images, labels), wrong = batches(1)[0], [torch.zeros(3), torch.zeros(54).double()]
    for momentum, error in zip(wrong, (ValueError, TypeError), strict=True):
        fast = accelerate(small_network())
        optimiser = descent(fast, momentum=0.9)
        step = fast.stepper(optimiser)
        assert step is not None
        optimiser.state[next(fast.parameters())] = {"momentum_buffer": momentum}
        with pytest.raises(error, match="a momentum must"):
            step(images, labels)


def test_hooks_of_parameters_are_left_to_autograd() -> None:
    fast, seen = accelerate(small_network()), []
    step = fast.stepper(descent(fast))
    assert step is not None
    first = next(fast.parameters())
    first.register_hook(lambda gradient: seen.append(gradient.shape))  # type: ignore[no-untyped-call]
    assert fast.stepper(descent(fast)) is None
    with pytest.raises(ValueError, match="calls no hooks of theirs"):
        step(*batches(1)[0])
    stepper(fast, descent(fast))(*batches(1)[0])
    assert len(seen) == 1


def test_mistakes_are_told() -> None:
    fast = accelerate(small_network())
    step = fast.stepper(descent(fast))
    assert step is not None
    images, labels = batches(1)[0]
    with pytest.raises(TypeError, match=r"labels must be int64 \[24\] on the CPU"):
        step(images, labels.int())
    with pytest.raises(TypeError, match=r"labels must be int64 \[24\] on the CPU"):
        step(images, labels[1:])
    with pytest.raises(ValueError, match="refused to take a training step"):
        step(images, labels + 10)
    fast.eval()
    with pytest.raises(ValueError, match="trains a network in training mode"):
        step(images, labels)
