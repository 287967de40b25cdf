"""Evaluate: do a task, and say what came of it. No Optuna, no files: a pure function."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import lru_cache

import torch
from safetensors.torch import save
from torch import Tensor, nn

from mnist_arch.build import build
from mnist_arch.data import Digits, protocol_digits
from mnist_arch.datasets import TRAIN_IMAGES
from mnist_arch.engine import Engine, choose_engine, engine_of, gather_for, prepare, use_threads
from mnist_arch.epochs import EpochRecord
from mnist_arch.folds import fold_digits
from mnist_arch.recipe import Protocol
from mnist_arch.training import (
    Diverged,
    answers,
    fit_epochs,
    is_out_of_memory,
    require_finite,
    seed_everything,
    train,
)
from search.config import Machine
from search.task import Epoch, Misread, Result, Task


def evaluate(
    task: Task, machine: Machine, after_epoch: Callable[[Epoch], object] | None = None
) -> Result:
    """Do a task here, to its end; `after_epoch` is told of every epoch."""
    steps = evaluating(task, machine)
    try:
        while True:
            epoch = next(steps)
            if after_epoch is not None:
                after_epoch(epoch)
    except StopIteration as end:
        result: Result = end.value
        return result


def evaluating(
    task: Task, machine: Machine, threads: Callable[[], int] | None = None
) -> Generator[Epoch, str | None, Result]:
    """Do a task; yields each epoch as it ends, and stops there if it is sent a reason to.

    `threads`, if given, is asked after each epoch how many threads the next one may have; an engine
    whose results depend on their number keeps the machine's.
    Raises `Rejected` for a design that breaks the task's rules, before anything is allocated, and
    `UserError` where the machine cannot do it. A training that diverges or lacks memory is an
    outcome, not an error.
    """
    task.rules.check(task.design, task.budget.epochs)
    engine = engine_here(machine)
    epochs: list[EpochRecord] = []
    answered: list[Tensor] = []
    try:
        fit, digits, numbers = _digits_of(task, machine, engine.device)
        seed_everything(task.seed)
        network = build(task.design, task.rules)
        prepared = prepare(network, engine, torch.get_num_threads())
        run = _judged_each_epoch if task.judged == "each epoch" else _judged_once
        reason = ""
        for epoch in run(prepared, task, fit, digits, engine, answered):
            if isinstance(epoch, EpochRecord):
                epochs.append(epoch)
            reason = (yield epoch) or ""
            if reason:
                break
            if threads is not None:
                use_threads(prepared, threads())
    except Diverged as error:
        return Result("diverged", tuple(epochs), f"diverged: {error}", engine.name, engine.device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return Result("out of memory", tuple(epochs), memory_reason(error), engine.name,
                      engine.device)  # fmt: skip
    return Result(
        "stopped" if reason else "finished", tuple(epochs), reason, engine_of(prepared),
        engine.device, len(fit), _weights(network) if task.keep_weights else None,
        len(numbers), _misread(digits, numbers, answered),
    )  # fmt: skip


def _judged_each_epoch(
    network: nn.Module, task: Task, fit: Digits, digits: Digits, engine: Engine, _: list[Tensor]
) -> Generator[Epoch, None, None]:
    yield from train(
        network, task.recipe, task.budget.epochs, fit, digits, task.seed,
        gather_for(engine, task.dataset),
    )  # fmt: skip


def _judged_once(
    network: nn.Module,
    task: Task,
    fit: Digits,
    digits: Digits,
    engine: Engine,
    answered: list[Tensor],
) -> Generator[Epoch, None, None]:
    """Fit; meet the judging digits once, after the last epoch, which is yielded judged.

    The answers, int64 [count], are put into `answered`.
    """
    seconds = 0.0
    gather = gather_for(engine, task.dataset)
    for fitted in fit_epochs(network, task.recipe, task.budget.epochs, fit, task.seed, gather):
        seconds += fitted.train_seconds
        if fitted.epoch < task.budget.epochs:
            yield fitted
    loss, accuracy, found = answers(network, digits, gather)
    require_finite(loss, "test", fitted.epoch)
    answered.append(found)
    yield EpochRecord(
        fitted.epoch, fitted.learning_rate, fitted.train_loss, fitted.train_accuracy, loss,
        accuracy, seconds, seconds, len(fit) * fitted.epoch / seconds,
    )  # fmt: skip


def _misread(digits: Digits, numbers: Tensor, answered: Sequence[Tensor]) -> tuple[Misread, ...]:
    """The digits, by their numbers in the data, that were answered wrongly, in their order."""
    if not len(numbers) or not answered:
        return ()
    wrong = (answered[0] != digits.labels).nonzero().flatten()
    columns = (numbers[wrong.cpu()], digits.labels[wrong], answered[0][wrong])
    return tuple(zip(*(column.tolist() for column in columns), strict=True))


def memory_reason(error: BaseException) -> str:
    """A lack of memory in one line."""
    return f"out of memory: {str(error).partition(chr(10))[0] or 'host memory'}"


@lru_cache(maxsize=4)
def engine_here(machine: Machine) -> Engine:
    """The engine of this process, with the machine's threads; raises `UserError`."""
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
    return choose_engine(machine.engine, machine.device)


def _digits_of(task: Task, machine: Machine, device: str) -> tuple[Digits, Digits, Tensor]:
    """The digits that a task fits, those it is judged by, and a final run's numbers in the data."""
    if task.fold is not None:
        return fold_here(task.fold, task.budget.train_images, machine, device, task.dataset)
    images = task.budget.train_images
    fit, digits = digits_here(task.protocol, images, machine, device, task.dataset)
    is_final = task.judged == "last epoch" and task.protocol == "assignment"
    return fit, digits, TRAIN_IMAGES + torch.arange(len(digits) if is_final else 0)


@lru_cache(maxsize=1)
def fold_here(
    fold: int, train_images: int | None, machine: Machine, device: str, dataset: str = "mnist"
) -> tuple[Digits, Digits, Tensor]:
    """As `digits_here`, of a fold, with the judged digits' numbers."""
    fit, judged, numbers = fold_digits(fold, train_images, machine.data, dataset)
    return fit.to(device), judged.to(device), numbers


@lru_cache(maxsize=8)
def digits_here(
    protocol: Protocol,
    train_images: int | None,
    machine: Machine,
    device: str,
    dataset: str = "mnist",
) -> tuple[Digits, Digits]:
    """The digits to fit and to judge by, on a device; read once for each process."""
    fit, digits = protocol_digits(protocol, train_images, machine.data, dataset)
    return fit.to(device), digits.to(device)


def _weights(network: nn.Module) -> bytes:
    """A network's state on the CPU, in plain layout, as safetensors."""
    state = {
        name: tensor.detach().to("cpu").contiguous()
        for name, tensor in network.state_dict().items()
    }
    return save(state)
