"""Inspection: what a check does in its own process: load, audit, and train if asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import torch
from torch import Tensor, nn

from mnist_arch.audit import Audit, audit
from mnist_arch.augment import gather
from mnist_arch.data import load
from mnist_arch.engine import choose_engine, engine_of, gather_for, prepare
from mnist_arch.epochs import EpochRecord
from mnist_arch.errors import UserError
from mnist_arch.rules import Rules
from mnist_arch.training import Diverged, seed_everything, train
from search.evaluate import digits_here
from search.foreign.contained import Event, Send, limit_memory
from search.foreign.load_module import Factory, factory_of, load_weights, told
from search.foreign.targets import CheckConfig, Target, read_target

REAL_DIGITS = 128


def inspect(config: CheckConfig, send: Send) -> None:
    """Load the target, send what the rules say of it, and train it if that is asked for."""
    target = read_target(config.target)
    if config.machine.threads:
        torch.set_num_threads(config.machine.threads)
    send({"phase": f"{target.text}: importing it"})
    factory = factory_of(target, config.training.rules)
    send({"phase": f"{target.text}: making it"})
    seed_everything(config.training.seed)
    network = factory()
    if config.weights:
        send({"phase": f"{target.text}: reading {config.weights}"})
        load_weights(network, config.weights)
    send({"phase": f"{target.text}: running forward"})
    found = _audited(network, config.training.rules)
    send({"report": _report(found)})
    if config.train and found.passes:
        limit_memory(None)
        _train_seeds(config, target, factory, send)


def _audited(network: nn.Module, rules: Rules) -> Audit:
    """The audit of a network, watched on real digits too; raises `UserError`."""
    try:
        return audit(network, rules, [_some_digits()])
    except Exception:
        raise
    except BaseException as error:  # noqa: BLE001 - such as SystemExit
        raise UserError(f"forward raised {told(error)}") from None


def _some_digits() -> Tensor:
    """The first training digits, as a training sees them, float32 [128, 1, 28, 28]."""
    return gather(load("train").images, torch.arange(REAL_DIGITS), None)


def _report(found: Audit) -> Event:
    """An audit as plain JSON values."""
    return {
        "layers": [asdict(layer) for layer in found.layers],
        "parameters": found.parameters,
        "trainable_parameters": found.trainable,
        "outside_parameters": found.outside,
        "macs": found.macs,
        "receptive_field": found.receptive_field,
        "output_shape": list(found.output_shape),
        "rejections": [asdict(rejection) for rejection in found.rejections],
        "notes": list(found.notes),
    }


def _train_seeds(config: CheckConfig, target: Target, factory: Factory, send: Send) -> None:
    """Train the target once with each seed, sending each epoch and each run."""
    training, machine = config.training, config.machine
    engine = choose_engine(machine.engine if target.kind == "design" else "torch", machine.device)
    fit, validation = digits_here(
        training.protocol, training.train_images, machine, engine.device, training.dataset
    )
    for seed in range(training.seed, training.seed + config.seeds):
        seed_everything(seed)
        network = factory()
        broken = _audited(network, training.rules).rejections
        if broken:  # what makes networks may make another one each time
            send({"run": {"seed": seed, "rejections": [str(each) for each in broken]}})
            continue
        if target.kind == "design" and isinstance(network, nn.Sequential):
            prepared = prepare(network, engine, torch.get_num_threads())
        else:
            prepared = nn.Sequential(network, nn.Flatten()).to(engine.device)
        send({"start": {"seed": seed, "engine": f"{engine_of(prepared)} on {engine.device}"}})
        epochs = train(
            prepared, training.recipe, training.full_epochs, fit, validation, seed,
            gather_for(engine, training.dataset),
        )  # fmt: skip
        send({"run": {"seed": seed, **_run(epochs, seed, training.full_epochs, send)}})


def _run(records: Iterator[EpochRecord], seed: int, epochs: int, send: Send) -> Event:
    """One training: the accuracy after its last epoch, or why there is none."""
    accuracies: list[float] = []
    seconds = 0.0
    try:
        for record in records:
            accuracies.append(record.validation_accuracy)
            seconds += record.seconds
            send({"epoch": {**asdict(record), "seed": seed, "epochs": epochs}})
    except Diverged as error:
        return {"diverged": str(error)}
    except BaseException as error:  # noqa: BLE001 - foreign code may raise anything
        raise UserError(f"training it with seed {seed} raised {told(error)}") from None
    return {"accuracy": accuracies[-1], "best": max(accuracies), "seconds": seconds}
