"""`python -m search.predict`: name the digit in an image file with an exported network."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from search import options as common
from search.formats import percent

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
    parser = common.parser(
        "predict", "Name the digit in an image file with an exported network.", EXAMPLES
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="a folder that search.export wrote"
    )
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE",
        help="an image of one digit: any size, colour, polarity and place",
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
    from search.handwriting import load_export, predict, read_digit, shown

    network = load_export(options.folder)
    images = [read_digit(path) for path in options.images]
    predictions = predict(network, images, options.images)
    if options.json:
        print(json.dumps([asdict(each) for each in predictions], indent=2))
        return common.EXIT_DONE
    for image, each in zip(images, predictions, strict=True):
        if options.show:
            print(shown(image))
        print(
            f"{each.image}: {each.digit} ({percent(each.probability)}), "
            f"then {each.runner_up} ({percent(each.runner_up_probability)})"
        )
    return common.EXIT_DONE


if __name__ == "__main__":
    sys.exit(common.run_command(main))
