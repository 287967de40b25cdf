"""Judging: what a design in training is trained for next, how it ended, and what Optuna is told."""

from __future__ import annotations

from dataclasses import replace

from search import record
from search.config import StudyConfig
from search.goals import GOALS
from search.loop.history import History
from search.loop.running import RunningTrial
from search.schedules import SCHEDULES, Decision, Standing, full_budget
from search.task import Result


def decide(
    config: StudyConfig, history: History, running: RunningTrial, stop_reason: str
) -> Decision:
    """What a design is trained for next: the baseline in full, others as the schedule says.

    Where the search is to stop, for `stop_reason`, a design that was looked at goes no further.
    """
    if running.is_baseline:
        return Decision(full_budget(config, running.proposal.epochs))
    standing = Standing(
        running.judged, history.looked, history.passed, GOALS[config.goal], history.predictor.loss
    )
    decision = SCHEDULES[config.schedule].next_budget(config, standing)
    if decision.budget is None or not running.looks:
        return decision
    return Decision(None, stop_reason) if stop_reason else decision


def state_after(config: StudyConfig, running: RunningTrial, result: Result) -> str:
    """The state, one of `record.STATES`, in which a design's last training leaves its trial."""
    if result.outcome == "finished":
        passed = result.epochs[-1].validation_accuracy >= config.rules.target
        return "passed" if passed else "missed"
    if result.outcome in ("stopped", "diverged") and not running.counts:
        return "screened"
    return {"stopped": "pruned", "diverged": "failed"}.get(result.outcome, "broken")


def told(
    config: StudyConfig, history: History, running: RunningTrial, state: str, result: Result
) -> tuple[float, ...] | None:
    """What Optuna is told: by what the looks and the full training lead to expect; or nothing."""
    judged = running.judged
    if state in record.TO_THE_END:
        assert running.budget is not None
        judged = replace(judged, full=record.look_of(result.epochs, running.budget.length))
    elif not running.looks or state not in ("pruned", "screened"):
        return None
    return GOALS[config.goal].values(judged, history.predictor.loss(judged))
