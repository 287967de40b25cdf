"""`python -m search`: the verbs, in the order in which they are mostly used."""

from __future__ import annotations

import runpy
import sys

from search import options as common

VERBS = {
    "doctor": "say what this machine trains with, and whether MNIST is intact",
    "run": "search for designs that pass, and confirm the best",
    "show": "print a study's leaderboard, or a design's layers",
    "report": "write a study's report.html, and its figures as PNG and SVG",
    "confirm": "train a study's finalists on fresh seeds, judge them on the test images",
    "export": "write a trained network to a folder that stands on its own",
    "predict": "name the digit in an image file with an exported network",
    "train": "train one design and keep its log",
    "check": "hold anybody's network against the rules",
}


def main() -> int:
    """List the verbs, or run one: `python -m search run ...` is `python -m search.run ...`."""
    words = sys.argv[1:]
    if words and words[0] in VERBS:
        sys.argv[:] = [f"search.{words[0]}", *words[1:]]
        runpy.run_module(f"search.{words[0]}", run_name="__main__")
    if words and words[0] not in ("-h", "--help", "help"):
        known = ", ".join(VERBS)
        print(f"error: {words[0]!r} is no verb; choose from {known}", file=sys.stderr)
        return common.EXIT_MISTAKE
    print("usage: python -m search VERB [options]   (VERB --help tells more, with examples)\n")
    for verb, does in VERBS.items():
        print(f"  {verb:<9}{does}")
    return common.EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
