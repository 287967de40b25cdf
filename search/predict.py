"""`python -m search.predict`: name the digit in an image file with an exported network.

Preparing photographs is for digits. A network of another data set is shown images as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_arch.datasets import DATASETS, DataSet
from search import cli
from search.formats import percent

if TYPE_CHECKING:
    from search.handwriting import Prediction

EXAMPLES = """\
  python -m search.predict results/mnist/best digit.png
      the digit in an image file, with its probability and the runner-up
  python -m search.predict results/mnist/best *.jpg --json
      several, for another program
  python -m search.predict results/mnist/best digit.png --show
      also what the network sees
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of a prediction."""
    parser = cli.parser(
        "predict", "Name the digit in an image file with an exported network.", EXAMPLES
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="a folder that search.export wrote"
    )
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE",
        help="an image of one digit: any size, colour, polarity and place; for a network of "
        "another data set an image of 28x28 as that shows it, or a .npy file of uint8 [28, 28]",
    )  # fmt: skip
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print a JSON list")
    output.add_argument(
        "--show", action="store_true", help="also print each image as the network sees it"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Name the digits in image files; returns the exit status.

    Every image is read before anything is printed.
    """
    options = make_parser().parse_args(arguments)
    from search.handwriting import (
        dataset_of,
        load_export,
        predict,
        read_as_it_is,
        read_digit,
        shown,
    )

    network, dataset = load_export(options.folder), dataset_of(options.folder)
    data = DATASETS[dataset]
    if dataset == "mnist":
        images = [read_digit(path) for path in options.images]
    else:
        images = [read_as_it_is(path, data.title) for path in options.images]
    predictions = predict(network, images, options.images, dataset)
    if options.json:
        print(
            json.dumps([{**asdict(each), **_names(each, data)} for each in predictions], indent=2)
        )
        return cli.EXIT_DONE
    for image, each in zip(images, predictions, strict=True):
        if options.show:
            print(shown(image))
        print(
            f"{each.image}: {data.classes[each.digit]} ({percent(each.probability)}), "
            f"then {data.classes[each.runner_up]} ({percent(each.runner_up_probability)})"
        )
    return cli.EXIT_DONE


def _names(found: Prediction, data: DataSet) -> dict[str, str]:
    """The names of the two classes, for a program, where they are more than their numbers."""
    if data.is_shipped:
        return {}
    return {"name": data.classes[found.digit], "runner_up_name": data.classes[found.runner_up]}


if __name__ == "__main__":
    sys.exit(cli.run_command(main))
