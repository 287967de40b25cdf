"""What a check prints: the layer table, each rule's verdict, the trainings, the last line."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from search.foreign.checking import CheckReport, Report, rule_verdicts
from search.foreign.targets import CheckConfig
from search.formats import counted, percent, points
from search.terminal.console import print_table
from search.terminal.layers import rows_table

RUNS_CODE = "Checking code runs it, with your rights, in a process of its own."


def print_event(event: Report, config: CheckConfig, console: Console) -> None:
    """Print what a check found, as it comes."""
    if "report" in event:
        _print_found(event["report"], config, console)
    elif "start" in event:
        start = event["start"]
        told = f"Training with seed {start['seed']}, engine {start['engine']}"
        console.print(told, soft_wrap=True)
    elif "epoch" in event:
        console.print(_epoch_line(event["epoch"]), soft_wrap=True)


def _print_found(found: Report, config: CheckConfig, console: Console) -> None:
    """Print the layer table, each rule and the notes."""
    totals = found["parameters"], found["macs"], found["receptive_field"]
    title = escape(f"{config.target}, for one image, in evaluation")
    print_table(console, rows_table(_rows(found), totals, title, "operation"))
    for verdict in rule_verdicts(found, config.training.rules):
        for sentence in verdict["says"]:
            _say(console, verdict["verdict"], sentence, verdict["rule"])
    for note in found["notes"]:
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


def print_conclusion(report: CheckReport, config: CheckConfig, console: Console) -> None:
    """Print the accuracy's verdict and the last line."""
    if report.training is not None:
        _print_training(report.training, config.training.about_data, console)
    if report.broken:
        rules = "1 rule is" if report.broken == 1 else f"{report.broken} rules are"
        trained = "; not trained" if config.train else ""
        last = f"[red]Refused[/red]: {rules} broken{trained}."
        if report.cannot_tell:
            last = f"[red]Cannot tell[/red] whether it is allowed{trained}."
    elif report.training is None:
        last = "[green]Allowed[/green] by the rules. Its accuracy is not judged: add --train."
    elif report.passes:
        last = "[green]Passes[/green]: every rule, and the accuracy."
    else:
        last = "[red]Misses[/red]: it keeps the rules, and misses the accuracy."
    console.print(last, soft_wrap=True)


def _print_training(training: Report, about_data: list[str], console: Console) -> None:
    for run in training["runs"]:
        if "diverged" in run:
            _say(console, "broken", f"seed {run['seed']}: {run['diverged']}")
        for rejection in run.get("rejections", ()):
            _say(console, "broken", f"seed {run['seed']} made another network: {rejection}")
    word = "kept" if training["passes"] else "broken"
    _say(console, word, _accuracy_words(training), "accuracy")
    for sentence in about_data:
        _say(console, "note", sentence)
    if training["selected_on_test"]:
        _say(console, "note", "validated on the test images: no unseen data judged this")
    if training["shortened"]:
        _say(console, "note", "shortened by --epochs or --train-images: a try-out, not a result")


def _accuracy_words(training: Report) -> str:
    """The accuracies of all seeds in a sentence, in percent."""
    runs, target = training["runs"], training["target"]
    if training["mean"] is None:
        return f"no training ended, must reach {percent(target)}"
    count = counted(len(runs), "seed")
    words = f"{percent(training['mean'])} after epoch {training['epochs']} ({count}"
    if training["standard_deviation"] is not None:
        words = "mean " + words + f", sd {points(training['standard_deviation'])} points"
        words += f", minimum {percent(training['minimum'])}"
        words += f", {training['share_passed'] * 100:.0f} % of them pass"
    return f"{words}), must be at least {percent(target)}"
