"""Training: a network, a recipe and digits in; what each epoch measured out.

Data stay on the device as uint8; a batch is a slice of a permutation; loss and accuracy are
summed on the device and read back once an epoch, so that nothing waits for the host in between.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnist_arch.augment import gather
from mnist_arch.averaging import Average
from mnist_arch.data import Digits
from mnist_arch.epochs import EpochRecord, FittedEpoch
from mnist_arch.learning_rate import learning_rates
from mnist_arch.recipe import Recipe
from mnist_arch.recorded import RecordedEpochs
from mnist_arch.shuffle import Gather, Shuffled, batches, order_seed, shuffle
from mnist_arch.step import stepper

EVALUATION_BATCH = 1_000
"""Images in one evaluation batch: large enough to be fast, small enough for a laptop's cache."""

STATISTICS_IMAGES = 2_048
"""Images from which averaged weights get batch norm's statistics: 1 to 2 % of an epoch's work."""


class Diverged(RuntimeError):
    """A training whose loss is no longer a finite number; says in which epoch."""


def fit_epochs(
    network: nn.Module,
    recipe: Recipe,
    epochs: int,
    fit: Digits,
    seed: int,
    gather: Gather = gather,
) -> Iterator[FittedEpoch]:
    """Train a network in place, judging it on nothing else; yield after each epoch.

    Where the recipe averages weights, the network has the average at each yield and at the end.

    Network and digits stand on one device. Shuffling and augmentation follow `order_seed(seed)`;
    dropout follows torch's global generator, as torch's layers do (`seed_everything` sets it).
    `gather` makes a batch of images; an engine may bring a faster one. The caller may stop early by
    closing the iterator. Raises `Diverged` when the loss is not finite.
    """
    device = fit.images.device
    generator = torch.Generator(device).manual_seed(order_seed(seed))
    steps = len(batches(len(fit), recipe.batch_size))
    rates = learning_rates(recipe, epochs * steps)
    average = Average(network, recipe.averaging) if recipe.averaging else None
    shares = average.shares(epochs * steps) if average is not None else None
    descent = _Descent(network, recipe, fit, gather, average)
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        network.train()
        part = slice((epoch - 1) * steps, epoch * steps)
        shuffled = shuffle(recipe, fit, generator, gather)
        totals = descent.epoch(shuffled, rates[part], None if shares is None else shares[part])
        loss, accuracy = _read_back(totals, len(fit))
        require_finite(loss, "training", epoch)
        if average is not None:
            count = -(-STATISTICS_IMAGES // recipe.batch_size)
            average.put_in(shuffled.images(part) for part in shuffled.parts[:count])
        yield FittedEpoch(epoch, rates[part][-1], loss, accuracy, time.perf_counter() - start)
        if average is not None and epoch < epochs:
            average.take_out()


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
    loss, accuracy, _ = answers(network, digits, gather)
    return loss, accuracy


def answers(
    network: nn.Module, digits: Digits, gather: Gather = gather
) -> tuple[float, float, Tensor]:
    """What `evaluate` gives, and the answer to every digit, int64 [count] on its device."""
    network.eval()
    totals = torch.zeros(2, device=digits.images.device)
    everything = torch.arange(len(digits), device=digits.images.device)
    found = []
    with torch.no_grad():
        for index in torch.split(everything, EVALUATION_BATCH):
            labels = digits.labels[index]
            logits = network(gather(digits.images, index, None))
            found.append(logits.argmax(1))
            totals[0] += functional.cross_entropy(logits, labels, reduction="sum")
            totals[1] += (found[-1] == labels).sum()
    return *_read_back(totals, len(digits)), torch.cat(found)


def seed_everything(seed: int) -> None:
    """Seed torch's global generators: the initial weights and the dropout masks follow from it."""
    torch.manual_seed(seed)


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


class _Descent:
    """The steps of one training, taken epoch by epoch; on a CUDA GPU a step is recorded once."""

    def __init__(
        self, network: nn.Module, recipe: Recipe, fit: Digits, gather: Gather,
        average: Average | None,
    ) -> None:  # fmt: skip
        device = fit.images.device
        self._fit, self._gather, self._average = fit, gather, average
        self._optimiser = _optimiser(network, recipe, device)
        self._group = self._optimiser.param_groups[0]
        self._step = stepper(network, self._optimiser, recipe.label_smoothing)
        self._totals = torch.zeros(2, device=device)
        self._recorded = RecordedEpochs(device) if device.type == "cuda" else None

    def epoch(
        self, shuffled: Shuffled, rates: Sequence[float], shares: Sequence[float] | None
    ) -> Tensor:
        """Take one pass over the digits, with the rate and the average's share of each step.

        Returns the summed loss and the correct answers, [2], still on the device.
        """
        self._totals.zero_()
        if self._recorded is not None:
            self._recorded.take(self._batch, shuffled, rates, shares)
            return self._totals
        for number, part in enumerate(shuffled.parts):
            matrices = None if shuffled.matrices is None else shuffled.matrices[part]
            share = None if shares is None else shares[number]
            self._batch(shuffled.index[part], matrices, rates[number], share)
        return self._totals

    def _batch(
        self, index: Tensor, matrices: Tensor | None, rate: float | Tensor,
        share: float | Tensor | None,
    ) -> None:  # fmt: skip
        """Train on the images at `index`, [batch]; add what they gave to the totals."""
        labels = self._fit.labels[index]
        images = self._gather(self._fit.images, index, matrices)
        if isinstance(rate, Tensor):
            self._group["lr"].copy_(rate)
        else:
            self._group["lr"] = rate
        logits, loss = self._step(images, labels)
        if self._average is not None and share is not None:
            self._average.update(share)
        _add(self._totals, loss * len(labels), logits, labels)


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
