"""Verdicts: what a check says, rule by rule, as plain values. Imports no torch."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import Any

from mnist_arch.design import Design
from mnist_arch.plan import CLASSES, Plan, PlanError, plan
from mnist_arch.rules import Rejected, Rejection, Rules, notes

Report = dict[str, Any]


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
    accuracies = [run["accuracy"] for run in runs if "accuracy" in run]
    complete = bool(runs) and len(accuracies) == len(runs)
    mean = statistics.fmean(accuracies) if accuracies else None
    return {
        "mean": mean,
        "standard_deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "minimum": min(accuracies, default=None),
        "share_passed": sum(each >= target for each in accuracies) / len(runs) if runs else 0.0,
        "target": target,
        "passes": complete and mean is not None and mean >= target,
    }
