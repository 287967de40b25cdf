"""Checking: run the inspection, show what it finds, and answer with an exit status."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from typing import Any

from rich.console import Console
from rich.markup import escape

from mnist_arch.rules import Rules
from search import options as common
from search.checks.targets import Target
from search.checks.verdicts import Report, design_report, rule_verdicts, statistics_of
from search.formats import percent, points
from search.layers import rows_table

RUNS_CODE = "Checking code runs it, with your rights, in a process of its own."


def check(options: argparse.Namespace, target: Target) -> int:
    """Check a target and print the verdicts; returns the exit status.

    Raises `UserError` for a target that cannot be checked.
    """
    rules = common.rules_of(options)
    console = Console(highlight=False, stderr=options.json)
    code = target.kind != "design"
    if code:
        console.print(f"[dim]{RUNS_CODE}[/dim]", soft_wrap=True)
    if options.train_it:
        common.settings_of(options)  # clashing options are told before anything runs
    answer: Report = {"target": target.text, "code_was_run": code}
    if not code:
        report = design_report(common.read_design(target.place), rules)
        _show_report(report, rules, answer, console)
    if code or ((options.train_it or options.weights) and not answer["rejections"]):
        _inspect(options, rules, answer, console)
    _conclude(options, answer, console)
    if options.json:
        json.dump(answer, sys.stdout, indent=2)
        print()
    return common.EXIT_DONE if answer["passes"] else common.EXIT_NO


def _inspect(options: argparse.Namespace, rules: Rules, answer: Report, console: Console) -> None:
    """Let another process load, audit and train; show what it sends as it comes."""
    from search.checks.contained import contained

    runs: list[Report] = []
    with closing(
        contained("search.checks.inspection:inspect", options, options.time_limit)
    ) as events:
        for event in events:
            if "report" in event and answer["code_was_run"]:
                _show_report(event["report"], rules, answer, console)
            elif "start" in event:
                answer["engine"] = event["start"]["engine"]
                told = f"Training with seed {event['start']['seed']}, engine {answer['engine']}"
                console.print(told, soft_wrap=True)
            elif "epoch" in event:
                console.print(_epoch_line(event["epoch"]), soft_wrap=True)
            elif "run" in event:
                runs.append(event["run"])
    if options.train_it and runs:
        settings = common.settings_of(options)
        answer["training"] = {
            "protocol": settings.protocol,
            "recipe": settings.recipe.name,
            "epochs": settings.epochs,
            "train_images": settings.train_images,
            "engine": answer.pop("engine", None),
            "selected_on_test": settings.selected_on_test,
            "shortened": settings.is_trial_run,
            "runs": runs,
            **statistics_of(runs, rules.target),
        }


def _show_report(report: Report, rules: Rules, answer: Report, console: Console) -> None:
    """Print the layer table, each rule and the notes; enter them in the answer."""
    verdicts = rule_verdicts(report, rules)
    answer |= {**report, "rules": verdicts}
    totals = report["parameters"], report["macs"], report["receptive_field"]
    title = escape(f"{answer['target']}, for one image, in evaluation")
    console.print(rows_table(_rows(report), totals, title, "operation"))
    for verdict in verdicts:
        for sentence in verdict["says"]:
            _say(console, verdict["verdict"], sentence, verdict["rule"])
    for note in report["notes"]:
        _say(console, "note", note)


def _rows(report: Report) -> list[Any]:
    """The lines of a report, and one for parameters that no line shows."""
    rows = [
        (
            layer["name"], layer["operation"], "x".join(map(str, layer["output_shape"])),
            layer["parameters"], layer["macs"], layer["receptive_field"],
        )
        for layer in report["layers"]
    ]  # fmt: skip
    rest = report["parameters"] - sum(layer["parameters"] for layer in report["layers"])
    return [*rows, ("elsewhere", "not used in evaluation", "", rest, 0, None)] if rest else rows


_STYLES = {"kept": "green", "broken": "red", "cannot tell": "red", "note": "yellow"}


def _say(console: Console, word: str, sentence: str, rule: str = "") -> None:
    style = _STYLES[word]
    told = sentence if word != "kept" else f"{rule}: {sentence}"
    suffix = (
        "; refused under --strict" if "computes what a fully" in told and word == "note" else ""
    )
    told = told.removeprefix(f"{word}: ")
    console.print(f"[{style}]{word:<7}[/{style}] {escape(told)}{suffix}", soft_wrap=True)


def _epoch_line(epoch: Report) -> str:
    return (
        f"seed {epoch['seed']}  epoch {epoch['epoch']:>2}/{epoch['epochs']}  "
        f"validation {percent(epoch['validation_accuracy'])}  "
        f"train {percent(epoch['train_accuracy'])}  "
        f"{epoch['images_per_second']:,.0f} images/s"
    )


def _conclude(options: argparse.Namespace, answer: Report, console: Console) -> None:
    """Print the accuracy's verdict and the last line; enter whether everything passes."""
    training = answer.get("training")
    broken = sum(verdict["verdict"] != "kept" for verdict in answer["rules"])
    answer["passes"] = not broken and (training is None or training["passes"])
    if training is not None:
        _show_training(training, console)
    if broken:
        rules = "1 rule is" if broken == 1 else f"{broken} rules are"
        trained = "; not trained" if options.train_it else ""
        last = f"[red]Refused[/red]: {rules} broken{trained}."
        if all(verdict["verdict"] != "broken" for verdict in answer["rules"]):
            last = f"[red]Cannot tell[/red] whether it is allowed{trained}."
    elif training is None:
        last = "[green]Allowed[/green] by the rules. Its accuracy is not judged: add --train."
    elif training["passes"]:
        last = "[green]Passes[/green]: every rule, and the accuracy."
    else:
        last = "[red]Misses[/red]: it keeps the rules, and misses the accuracy."
    console.print(last, soft_wrap=True)


def _show_training(training: Report, console: Console) -> None:
    for run in training["runs"]:
        if "diverged" in run:
            _say(console, "broken", f"seed {run['seed']}: {run['diverged']}")
        for rejection in run.get("rejections", ()):
            _say(console, "broken", f"seed {run['seed']} made another network: {rejection}")
    word = "kept" if training["passes"] else "broken"
    _say(console, word, _accuracy_words(training), "accuracy")
    if training["selected_on_test"]:
        _say(console, "note", "validated on the test images: no unseen data judged this")
    if training["shortened"]:
        _say(console, "note", "shortened by --epochs or --train-images: a try-out, not a result")


def _accuracy_words(training: Report) -> str:
    """The accuracies of all seeds in a sentence, in percent."""
    runs, target = training["runs"], training["target"]
    if training["mean"] is None:
        return f"no training ended, must reach {percent(target)}"
    count = f"{len(runs)} seed" + ("s" if len(runs) > 1 else "")
    words = f"{percent(training['mean'])} after epoch {training['epochs']} ({count}"
    if training["standard_deviation"] is not None:
        words = "mean " + words + f", sd {points(training['standard_deviation'])} points"
        words += f", minimum {percent(training['minimum'])}"
        words += f", {training['share_passed'] * 100:.0f} % of them pass"
    return f"{words}), must be at least {percent(target)}"
