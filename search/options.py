"""Options that the command lines share, and how a mistake is told. Imports no torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mnist_arch.errors import UserError

if TYPE_CHECKING:
    from mnist_arch.design import Design
    from mnist_arch.rules import Rules
    from search.settings import Settings

EXIT_DONE, EXIT_NO, EXIT_MISTAKE, EXIT_INTERRUPTED = 0, 1, 2, 130

TRAIN_IMAGES_HOLDOUT = 50_000

RANKS = ("accuracy", "parameters", "macs", "epochs", "seconds")
"""Rules by which designs that pass are ranked."""


def parser(verb: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser for `python -m search.<verb>` whose help ends with examples."""
    return argparse.ArgumentParser(
        prog=f"python -m search.{verb}",
        description=description,
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


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


def name(text: str) -> str:
    """An option type: a name that is safe as a folder's."""
    if not text or text in (".", "..") or any(c in text for c in "/\\\0") or len(text) > 100:
        raise argparse.ArgumentTypeError(
            f"{text[:100]!r} given, must be a plain folder name of at most 100 characters"
        )
    return text


def workers(text: str) -> int | None:
    """An option type: a number of worker processes, or None for `auto`."""
    return None if text == "auto" else whole(1, 1_000)(text)


def interrupt(*_: object) -> NoReturn:
    """A handler for signals: a polite kill keeps everything, as Ctrl-C does."""
    raise KeyboardInterrupt


def add_training_options(to: argparse.ArgumentParser) -> None:
    """Add the options that say how a design is trained, on what, and under which rules."""
    group = to.add_argument_group("training")
    group.add_argument("--seed", type=whole(0, 2**32 - 1), default=0, help="default %(default)s")
    group.add_argument(
        "--epochs", type=whole(1, 10_000), metavar="N",
        help="length of a full training (default: the epoch limit less one, 19)",
    )  # fmt: skip
    group.add_argument(
        "--train-images", type=whole(10, 60_000), metavar="N",
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
    add_machine_options(group)
    add_rules(to)


def add_machine_options(to: argparse._ActionsContainer) -> None:
    """Add the options that say where a design is trained, and where MNIST is."""
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
    to.add_argument("--data", type=Path, metavar="DIR", help="read MNIST from torchvision's folder")


def add_confirmation_options(to: argparse._ActionsContainer, seeds: int) -> None:
    """Add the options that say which finalists are confirmed, and how often."""
    to.add_argument(
        "--seeds", type=whole(1, 1_000), default=seeds, metavar="N",
        help="fresh seeds, the same for every design (default %(default)s)",
    )  # fmt: skip
    to.add_argument(
        "--rank-by", choices=RANKS, default="accuracy",
        help="finalists are the first designs that pass by this (default %(default)s): highest "
        "validation accuracy, fewest parameters, MACs, epochs to the first pass, or seconds",
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
        "--target", type=share, default=0.994, metavar="SHARE",
        help="validation accuracy of a pass, a share (default %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--strict", action="store_true",
        help="also refuse convolutions that compute what a fully connected layer computes",
    )  # fmt: skip


def settings_of(
    options: argparse.Namespace, search_recipe: bool = False, pruning: bool = True
) -> Settings:
    """The settings that the training options describe; raises `UserError` where they clash."""
    from mnist_arch.recipe import RECIPES
    from search.settings import Settings

    epochs = options.epochs or options.epoch_limit - 1
    if epochs >= options.epoch_limit:
        raise UserError(
            f"--epochs {epochs}: must be fewer than the epoch limit {options.epoch_limit}; "
            "give fewer, or a higher --epoch-limit"
        )
    holdout = options.protocol == "holdout"
    if holdout and (options.train_images or 0) > TRAIN_IMAGES_HOLDOUT:
        raise UserError(
            f"--train-images {options.train_images:,}: --protocol holdout has "
            f"{TRAIN_IMAGES_HOLDOUT:,} images to fit; give at most that many"
        )
    return Settings(
        seed=options.seed, epochs=epochs, protocol=options.protocol,
        train_images=options.train_images, rules=rules_of(options), recipe=RECIPES[options.recipe],
        search_recipe=search_recipe, pruning=pruning,
    )  # fmt: skip


def rules_of(options: argparse.Namespace) -> Rules:
    """The rules that the options describe."""
    from mnist_arch.rules import Rules

    return Rules(options.parameter_limit, options.epoch_limit, options.target, options.strict)


def run_command(
    command: Callable[[list[str] | None], int], arguments: list[str] | None = None
) -> NoReturn:
    """Run a command line and leave with its exit status; a user's mistake is one line on stderr."""
    try:
        sys.exit(command(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_MISTAKE)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(EXIT_DONE)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def read_design(text: str) -> Design:
    """The design of that name, or the one in that JSON file; raises `UserError`."""
    from mnist_arch.design import MAX_JSON_CHARACTERS, Design, DesignError
    from mnist_arch.references import REFERENCE_DESIGNS

    if text in REFERENCE_DESIGNS:
        return REFERENCE_DESIGNS[text]
    path = Path(text)
    try:
        with path.open(encoding="utf-8") as file:
            content = file.read(MAX_JSON_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a text file in UTF-8"
        raise UserError(
            f"design {text!r} is neither a name ({', '.join(REFERENCE_DESIGNS)}) "
            f"nor a readable JSON file: {reason}"
        ) from None
    try:
        return Design.from_json(content)
    except DesignError as error:
        raise UserError(f"{text}: {error}") from None
