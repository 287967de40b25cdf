"""Checking: hold a design, or anybody's network, against the rules, and its accuracy if asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from mnist_arch.datasets import VALIDATION_IMAGES
from mnist_arch.design import Design
from mnist_arch.plan import CLASSES, Plan, PlanError, plan
from mnist_arch.rules import Rejected, Rejection, Rules, notes
from search.foreign.contained import contained
from search.foreign.targets import CheckConfig, read_target
from search.names import read_design
from search.statistics import verdict

Report = dict[str, Any]

Watch = Callable[[Report], object]
"""Is told what a check finds as it comes: `{"report": ...}`, `{"start": ...}`, `{"epoch": ...}`."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found, as plain values.

    `found` are layers, counts, rejections and notes; `rules` each rule with its verdict;
    `training` what the trainings came to, where it was trained.
    """

    target: str
    code_was_run: bool
    found: Report
    rules: list[Report]
    training: Report | None = None

    @property
    def broken(self) -> int:
        """How many rules are broken, or cannot be told."""
        return sum(verdict["verdict"] != "kept" for verdict in self.rules)

    @property
    def cannot_tell(self) -> bool:
        """Whether no rule is known to be broken, but one cannot be told."""
        return bool(self.broken) and all(rule["verdict"] != "broken" for rule in self.rules)

    @property
    def passes(self) -> bool:
        """Whether every rule is kept and the accuracy, where it was judged, is reached."""
        return not self.broken and (self.training is None or self.training["passes"])

    def to_dict(self) -> Report:
        """All of it in one JSON object."""
        training = {} if self.training is None else {"training": self.training}
        return {
            "target": self.target, "code_was_run": self.code_was_run, **self.found,
            "rules": self.rules, **training, "passes": self.passes,
        }  # fmt: skip


def check(config: CheckConfig, watch: Watch = lambda _: None) -> CheckReport:
    """Check a target; code is run in a process of its own, a design is read and not run.

    Raises `UserError` for a target that cannot be checked.
    """
    target, rules = read_target(config.target), config.training.rules
    found: Report = {}
    if target.kind == "design":
        found = design_report(read_design(target.place), rules)
        watch({"report": found})
        if found["rejections"] or not (config.train or config.weights):
            return CheckReport(target.text, False, found, rule_verdicts(found, rules))
    runs: list[Report] = []
    engine = None
    with closing(
        contained("search.foreign.inspection:inspect", config, config.time_limit)
    ) as events:
        for event in events:
            if "run" in event:
                runs.append(event["run"])
            elif "report" in event and not found:
                found = event["report"]
                watch(event)
            elif "report" not in event:
                engine = event["start"]["engine"] if "start" in event else engine
                watch(event)
    training = _training(config, runs, engine) if runs else None
    return CheckReport(
        target.text, target.kind != "design", found, rule_verdicts(found, rules), training
    )


def _training(config: CheckConfig, runs: list[Report], engine: str | None) -> Report:
    """What the trainings came to, and how they were done."""
    training = config.training
    return {
        "protocol": training.protocol,
        "recipe": training.recipe.name,
        "epochs": training.full_epochs,
        "train_images": training.train_images,
        "engine": engine,
        "selected_on_test": training.selected_on_test,
        "shortened": training.is_shortened,
        "runs": runs,
        **statistics_of(runs, training.rules.target),
    }


def design_report(design: Design, rules: Rules) -> Report:
    """The report of a design, from its plan alone."""
    try:
        walked = plan(design)
    except PlanError as error:
        walked = Plan(design, error.nodes)
    rejections: tuple[Rejection, ...] = ()
    try:
        rules.check(design)
    except Rejected as rejected:
        rejections = rejected.rejections
    return {
        "layers": [
            {
                "name": f"layer {node.position}",
                "operation": " + ".join(filter(None, (node.module, node.activation_module))),
                "output_shape": list(node.output_shape),
                "parameters": node.parameters,
                "macs": node.macs,
                "receptive_field": node.receptive_field,
            }
            for node in walked.nodes
        ],
        "parameters": walked.parameters,
        "trainable_parameters": walked.parameters,
        "outside_parameters": 0,
        "macs": walked.macs,
        "receptive_field": walked.receptive_field if walked.nodes else None,
        "output_shape": list(walked.output_shape) if walked.nodes else [],
        "rejections": [asdict(rejection) for rejection in rejections],
        "notes": [] if rules.strict else notes(walked),
    }


def rule_verdicts(report: Report, rules: Rules) -> list[Report]:
    """Each rule with `kept`, `broken` or `cannot tell` and sentences that say why."""
    limit = rules.parameter_limit
    kept = {
        "parameters": f"{report['parameters']:,}, fewer than {limit:,}" if limit else "no limit",
        "fully connected layers": "none",
        "logits": f"{CLASSES} for each image",
    }
    if rules.strict:
        kept["fully connected layers in disguise"] = "none"
    broken: dict[str, list[str]] = {}
    for rejection in report["rejections"]:
        broken.setdefault(rejection["limit"], []).append(rejection["message"])
    return [
        {
            "rule": rule,
            "verdict": _verdict(rule, rule in broken),
            "says": broken.get(rule, [kept.get(rule, "")]),
        }
        for rule in [*kept, *(rule for rule in broken if rule not in kept)]
    ]


def _verdict(rule: str, broken: bool) -> str:
    """`kept`, `broken`, or `cannot tell` where the audit cannot judge an operation."""
    if not broken:
        return "kept"
    return "cannot tell" if rule == "operations" else "broken"


def statistics_of(runs: list[Report], target: float) -> Report:
    """Mean, sample standard deviation, minimum and share of passes over the seeds.

    A run that diverged, or whose network broke a rule, has no accuracy and counts as a miss; where
    there is one, nothing passes. The standard deviation needs two accuracies, else it is None.
    """
    found = verdict([run.get("accuracy") for run in runs], target, VALIDATION_IMAGES)
    return {
        "mean": found.test_accuracy,
        "standard_deviation": found.test_deviation,
        "minimum": found.test_minimum,
        "share_passed": found.pass_share,
        "target": target,
        "passes": found.confirmed,
    }
