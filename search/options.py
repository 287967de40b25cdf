"""Options that the command lines share. Imports no torch.

Options become a configuration at the door: nothing below a command sees an `argparse.Namespace`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnist_arch.datasets import DATASETS, TRAIN_IMAGES
from mnist_arch.errors import UserError
from mnist_arch.rules import Rules
from search.config import Machine, StudyConfig
from search.names import require_name
from search.run_config import SEEDS

EXECUTORS = {"local": "processes", "ray": "ray"}
"""Executors by the names that `--executor` takes, and by those in `search.executors`."""

RANKS = ("accuracy", "parameters", "macs", "epochs", "seconds")
"""As `search.tables.trials.RANKS`, which needs pandas."""


def whole(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """An option type: a whole number in a range."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < minimum or (maximum is not None and value > maximum):
            bound = f"at least {minimum:,}" if maximum is None else f"{minimum:,} to {maximum:,}"
            raise argparse.ArgumentTypeError(f"{value:,} given, must be {bound}")
        return value

    return read


def share(text: str) -> float:
    """An option type: a share above 0 and at most 1, such as 0.994."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} given, must be above 0 and at most 1 (0.994)")
    return value


def looks(text: str) -> tuple[float, ...]:
    """An option type: lengths of looks in epochs, such as 0.25,1,3; empty for `none`."""
    if text == "none":
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} given, must be lengths in epochs such as 0.25,1,3, or none"
        ) from None


def name(text: str) -> str:
    """An option type: a name that is safe as a folder's."""
    try:
        return require_name("name", text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("name: ")) from None


def workers(text: str) -> int | None:
    """An option type: a number of worker processes, or None for `auto`."""
    return None if text == "auto" else whole(1, 1_000)(text)


def add_training_options(to: argparse.ArgumentParser) -> None:
    """Add the options that say how a design is trained, on what, and under which rules."""
    group = to.add_argument_group("training")
    group.add_argument("--seed", type=whole(0, 2**32 - 1), default=0, help="default %(default)s")
    group.add_argument(
        "--epochs", type=whole(1, 10_000), metavar="N",
        help="length of a full training (default: the epoch limit less one, 19)",
    )  # fmt: skip
    group.add_argument(
        "--train-images", type=whole(10, TRAIN_IMAGES), metavar="N",
        help="fit on a stratified subset only, for a quick try",
    )  # fmt: skip
    group.add_argument(
        "--recipe", choices=("default", "assignment"), default="default",
        help="default: Nesterov SGD, one-cycle, affine augmentation; "
        "assignment: plain SGD 0.01, none (default %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--protocol", choices=("holdout", "assignment"), default="holdout",
        help="holdout: fit on 50,000, validate on 10,000 held out, never open the test images; "
        "assignment: fit on 60,000, validate on the test images (default %(default)s)",
    )  # fmt: skip
    add_dataset(group)
    add_machine_options(group)
    add_rules(to)


def add_dataset(to: argparse._ActionsContainer, default: str | None = "mnist") -> None:
    """Add the option that says what a design is trained on."""
    to.add_argument(
        "--dataset", choices=tuple(DATASETS), default=default,
        help="fashion: Fashion-MNIST, which needs --data DIR or Debian's dataset-fashion-mnist; "
        "the recipe, its augmentation too, is the same (default mnist)",
    )  # fmt: skip


def add_machine_options(to: argparse._ActionsContainer) -> None:
    """Add the options that say where a design is trained, and where the data are."""
    to.add_argument(
        "--engine",
        choices=("auto", "torch", "lanes"),
        default="auto",
        help="lanes: the fast one on a CPU; auto takes it where it runs (default %(default)s)",
    )
    to.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="default %(default)s",
    )
    to.add_argument(
        "--data", type=Path, metavar="DIR", help="read the data set from torchvision's folder"
    )


def add_workers(to: argparse._ActionsContainer) -> None:
    """Add the option that says how many processes train."""
    to.add_argument(
        "--workers", type=workers, default="auto", metavar="N|auto",
        help="processes; auto is one a core on a CPU, one on a GPU",
    )  # fmt: skip


def add_executor(to: argparse._ActionsContainer) -> None:
    """Add the options that say where the workers are, and when one counts as hanging."""
    to.add_argument(
        "--executor", choices=tuple(EXECUTORS), default="local",
        help="local: processes on this machine; ray: a Ray cluster's (default %(default)s)",
    )  # fmt: skip
    to.add_argument(
        "--ray-address", default="auto", metavar="ADDRESS",
        help="of the Ray cluster; local starts one on this machine (default %(default)s)",
    )  # fmt: skip
    to.add_argument(
        "--gpus-per-trial", type=gpus, default=0.0, metavar="SHARE",
        help="of a GPU for each training on the Ray cluster, such as 0.25 (default 0)",
    )  # fmt: skip
    to.add_argument(
        "--hang-timeout", type=whole(1), default=1_800, metavar="SECONDS",
        help="a training that ends no epoch for so long is ended and tried again "
        "(default %(default)s)",
    )  # fmt: skip


def gpus(text: str) -> float:
    """An option type: a share of a GPU up to 1, or a whole number of them."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value <= 64 or (value > 1 and value != int(value)):
        raise argparse.ArgumentTypeError(f"{text} given, must be from 0 to 1, or a whole number")
    return value


def add_storage(to: argparse._ActionsContainer) -> None:
    """Add the option that says where the study's database is."""
    to.add_argument(
        "--storage", default="sqlite", metavar="URL",
        help="sqlite: the study's own file; or a server that several machines share: "
        "postgresql+psycopg://HOST/DATABASE, or env:NAME, the URL in an environment variable, for "
        "one with a password (default %(default)s)",
    )  # fmt: skip


def add_report(to: argparse._ActionsContainer) -> None:
    """Add the option that says whether a page is made at the end."""
    to.add_argument(
        "--no-report", action="store_true", help="make no report.html and no figures at the end"
    )


def add_threads(to: argparse._ActionsContainer) -> None:
    """Add the option that says how many threads one training has."""
    to.add_argument("--threads", type=whole(1, 1_000), metavar="N", help="default: all cores")


def add_confirmation_options(to: argparse._ActionsContainer, seeds: int | None) -> None:
    """Add the options that say which finalists are confirmed, and how often."""
    to.add_argument(
        "--seeds", type=whole(1, 1_000), default=seeds, metavar="N",
        help=f"fresh seeds, the same for every design (default {SEEDS})",
    )  # fmt: skip
    to.add_argument(
        "--rank-by", choices=RANKS,
        help="instead of the three answers, finalists are the first designs that pass by this: "
        "highest validation accuracy, fewest parameters, MACs or epochs of training, or seconds",
    )  # fmt: skip


def add_rules(to: argparse.ArgumentParser) -> None:
    """Add the options that move the assignment's limits."""
    group = to.add_argument_group("rules of the assignment")
    group.add_argument(
        "--parameter-limit", type=whole(1), default=20_000, metavar="N",
        help="a design needs fewer parameters (default %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--epoch-limit", type=whole(2), default=20, metavar="N",
        help="a training needs fewer epochs (default %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--target", type=share, metavar="SHARE",
        help="validation accuracy of a pass, a share (default "
        f"{DATASETS['mnist'].target}; with --dataset fashion {DATASETS['fashion'].target}, a "
        "choice and no record)",
    )  # fmt: skip
    group.add_argument(
        "--strict", action="store_true",
        help="also refuse convolutions that compute what a fully connected layer computes",
    )  # fmt: skip


def config_of(options: argparse.Namespace, **choices: Any) -> StudyConfig:
    """The study that the training options describe; raises `UserError` where they clash."""
    from mnist_arch.recipe import RECIPES

    return StudyConfig(
        seed=options.seed, epochs=options.epochs, protocol=options.protocol,
        train_images=options.train_images, rules=rules_of(options), recipe=RECIPES[options.recipe],
        dataset=options.dataset, **choices,
    )  # fmt: skip


def rules_of(options: argparse.Namespace) -> Rules:
    """The rules that the options describe."""
    target = options.target or DATASETS[getattr(options, "dataset", "mnist")].target
    return Rules(options.parameter_limit, options.epoch_limit, target, options.strict)


def machine_of(options: argparse.Namespace) -> Machine:
    """The machine that the options describe."""
    machine = Machine(
        options.engine, options.device, options.data, getattr(options, "threads", None)
    )
    if "executor" not in options:
        return machine
    return replace(
        machine, hang_seconds=options.hang_timeout, ray_address=options.ray_address,
        gpus=options.gpus_per_trial,
    )  # fmt: skip
