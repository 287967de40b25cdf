"""Verbs: the commands by name, in the order in which they are mostly used."""

from __future__ import annotations

PROGRAM = "mnist-search"
"""The installed program that is `python -m search`."""

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
    "completion": "print what a shell needs to complete these commands",
}
