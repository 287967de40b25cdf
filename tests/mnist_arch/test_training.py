from __future__ import annotations

import copy
import json
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnist_arch.augment import gather
from mnist_arch.build import build
from mnist_arch.data import Digits, stratified
from mnist_arch.datasets import DATASETS
from mnist_arch.design import AveragePool, Conv, Design, Dropout, MaxPool
from mnist_arch.epochs import EpochRecord
from mnist_arch.recipe import RECIPES, Affine, Recipe
from mnist_arch.shuffle import batches, order_seed
from mnist_arch.training import (
    Diverged,
    evaluate,
    fit_epochs,
    is_out_of_memory,
    seed_everything,
    train,
)

LOGITS = Conv(10, kernel=1, padding=0, batch_norm=False, relu=False, bias=True)
TINY = Design((Conv(4), MaxPool(4), Conv(6), AveragePool(), LOGITS))
DROPPING = Design((Conv(4), Dropout(0.2), MaxPool(4), AveragePool(), LOGITS))
MEAN, STANDARD_DEVIATION = DATASETS["mnist"].mean, DATASETS["mnist"].standard_deviation
PLAIN = Recipe(batch_size=64, schedule="constant", augmentation=Affine())


def small(digits: Digits, count: int) -> Digits:
    """A stratified part of the digits."""
    return digits.take(stratified(digits, count, seed=0)[0])


def records_of(
    design: Design, recipe: Recipe, epochs: int, digits: Digits, seed: int = 0
) -> tuple[list[EpochRecord], dict[str, Tensor]]:
    """Train from the seed's weights; the records and the weights after the last epoch."""
    seed_everything(seed)
    network = build(design)
    return list(train(network, recipe, epochs, digits, digits, seed)), network.state_dict()


# --- one step at a time, against float64 ---


def reference_forward(parameters: list[Tensor], images: Tensor) -> Tensor:
    """TINY in training mode, in plain operations: float64 pixels [batch, 28, 28] to logits."""
    first, gain_1, offset_1, second, gain_2, offset_2, last, bias = parameters
    maps = functional.conv2d(images.unsqueeze(1), first, padding=1)  # [batch, 4, 28, 28]
    maps = batch_norm(maps, gain_1, offset_1).clamp(min=0)
    maps = maps.view(-1, 4, 7, 4, 7, 4).amax((3, 5))  # [batch, 4, 28, 28] -> [batch, 4, 7, 7]
    maps = functional.conv2d(maps, second, padding=1)  # [batch, 6, 7, 7]
    maps = batch_norm(maps, gain_2, offset_2).clamp(min=0)
    return maps.mean((2, 3)) @ last[:, :, 0, 0].T + bias  # [batch, 10]


def batch_norm(maps: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    centred = maps - maps.mean((0, 2, 3), keepdim=True)
    deviation = (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    return centred / deviation * gain.view(-1, 1, 1) + offset.view(-1, 1, 1)


def reference_steps(
    parameters: list[Tensor], recipe: Recipe, digits: Digits, steps: int
) -> tuple[list[Tensor], list[float]]:
    """SGD by hand over the whole of the digits: parameters after the last step, and the losses."""
    pixels = (digits.images.double() / 255 - MEAN) / STANDARD_DEVIATION
    velocities = [torch.zeros_like(parameter) for parameter in parameters]
    losses = []
    for _ in range(steps):
        parameters = [parameter.detach().requires_grad_() for parameter in parameters]
        logits = reference_forward(parameters, pixels)
        shares = logits.exp() / logits.exp().sum(1, keepdim=True)  # [batch, 10]
        loss = -shares[torch.arange(len(digits)), digits.labels].log().mean()
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, parameters)
        gradients = tuple(
            gradient + recipe.weight_decay * parameter
            for gradient, parameter in zip(gradients, parameters, strict=True)
        )
        velocities = [
            recipe.momentum * velocity + gradient
            for velocity, gradient in zip(velocities, gradients, strict=True)
        ]
        moves = [
            gradient + recipe.momentum * velocity if recipe.nesterov else velocity
            for gradient, velocity in zip(gradients, velocities, strict=True)
        ]
        parameters = [
            parameter.detach() - recipe.learning_rate * move
            for parameter, move in zip(parameters, moves, strict=True)
        ]
    return parameters, losses


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("steps", [1, 3])
def test_steps_of_sgd_equal_a_float64_reference(
    test_digits: Digits, nesterov: bool, steps: int
) -> None:
    digits = small(test_digits, 32)
    recipe = replace(PLAIN, learning_rate=0.05, nesterov=nesterov, weight_decay=1e-3)
    network = build(TINY)
    start = [parameter.detach().double() for parameter in network.parameters()]
    records = list(train(network, recipe, steps, digits, digits, seed=0))  # one batch an epoch
    expected, losses = reference_steps(start, recipe, digits, steps)
    assert [record.train_loss for record in records] == pytest.approx(losses, abs=1e-5)
    for parameter, reference in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach().double(), reference, atol=2e-5, rtol=1e-4)


# --- records ---


def test_a_record_says_what_its_epoch_was(test_digits: Digits) -> None:
    digits = small(test_digits, 300)
    records, _ = records_of(DROPPING, PLAIN, 3, digits)
    assert [record.epoch for record in records] == [1, 2, 3]
    for record in records:
        assert record.learning_rate == PLAIN.learning_rate
        assert 0 < record.train_seconds < record.seconds
        assert record.images_per_second == pytest.approx(300 / record.train_seconds)
        for accuracy in (record.train_accuracy, record.validation_accuracy):
            assert 0 <= accuracy <= 1
            assert accuracy * 300 == pytest.approx(round(accuracy * 300))


def test_the_training_figures_weigh_a_short_last_batch_by_its_images(test_digits: Digits) -> None:
    digits = small(test_digits, 80)  # batches of 64 and 16
    recipe = replace(PLAIN, learning_rate=0.0, momentum=0.0, nesterov=False)
    affine = Design((AveragePool(), LOGITS))  # no batch norm: a batch makes no difference
    records, _ = records_of(affine, recipe, 1, digits)
    assert records[0].train_loss == pytest.approx(records[0].validation_loss, rel=1e-5)
    assert records[0].train_accuracy == records[0].validation_accuracy


def test_the_loss_falls(train_digits: Digits) -> None:
    digits = small(train_digits, 1_000)
    records, _ = records_of(TINY, PLAIN, 4, digits)
    losses = [record.train_loss for record in records]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]
    assert records[-1].train_accuracy > 0.2  # chance gives 0.1


def test_the_seed_repeats_a_training_bit_for_bit_and_another_differs(test_digits: Digits) -> None:
    digits, recipe = small(test_digits, 200), replace(PLAIN, augmentation=Affine(10, 0.1, 0.1))

    def facts(seed: int) -> tuple[list[list[float]], list[Tensor]]:
        records, state = records_of(DROPPING, recipe, 2, digits, seed)
        losses = [
            [each.train_loss, each.validation_loss, each.train_accuracy, each.validation_accuracy]
            for each in records
        ]
        return losses, list(state.values())

    first, again, other = facts(1), facts(1), facts(2)
    assert first[0] == again[0] != other[0]
    assert all(one.equal(two) for one, two in zip(first[1], again[1], strict=True))


def test_the_training_seed_alone_decides_the_order(test_digits: Digits) -> None:
    digits = small(test_digits, 200)

    def weights(seed: int, global_seed: int) -> Tensor:
        seed_everything(0)
        network = build(TINY)
        torch.manual_seed(global_seed)  # without dropout nothing reads the global generator
        list(train(network, PLAIN, 1, digits, digits, seed))
        first: Tensor = network.state_dict()["0.weight"]
        return first

    assert weights(1, 5).equal(weights(1, 6))
    assert not weights(1, 5).equal(weights(2, 5))


def test_weights_and_order_follow_two_seeds(test_digits: Digits) -> None:
    seeds = {order_seed(seed) for seed in range(1_000)}
    assert len(seeds) == 1_000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert not seeds & set(range(1_000))
    digits, asked = small(test_digits, 100), list[Tensor]()

    def watched(images: Tensor, index: Tensor, matrices: Tensor | None) -> Tensor:
        asked.append(index)
        return gather(images, index, matrices)

    list(fit_epochs(build(TINY), PLAIN, 1, digits, 5, watched))
    generator = torch.Generator().manual_seed(order_seed(5))
    assert torch.cat(asked).equal(torch.randperm(100, generator=generator))


def test_every_image_is_seen_once_an_epoch(test_digits: Digits) -> None:
    digits = small(test_digits, 150)
    seen: list[Tensor] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(784, 10)

        def forward(self, images: Tensor) -> Tensor:
            if self.training:
                seen.append(images.detach())
            logits: Tensor = self.last(images.flatten(1))  # [batch, 784] -> [batch, 10]
            return logits

    list(train(Watching(), PLAIN, 1, digits, digits, seed=0))
    assert [len(batch) for batch in seen] == [64, 64, 22]
    order = torch.cat(seen)[:, 0]
    expected = gather(digits.images, torch.arange(150), None)[:, 0]
    assert not order.equal(expected)
    rows = sorted(row.tolist() for row in order.flatten(1))
    assert rows == sorted(row.tolist() for row in expected.flatten(1))


@pytest.mark.parametrize("ranges", [Affine(), Affine(10, 0.1, 0.1)])
def test_an_engines_own_batches_are_asked_for_everything(
    test_digits: Digits, ranges: Affine
) -> None:
    digits = small(test_digits, 150)
    asked: list[tuple[Tensor, Tensor | None]] = []

    def watched(images: Tensor, index: Tensor, matrices: Tensor | None) -> Tensor:
        asked.append((index, matrices))
        return gather(images, index, matrices)

    recipe = replace(PLAIN, augmentation=ranges)
    list(train(build(TINY), recipe, 2, digits, digits, seed=0, gather=watched))
    assert [len(index) for index, _ in asked] == [64, 64, 22, 150] * 2
    assert all(asked[epoch][1] is None for epoch in (3, 7))  # validation is never augmented
    maps = [matrices for _, matrices in asked if matrices is not None]
    if ranges.is_identity:
        assert maps == []
    else:  # one for each image and epoch
        assert len({tuple(each.flatten().tolist()) for each in torch.cat(maps)}) == 300


def test_closing_early_trains_no_further(test_digits: Digits) -> None:
    digits = small(test_digits, 100)
    seed_everything(0)
    network = build(TINY)
    epochs = train(network, PLAIN, 5, digits, digits, seed=0)
    next(epochs)
    after_one = copy.deepcopy(network.state_dict())
    epochs.close()  # type: ignore[attr-defined]
    assert list(epochs) == []
    assert all(value.equal(after_one[name]) for name, value in network.state_dict().items())
    alone, state = records_of(TINY, PLAIN, 1, digits)
    assert len(alone) == 1
    assert all(value.equal(state[name]) for name, value in after_one.items())


def test_a_last_batch_of_one_image_trains(test_digits: Digits) -> None:
    records, _ = records_of(TINY, PLAIN, 1, small(test_digits, 65))
    assert len(records) == 1


def test_a_last_batch_of_one_image_trains_batch_norm_on_one_pixel(test_digits: Digits) -> None:
    design = Design((MaxPool(4), AveragePool(), replace(LOGITS, batch_norm=True)))
    records, _ = records_of(design, PLAIN, 1, small(test_digits, 65))
    assert len(records) == 1


# --- evaluation ---


def test_evaluate_equals_plain_float64(test_digits: Digits) -> None:
    digits = small(test_digits, 2_300)  # more than two evaluation batches
    network = build(DROPPING)
    list(train(network, PLAIN, 1, small(test_digits, 200), digits, seed=0))
    loss, accuracy = evaluate(network, digits)
    double = copy.deepcopy(network).double().eval()
    with torch.no_grad():
        logits = double(((digits.images.double() / 255 - MEAN) / STANDARD_DEVIATION).unsqueeze(1))
    shares = logits.softmax(1)[torch.arange(len(digits)), digits.labels]
    assert loss == pytest.approx(-shares.log().mean().item(), rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(1) == digits.labels).double().mean().item())


def test_evaluate_leaves_the_weights_and_statistics_alone(test_digits: Digits) -> None:
    network = build(DROPPING)
    before = copy.deepcopy(network.state_dict())
    first = evaluate(network, small(test_digits, 100))
    assert evaluate(network, small(test_digits, 100)) == first
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())


# --- failures ---


def test_a_learning_rate_too_large_diverges(test_digits: Digits) -> None:
    design = Design((Conv(4, batch_norm=False), Conv(4, batch_norm=False), AveragePool(), LOGITS))
    recipe = replace(PLAIN, learning_rate=1e6)
    with pytest.raises(Diverged, match=r"^training loss became (nan|inf) in epoch [123]$"):
        records_of(design, recipe, 3, small(test_digits, 300))


def test_a_loss_that_is_not_a_number_diverges_at_once(test_digits: Digits) -> None:
    network = build(TINY)
    nn.init.constant_(next(network.parameters()), math.nan)
    digits = small(test_digits, 100)
    with pytest.raises(Diverged, match=r"^training loss became nan in epoch 1$"):
        next(train(network, PLAIN, 1, digits, digits, seed=0))


def test_a_validation_loss_that_is_not_a_number_diverges(test_digits: Digits) -> None:
    class BadAtValidation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(10))

        def forward(self, images: Tensor) -> Tensor:
            logits = self.bias.expand(len(images), 10)
            return logits if self.training else logits * math.inf

    digits = small(test_digits, 100)
    with pytest.raises(Diverged, match=r"^validation loss became nan in epoch 1$"):
        next(train(BadAtValidation(), PLAIN, 1, digits, digits, seed=0))


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: ..."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (Diverged("training loss became nan in epoch 1"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error: BaseException, answer: bool) -> None:
    assert is_out_of_memory(error) is answer


def test_what_torch_raises_for_want_of_memory_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


# --- schedules and recipes ---


def rates(recipe: Recipe, steps: int, test_digits: Digits) -> list[float]:
    """The learning rate of every step: each epoch has one batch."""
    records, _ = records_of(Design((AveragePool(), LOGITS)), recipe, steps, small(test_digits, 20))
    return [record.learning_rate for record in records]


def test_one_cycle_rises_to_its_peak_and_falls_to_almost_nothing(test_digits: Digits) -> None:
    recipe = replace(PLAIN, schedule="one-cycle", learning_rate=0.2, warm_up=0.3)
    taken = rates(recipe, 20, test_digits)
    assert len(taken) == 20
    peak = taken.index(max(taken))
    assert peak == 5  # 30 % of 20 steps, counted from 0
    assert taken[peak] == pytest.approx(0.2)
    assert taken[0] == pytest.approx(0.2 / 25)
    assert taken[-1] < 1e-5
    assert taken[:6] == sorted(taken[:6])
    assert taken[5:] == sorted(taken[5:], reverse=True)
    cosine = [0.2 / 25 + (0.2 - 0.2 / 25) * (1 - math.cos(math.pi * k / 5)) / 2 for k in range(6)]
    assert taken[:6] == pytest.approx(cosine)


def test_a_record_holds_the_rate_of_its_epochs_last_step(test_digits: Digits) -> None:
    recipe = replace(PLAIN, schedule="one-cycle", batch_size=5)
    records, _ = records_of(
        Design((AveragePool(), LOGITS)), recipe, 5, small(test_digits, 20)
    )  # 5 epochs of 4 steps
    every = rates(replace(recipe, batch_size=20), 20, test_digits)
    assert [record.learning_rate for record in records] == pytest.approx(every[3::4])


def test_a_constant_schedule_keeps_the_rate(test_digits: Digits) -> None:
    assert rates(replace(PLAIN, learning_rate=0.03), 5, test_digits) == [0.03] * 5


@pytest.mark.parametrize(("warm_up", "steps"), [(0.5, 2), (0.1, 10)])
def test_a_warm_up_of_one_step_trains(test_digits: Digits, warm_up: float, steps: int) -> None:
    recipe = replace(PLAIN, schedule="one-cycle", warm_up=warm_up)
    assert max(rates(recipe, steps, test_digits)) <= recipe.learning_rate


LATER = Recipe(label_smoothing=0.1, averaging=0.99)


@pytest.mark.parametrize("recipe", [*RECIPES.values(), LATER], ids=[*RECIPES, "later"])
def test_a_recipe_comes_back_from_json(recipe: Recipe) -> None:
    values = json.loads(json.dumps(recipe.to_dict()))
    assert Recipe.from_dict(values) == recipe


def test_a_field_that_came_later_is_written_only_where_it_is_used() -> None:
    old = {
        "name", "batch_size", "learning_rate", "momentum", "nesterov", "weight_decay", "schedule",
        "warm_up", "augmentation",
    }  # fmt: skip
    assert Recipe().to_dict().keys() == old
    assert LATER.to_dict().keys() == old | {"label_smoothing", "averaging"}


def test_the_training_loss_is_that_of_smoothed_labels(test_digits: Digits) -> None:
    digits = small(test_digits, 64)
    recipe = replace(PLAIN, learning_rate=0.0, label_smoothing=0.3)
    affine = Design((AveragePool(), LOGITS))  # no batch norm: evaluated as it is trained
    seed_everything(0)
    network = build(affine)
    record = next(train(network, recipe, 1, digits, digits, 0))
    logits = network(gather(digits.images, torch.arange(64), None)).detach().double()
    shares = logits.log_softmax(1)  # [batch, 10]
    own = shares[torch.arange(64), digits.labels].mean().item()
    assert record.validation_loss == pytest.approx(-own, rel=1e-5)
    assert record.train_loss == pytest.approx(-0.7 * own - 0.3 * shares.mean().item(), rel=1e-5)


def test_the_named_recipes() -> None:
    assert {name: recipe.name for name, recipe in RECIPES.items()} == {
        "default": "default", "assignment": "assignment",
    }  # fmt: skip
    published = RECIPES["assignment"]  # SGD(lr=0.01, momentum=0.9), batches of 128, no more
    assert published.augmentation.is_identity
    assert (published.learning_rate, published.momentum, published.nesterov) == (0.01, 0.9, False)
    assert (published.schedule, published.weight_decay, published.batch_size) == (
        "constant", 0.0, 128,
    )  # fmt: skip


def test_augmentation_strength_multiplies_every_range() -> None:
    assert Recipe().with_augmentation_strength(0.5).augmentation == Affine(5, 0.05, 0.05)
    assert Recipe().with_augmentation_strength(0).augmentation.is_identity
    assert Recipe().with_augmentation_strength(1) == Recipe()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("batch_size", 1, "batch size must be from 2 to 60000, got 1"),
        ("learning_rate", -0.1, "learning rate must be from 0 to inf, got -0.1"),
        ("momentum", 1.5, "momentum must be from 0 to 1, got 1.5"),
        ("weight_decay", float("nan"), "weight decay must be from 0 to inf, got nan"),
        ("warm_up", 1.0, "warm-up must be a share between 0 and 1, got 1.0"),
        ("label_smoothing", 1.0, "label smoothing must be at least 0 and below 1, got 1.0"),
        ("averaging", -0.1, "averaging must be at least 0 and below 1, got -0.1"),
    ],
)
def test_a_recipe_is_valid_once_made(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        replace(RECIPES["default"], **{field: value})  # type: ignore[arg-type]


def test_a_single_image_left_over_joins_the_batch_before() -> None:
    assert batches(129, 128) == [slice(0, 129)]
    assert batches(130, 128) == [slice(0, 128), slice(128, 130)]
    assert batches(1, 128) == [slice(0, 1)]
    assert len(batches(50_000, 128)) == 391
