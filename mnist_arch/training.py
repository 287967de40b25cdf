"""Training: a network, a recipe and digits in; what each epoch measured out.

Data stay on the device as uint8; a batch is a slice of a permutation; loss and accuracy are
summed on the device and read back once an epoch, so that nothing waits for the host in between.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnist_arch.augment import draw_matrices, gather
from mnist_arch.data import Digits
from mnist_arch.learning_rate import learning_rates
from mnist_arch.recipe import Recipe
from mnist_arch.step import Step, stepper

Gather = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""What makes a batch of images, as `mnist_arch.augment.gather` does."""

EVALUATION_BATCH = 1_000
"""Images in one evaluation batch: large enough to be fast, small enough for a laptop's cache."""


class Diverged(RuntimeError):
    """A training whose loss is no longer a finite number; says in which epoch."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch measured.

    `learning_rate` is that of the epoch's last step. Losses are mean cross-entropies in nats;
    accuracies are shares in [0, 1]; training figures are taken on the fly, with dropout and
    augmentation. `images_per_second` counts training images over `train_seconds`; `seconds`
    includes the evaluation.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    train_seconds: float
    seconds: float
    images_per_second: float


@dataclass(frozen=True, slots=True)
class FittedEpoch:
    """What one pass over the training digits measured; fields as in `EpochRecord`."""

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    train_seconds: float


def fit_epochs(
    network: nn.Module,
    recipe: Recipe,
    epochs: int,
    fit: Digits,
    seed: int,
    gather: Gather = gather,
) -> Iterator[FittedEpoch]:
    """Train a network in place, judging it on nothing else; yield after each epoch.

    Network and digits stand on one device. Shuffling and augmentation follow `order_seed(seed)`;
    dropout follows torch's global generator, as torch's layers do (`seed_everything` sets it).
    `gather` makes a batch of images; an engine may bring a faster one. The caller may stop early by
    closing the iterator. Raises `Diverged` when the loss is not finite.
    """
    device = fit.images.device
    generator = torch.Generator(device).manual_seed(order_seed(seed))
    steps = len(batches(len(fit), recipe.batch_size))
    rates = learning_rates(recipe, epochs * steps)
    optimiser = _optimiser(network, recipe, device)
    step = stepper(network, optimiser)
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        network.train()
        mine = rates[(epoch - 1) * steps : epoch * steps]
        totals = _train_epoch(step, recipe, fit, optimiser, mine, generator, gather)
        loss, accuracy = _read_back(totals, len(fit))
        require_finite(loss, "training", epoch)
        yield FittedEpoch(epoch, mine[-1], loss, accuracy, time.perf_counter() - start)


def train(
    network: nn.Module,
    recipe: Recipe,
    epochs: int,
    fit: Digits,
    validation: Digits,
    seed: int,
    gather: Gather = gather,
) -> Iterator[EpochRecord]:
    """Train a network in place as `fit_epochs` does; validate it and yield after each epoch.

    Raises `Diverged` when a loss is not finite.
    """
    for fitted in fit_epochs(network, recipe, epochs, fit, seed, gather):
        start = time.perf_counter()
        validation_loss, validation_accuracy = evaluate(network, validation, gather)
        require_finite(validation_loss, "validation", fitted.epoch)
        yield EpochRecord(
            epoch=fitted.epoch,
            learning_rate=fitted.learning_rate,
            train_loss=fitted.train_loss,
            train_accuracy=fitted.train_accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            train_seconds=fitted.train_seconds,
            seconds=fitted.train_seconds + time.perf_counter() - start,
            images_per_second=len(fit) / fitted.train_seconds,
        )


def evaluate(network: nn.Module, digits: Digits, gather: Gather = gather) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy in [0, 1] of a network on digits, without dropout."""
    network.eval()
    totals = torch.zeros(2, device=digits.images.device)
    everything = torch.arange(len(digits), device=digits.images.device)
    with torch.no_grad():
        for index in torch.split(everything, EVALUATION_BATCH):
            labels = digits.labels[index]
            logits = network(gather(digits.images, index, None))
            _add(totals, functional.cross_entropy(logits, labels, reduction="sum"), logits, labels)
    return _read_back(totals, len(digits))


def seed_everything(seed: int) -> None:
    """Seed torch's global generators: the initial weights and the dropout masks follow from it."""
    torch.manual_seed(seed)


def order_seed(seed: int) -> int:
    """The seed of a training's order of images and of its augmentation, from 0 to 2**63 - 1.

    Initial weights and dropout follow from `seed` itself (`seed_everything`): two generators
    seeded alike would draw the same numbers for weights and order.
    """
    digest = hashlib.sha256(f"order {seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the device or of the host, ran out."""
    text = str(error).lower()  # torch's allocators for CPU and MPS raise RuntimeError
    signs = ("can't allocate memory", "out of memory", "not enough memory", "size calculation over")
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)


def _optimiser(network: nn.Module, recipe: Recipe, device: torch.device) -> torch.optim.SGD:
    """The recipe's optimiser; on a GPU its learning rate is a tensor there, for a CUDA graph."""
    rate = recipe.learning_rate
    on_gpu = device.type == "cuda"
    return torch.optim.SGD(
        network.parameters(), lr=torch.tensor(rate, device=device) if on_gpu else rate,
        momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=recipe.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )  # fmt: skip


def _train_epoch(
    step: Step,
    recipe: Recipe,
    fit: Digits,
    optimiser: torch.optim.Optimizer,
    rates: Sequence[float],
    generator: torch.Generator,
    gather: Gather,
) -> Tensor:
    """Take one pass over the digits, its steps at `rates`.

    Returns the summed loss and the correct answers, [2], still on the device.
    """
    device = fit.images.device
    group = optimiser.param_groups[0]
    given = torch.tensor(rates, device=device) if isinstance(group["lr"], Tensor) else None
    totals = torch.zeros(2, device=device)
    order = torch.randperm(len(fit), generator=generator, device=device)
    matrices = None
    if not recipe.augmentation.is_identity:
        matrices = draw_matrices(recipe.augmentation, len(fit), generator)
    for number, batch in enumerate(batches(len(fit), recipe.batch_size)):
        labels = fit.labels[order[batch]]
        images = gather(fit.images, order[batch], None if matrices is None else matrices[batch])
        if given is None:
            group["lr"] = rates[number]
        else:
            group["lr"].copy_(given[number])
        logits, loss = step(images, labels)
        _add(totals, loss * len(labels), logits, labels)
    return totals


def batches(count: int, size: int) -> list[slice]:
    """Cut `count` images into batches of `size`, the last one shorter.

    A single image left over joins the batch before: batch norm cannot train on one value a
    channel.
    """
    starts = list(range(0, count, size))
    if count % size == 1 and len(starts) > 1:
        del starts[-1]
    return [slice(*ends) for ends in pairwise([*starts, count])]


def _add(totals: Tensor, summed_loss: Tensor, logits: Tensor, labels: Tensor) -> None:
    """Add a batch's summed loss and correct answers to `totals`, [2], without a read-back."""
    totals[0] += summed_loss
    totals[1] += (logits.argmax(1) == labels).sum()


def _read_back(totals: Tensor, count: int) -> tuple[float, float]:
    """The one read-back of an epoch: mean loss and accuracy."""
    loss, correct = totals.tolist()
    return loss / count, correct / count


def require_finite(loss: float, which: str, epoch: int) -> None:
    """Raise `Diverged` unless a loss is a finite number."""
    if not math.isfinite(loss):
        raise Diverged(f"{which} loss became {loss} in epoch {epoch}")
