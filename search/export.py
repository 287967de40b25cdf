"""`python -m search.export`: a trained network as files that stand on their own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from search import ExportConfig, cli
from search import options as common
from search.names import read_design

EXAMPLES = """\
  python -m search.export results/mnist
      the first design of the study's leaderboard, to results/mnist/best
  python -m search.export results/mnist --rank 2 --to second
      the next one, to the folder second
  python -m search.export results/mnist --trial 54
      the design of that trial, such as the one whose confirmation came out best
  python -m search.export --design my-design.json --to mine
      a design of your own, trained on all 60,000 images first
  python -m search.export --design assignment --to try --epochs 1 --train-images 2000
      a quick try
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of an export."""
    parser = cli.parser(
        "export",
        "Write a trained network to a folder: network.py, weights, ONNX, model card, its errors.",
        EXAMPLES,
    )
    parser.add_argument(
        "study", nargs="?", type=Path, metavar="results/STUDY", help="a study's folder"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--rank", type=common.whole(1), metavar="N",
        help="the design at that place of the leaderboard (default: 1)",
    )  # fmt: skip
    which.add_argument(
        "--trial", type=common.whole(0), metavar="N",
        help="the design of that trial, whether it passed or not",
    )  # fmt: skip
    which.add_argument(
        "--design", metavar="NAME|FILE.json", help="a design without a study; needs --to"
    )
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="the folder to write (default: results/STUDY/best)"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="write into a folder of other files; those of an export's names are replaced",
    )
    _add_training(parser)
    return parser


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "training",
        "Without --seed, --epochs and --train-images, the weights are those of the design's first\n"
        "confirmation run where there is one; else it is trained once on all 60,000 images, as\n"
        "the study trains.",
    )
    group.add_argument("--seed", type=common.whole(0, 2**32 - 1), help="default 0")
    group.add_argument("--epochs", type=common.whole(1, 10_000), metavar="N")
    group.add_argument("--train-images", type=common.whole(10, 60_000), metavar="N")
    group.add_argument(
        "--recipe", choices=("default", "assignment"), help="with --design (default: default)"
    )
    common.add_dataset(group, default=None)
    common.add_threads(group)
    common.add_machine_options(group)


def main(arguments: list[str] | None = None) -> int:
    """Export one network; returns the exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if (options.study is None) == (options.design is None):
        parser.error("give either a study's folder or --design NAME|FILE.json")
    if options.design is not None and options.to is None:
        parser.error("--design needs --to DIR, the folder to write")
    if options.study is not None and options.recipe is not None:
        parser.error("--recipe goes with --design; a study has its own recipe")
    if options.study is not None and options.dataset is not None:
        parser.error("--dataset goes with --design; a study has its own data set")
    from mnist_arch.recipe import RECIPES
    from mnist_arch.references import REFERENCE_DESIGNS
    from search.exporting.exporting import export
    from search.terminal.export import print_export, teller

    design = options.design and read_design(options.design)
    named = options.design in REFERENCE_DESIGNS
    config = ExportConfig(
        study=options.study, rank=options.rank or 1, trial=options.trial, design=design,
        name=options.design if named else Path(options.design or "").name,
        recipe=RECIPES[options.recipe or "default"], to=options.to, force=options.force,
        seed=options.seed, epochs=options.epochs, train_images=options.train_images,
        machine=common.machine_of(options), dataset=options.dataset or "mnist",
    )  # fmt: skip
    print_export(export(config, teller()))
    return cli.EXIT_DONE


if __name__ == "__main__":
    sys.exit(cli.run_command(main))
