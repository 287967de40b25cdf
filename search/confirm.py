"""`python -m search.confirm`: train a study's finalists on fresh seeds, judge them on the test."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from search import ConfirmConfig, cli, confirm, open_study
from search import options as common
from search.run_config import FINALISTS

EXAMPLES = """\
  python -m search.confirm results/mnist --top 3 --seeds 5
      the three best designs and the baseline, five trainings each; again with more --seeds to add
  python -m search.confirm results/mnist --rank-by parameters --top 1
      the smallest design that passes
  python -m search.confirm results/mnist --trial 38 11
      these trials' designs, whether they passed or not
  python -m search.confirm results/mnist --judge folds
      six trainings a design that together judge 60,000 images, instead of 10,000
  python -m search.confirm results/mnist --compare 38 0
      two designs that have been confirmed, paired over seeds and images; trains nothing
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of the confirmation."""
    parser = cli.parser(
        "confirm",
        "Train a study's finalists on 60,000 images with fresh seeds and judge each once, after "
        "its last epoch, on images that it never saw; the baseline beside them. Finalists are the "
        "three answers: most accurate, smallest, fewest epochs; where one is not confirmed, the "
        "next of its kind is tried. What is finished is kept, and never done twice.",
        EXAMPLES,
    )
    parser.add_argument("study", type=Path, metavar="results/STUDY", help="a study's folder")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--top", type=common.whole(1, 1_000), default=FINALISTS, metavar="N",
        help="3: the three answers; fewer: the first of them; more: further designs of the "
        "leaderboard; with --rank-by the first N by that (default %(default)s)",
    )  # fmt: skip
    which.add_argument(
        "--trial", type=common.whole(0), nargs="+", action="extend", metavar="N",
        help="these trials' designs instead of finalists",
    )  # fmt: skip
    which.add_argument(
        "--compare", type=common.whole(0), nargs=2, metavar=("A", "B"),
        help="compare two confirmed trials' designs; trains nothing",
    )  # fmt: skip
    parser.add_argument(
        "--judge", choices=("test", "folds"), default="test",
        help="test: every seed on the 10,000 test images; folds: all 70,000 images but the "
        "validation part, in six parts, each judged by a training that never saw it "
        "(default %(default)s)",
    )  # fmt: skip
    common.add_confirmation_options(parser, seeds=None)
    common.add_workers(parser)
    common.add_storage(parser)
    common.add_executor(parser)
    common.add_machine_options(parser)
    parser.add_argument("--quiet", action="store_true", help="print only the last block")
    common.add_report(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Confirm, or compare; returns the exit status."""
    options = make_parser().parse_args(arguments)
    if options.compare:
        from search.terminal.comparison import comparison

        first, second = options.compare
        print(comparison(open_study(options.study), first, second, options.judge))
        return cli.EXIT_DONE
    outcome = confirm(
        ConfirmConfig(
            options.study,
            options.top,
            options.trial and tuple(options.trial),
            options.rank_by,
            options.seeds,
            options.workers,
            machine=common.machine_of(options),
            quiet=options.quiet,
            storage=options.storage,
            executor=common.EXECUTORS[options.executor],
            report=not options.no_report,
            judge=options.judge,
        )
    )
    if outcome.interrupted:
        return cli.EXIT_INTERRUPTED
    return cli.EXIT_DONE if outcome.is_yes else cli.EXIT_NO


if __name__ == "__main__":
    sys.exit(cli.run_command(main))
