"""`python -m search.confirm`: train a study's finalists on fresh seeds, judge them on the test."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from search import ConfirmConfig, confirm, open_study
from search import options as common

EXAMPLES = """\
  python -m search.confirm results/mnist --top 3 --seeds 5
      the three best designs and the baseline, five trainings each; again with more --seeds to add
  python -m search.confirm results/mnist --rank-by parameters --top 1
      the smallest design that passes
  python -m search.confirm results/mnist --trial 38 11
      these trials' designs, whether they passed or not
  python -m search.confirm results/mnist --compare 38 0
      two designs that have been confirmed, paired over their seeds; trains nothing
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of the confirmation."""
    parser = common.parser(
        "confirm",
        "Train a study's finalists on all 60,000 training images with fresh seeds and judge each "
        "once, after its last epoch, on the 10,000 test images; the baseline beside them. What is "
        "finished is kept, and never done twice.",
        EXAMPLES,
    )
    parser.add_argument("study", type=Path, metavar="results/STUDY", help="a study's folder")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--top", type=common.whole(1, 1_000), default=3, metavar="N",
        help="so many finalists among the designs that pass (default %(default)s)",
    )  # fmt: skip
    which.add_argument(
        "--trial", type=common.whole(0), nargs="+", metavar="N",
        help="these trials' designs instead of finalists",
    )  # fmt: skip
    which.add_argument(
        "--compare", type=common.whole(0), nargs=2, metavar=("A", "B"),
        help="compare two confirmed trials' designs; trains nothing",
    )  # fmt: skip
    common.add_confirmation_options(parser, seeds=5)
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
        from search.terminal.confirmation import comparison

        print(comparison(open_study(options.study), *options.compare))
        return common.EXIT_DONE
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
        )
    )
    if outcome.interrupted:
        return common.EXIT_INTERRUPTED
    return common.EXIT_DONE if outcome.is_yes else common.EXIT_NO


if __name__ == "__main__":
    sys.exit(common.run_command(main))
