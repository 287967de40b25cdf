"""`python -m search.run`: search for designs that pass, from proposals to a leaderboard."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from search import RunConfig, cli, search
from search import options as common
from search.files import RESULTS
from search.names import read_design
from search.run_config import FINALISTS, SEEDS

EXAMPLES = """\
  python -m search.run --trials 50
      train 50 designs; run it again to continue, with more --trials to go on
  python -m search.run --trials 50 --finalists 0
      the search alone; python -m search.confirm results/mnist confirms its best later
  python -m search.run --study quick --trials 4 --epochs 2 --train-images 2000 --looks none
      a try-out of a minute
  python -m search.run --study small --parameter-limit 8000 --seed 1
      under tighter rules
  python -m search.run --study shared --storage env:STUDIES
      the same on several machines: one study on PostgreSQL, whose URL is in $STUDIES
  python -m search.run --study tiny --goal smallest --trials 300
      the fewest parameters that pass
  python -m search.run --study again --warm-start results/mnist --seed 1
      begin with the best designs of an earlier study, trained anew under other seeds
  python -m search.run --study mine --design net.json --looks none --trials 2
      a network of your own beside the assignment's, both confirmed on fresh seeds
  python -m search.run --dataset fashion --data DIR
      the same search on Fashion-MNIST, which DIR holds
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of the search."""
    parser = cli.parser(
        "run",
        "Search for small convolutional networks that read MNIST under the assignment's rules. "
        "The study ends with --trials trained designs; proposals that break a rule do not count.",
        EXAMPLES,
    )
    group = parser.add_argument_group("study")
    group.add_argument(
        "--trials", type=common.whole(1, 100_000), default=50, metavar="N",
        help="trained designs the study ends with (default %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--study", type=common.name, metavar="NAME",
        help="default: the name of the data set, mnist",
    )  # fmt: skip
    group.add_argument(
        "--results", type=Path, default=RESULTS, metavar="DIR",
        help="folder that holds the study's (default %(default)s)",
    )  # fmt: skip
    common.add_workers(group)
    common.add_storage(group)
    common.add_executor(group)
    group.add_argument(
        "--search-recipe", action="store_true",
        help="also search the learning rate, the weight decay and the augmentation",
    )  # fmt: skip
    group.add_argument(
        "--goal", choices=("accuracy", "smallest", "fastest", "pareto"), default="pareto",
        action=cli.Once,
        help="what the search looks for: the most accurate design, the one of fewest parameters "
        "or of fewest epochs that passes, or the front of accuracy and parameters "
        "(default %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--sampler", choices=("mutation", "tpe", "nsga2", "gp", "random"), default="mutation",
        help="who proposes designs (default %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--looks", type=common.looks, metavar="EPOCHS|none",
        help="lengths of the short complete trainings that decide who is trained in full, such as "
        "0.25,1,3 (the default); none trains every design in full",
    )  # fmt: skip
    group.add_argument(
        "--no-pruning", action="store_const", const=(), dest="looks", help="as --looks none"
    )
    group.add_argument(
        "--timeout", type=common.whole(1), metavar="SECONDS",
        help="start no design after this time; those in training are finished",
    )  # fmt: skip
    group.add_argument(
        "--warm-start", type=Path, metavar="DIR",
        help="folder of an earlier study of the same data and rules: its best designs are the "
        "first proposals, trained anew, and its looks teach the predictor (default: none)",
    )  # fmt: skip
    group.add_argument(
        "--design", action="extend", nargs="+", default=[], metavar="NAME|FILE.json",
        help="designs of your own, names or JSON files: tried right after the assignment's, and "
        "ranked and confirmed as any other; the search makes no changed copies of them",
    )  # fmt: skip
    group.add_argument("--quiet", action="store_true", help="print only the last block")
    group.add_argument(
        "--dashboard", action="store_true",
        help="serve optuna-dashboard meanwhile, for this machine's browsers",
    )  # fmt: skip
    common.add_report(group)
    common.add_training_options(parser)
    group = parser.add_argument_group("confirmation, the last stage (see search.confirm)")
    group.add_argument(
        "--finalists", type=common.whole(0, 1_000), default=FINALISTS, metavar="N",
        help="designs to confirm on the test images: 3 are the three answers (most accurate, "
        "smallest, fewest epochs), more are filled up from the leaderboard; 0 skips it (default "
        "%(default)s)",
    )  # fmt: skip
    common.add_confirmation_options(group, seeds=SEEDS)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the search; returns the exit status."""
    options = make_parser().parse_args(arguments)
    config = common.config_of(
        options, search_recipe=options.search_recipe, goal=options.goal, sampler=options.sampler,
        schedule="none" if options.looks == () else "looks", looks=options.looks,
    )  # fmt: skip
    run = RunConfig(
        options.study or options.dataset, options.results, options.trials, options.workers,
        options.timeout, options.finalists, options.seeds, options.rank_by,
        machine=common.machine_of(options), quiet=options.quiet, storage=options.storage,
        executor=common.EXECUTORS[options.executor], report=not options.no_report,
        dashboard=options.dashboard, warm_start=options.warm_start,
        designs={name: read_design(name) for name in options.design},
    )  # fmt: skip
    outcome = search(config, run)
    if outcome.interrupted:
        return cli.EXIT_INTERRUPTED
    return cli.EXIT_DONE if outcome.is_yes else cli.EXIT_NO


if __name__ == "__main__":
    sys.exit(cli.run_command(main))
