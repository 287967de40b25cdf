"""Inspection: what a check does in its own process: load, audit, and train if asked."""

from __future__ import annotations

import argparse
from dataclasses import asdict

import torch
from torch import Tensor, nn

from mnist_arch.audit import Audit, audit
from mnist_arch.augment import gather
from mnist_arch.data import Digits, load, protocol_digits
from mnist_arch.engine import Engine, choose_engine, engine_of, gather_for, prepare
from mnist_arch.errors import UserError
from mnist_arch.recipe import Recipe
from mnist_arch.rules import Rules
from mnist_arch.training import Diverged, seed_everything, train
from search import options as common
from search.checks.contained import Event, Send, limit_memory
from search.checks.load_module import Factory, factory_of, load_weights, told
from search.checks.targets import Target, read_target

REAL_DIGITS = 128


def inspect(options: argparse.Namespace, send: Send) -> None:
    """Load the target, send what the rules say of it, and train it if that is asked for."""
    target = read_target(options.what)
    rules = common.rules_of(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    factory = _loaded(target, rules, send)
    seed_everything(options.seed)
    network = factory()
    if options.weights:
        send({"phase": f"{target.text}: reading {options.weights}"})
        load_weights(network, options.weights)
    send({"phase": f"{target.text}: running forward"})
    found = _audited(network, rules)
    send({"report": _report(found)})
    if options.train_it and found.passes:
        limit_memory(None)
        _train_seeds(options, target, factory, send)


def _loaded(target: Target, rules: Rules, send: Send) -> Factory:
    send({"phase": f"{target.text}: importing it"})
    factory = factory_of(target, rules)
    send({"phase": f"{target.text}: making it"})
    return factory


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


def _train_seeds(options: argparse.Namespace, target: Target, factory: Factory, send: Send) -> None:
    """Train the target once with each seed, sending each epoch and each run."""
    settings = common.settings_of(options)
    named = options.engine if target.kind == "design" else "torch"
    engine = choose_engine(named, options.device)
    fit, validation = (
        digits.to(engine.device)
        for digits in protocol_digits(settings.protocol, settings.train_images, options.data)
    )
    for seed in range(options.seed, options.seed + options.seeds):
        seed_everything(seed)
        network = factory()
        broken = _audited(network, settings.rules).rejections
        if broken:  # what makes networks may make another one each time
            send({"run": {"seed": seed, "rejections": [str(each) for each in broken]}})
            continue
        prepared = _prepared(network, target, engine)
        send({"start": {"seed": seed, "engine": f"{engine_of(prepared)} on {engine.device}"}})
        run = _train(
            prepared, settings.recipe, settings.epochs, fit, validation, seed, engine, send
        )
        send({"run": run})


def _prepared(network: nn.Module, target: Target, engine: Engine) -> nn.Module:
    """A design's network made ready by the engine; anybody else's with its logits flattened."""
    if target.kind == "design":
        assert isinstance(network, nn.Sequential)
        return prepare(network, engine, torch.get_num_threads())
    return nn.Sequential(network, nn.Flatten()).to(engine.device)


def _train(
    network: nn.Module, recipe: Recipe, epochs: int, fit: Digits, validation: Digits, seed: int,
    engine: Engine, send: Send,
) -> Event:  # fmt: skip
    """One training: the accuracy after its last epoch, or why there is none."""
    accuracies: list[float] = []
    seconds = 0.0
    try:
        for epoch in train(network, recipe, epochs, fit, validation, seed, gather_for(engine)):
            accuracies.append(epoch.validation_accuracy)
            seconds += epoch.seconds
            send({"epoch": {**asdict(epoch), "seed": seed, "epochs": epochs}})
    except Diverged as error:
        return {"seed": seed, "diverged": str(error)}
    except BaseException as error:  # noqa: BLE001 - foreign code may raise anything
        raise UserError(f"training it with seed {seed} raised {told(error)}") from None
    return {"seed": seed, "accuracy": accuracies[-1], "best": max(accuracies), "seconds": seconds}
