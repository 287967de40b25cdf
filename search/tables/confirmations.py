"""Confirmations: final runs -> pandas frames, beside those of the trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import pandas as pd

from mnist_arch.datasets import TEST_IMAGES, TRAIN_IMAGES, VALIDATION_IMAGES
from mnist_arch.references import BASELINE
from search import statistics
from search.final_run import FinalRun
from search.record import TO_THE_END
from search.tables.answers import confirmed_answers
from search.tables.trials import whole_numbers

RUN_COLUMNS = (
    "trial", "fingerprint", "judge", "seed_index", "seed", "state", "epochs", "train_images",
    "train_loss", "train_accuracy", "judged_images", "misread", "test_loss", "test_accuracy",
    "seconds", "engine", "device", "worker",
    "commit", "weights", "reason", "study",
)  # fmt: skip

ERROR_COLUMNS = (
    "trial", "fingerprint", "judge", "seed_index", "part", "image", "truth", "answer", "study",
)  # fmt: skip

VERDICT_COLUMNS = ("judge", *(field.name for field in fields(statistics.Verdict)))

FINALIST_COLUMNS = (
    "trial", "baseline", "state", "fingerprint", "parameters", "macs", "widths", "dropout", "head",
    "epochs", "validation_accuracy", "pareto", "answers", *VERDICT_COLUMNS, "drop", "study",
)  # fmt: skip

_DIGITS = dict.fromkeys(
    (
        "test_accuracy", "test_deviation", "pass_share", "seeds_error", "images_error",
        "shared_errors", "lower_bound", "lower_bound_seeds", "p_value", "p_holm", "drop",
    ),
    6,
)  # fmt: skip


def with_confirmation(
    frames: Mapping[str, pd.DataFrame], runs: Sequence[FinalRun], target: float, study: str
) -> dict[str, pd.DataFrame]:
    """A study's tables, the leaderboard with its verdicts, and two more where there are runs.

    `study` is the study's identity.
    """
    board = flagged(frames["leaderboard"])
    finalists = finalists_frame(frames["trials"], board, runs, target)
    verdicts = finalists[["trial", *VERDICT_COLUMNS]].drop_duplicates("trial")  # test before folds
    judged = board.merge(verdicts, on="trial", how="left")
    judged["study"] = judged.pop("study")  # the last column of every table
    extended = {**frames, "leaderboard": judged}
    if runs:
        extended |= {
            "confirmations": confirmations_frame(runs, study),
            "finalists": finalists,
        }
    if any(run.misread is not None for run in runs):
        extended["errors"] = errors_frame(runs, study)
    return extended


def flagged(board: pd.DataFrame) -> pd.DataFrame:
    """A leaderboard with a column that flags the Pareto-optimal designs.

    No other passing design has at least their validation accuracy with at most their parameters
    and MACs, and betters one of the three.
    """
    points = zip(-board["validation_accuracy"], board["parameters"], board["macs"], strict=True)
    return board.assign(pareto=statistics.pareto([tuple(map(float, point)) for point in points]))


def confirmations_frame(runs: Sequence[FinalRun], study: str) -> pd.DataFrame:
    """One row a final run, in order of trials and seeds; `misread` is empty without answers."""
    rows = [
        {
            **asdict(run), "misread": None if run.misread is None else len(run.misread),
            "study": study,
        }
        for run in runs
    ]  # fmt: skip
    frame = pd.DataFrame(rows).rename(columns={"index": "seed_index"})
    return whole_numbers(frame[list(RUN_COLUMNS)])


def errors_frame(runs: Sequence[FinalRun], study: str) -> pd.DataFrame:
    """One row an image that a final run misread; it read all others of its images rightly."""
    rows = [
        {
            "trial": run.trial, "fingerprint": run.fingerprint, "judge": run.judge,
            "seed_index": run.index, "part": "train" if number < TRAIN_IMAGES else "test",
            "image": number % TRAIN_IMAGES, "truth": truth, "answer": answer, "study": study,
        }
        for run in runs
        for number, truth, answer in run.misread or ()
    ]  # fmt: skip
    return whole_numbers(pd.DataFrame(rows, columns=list(ERROR_COLUMNS)))


def finalists_frame(
    trials: pd.DataFrame, board: pd.DataFrame, runs: Sequence[FinalRun], target: float
) -> pd.DataFrame:
    """One row a design and judge with final runs: what the search said of it, and the verdict.

    Runs belong together by their design, also where two trials found it; the row is that of the
    earlier one. Those judged on the test images first, then by folds; best mean first; ties go to
    fewer parameters, then to the earlier trial. `drop` is the validation accuracy less the mean,
    where a trial ran to its last epoch; `epochs` are those of the final runs; `answers` names
    those of `tables.answers` that the design is, by its judge.
    """
    verdicts = pd.DataFrame(_verdicts(runs, target), columns=["trial", "epochs", *VERDICT_COLUMNS])
    found = trials.drop(columns=["seed", "epochs"]).merge(
        verdicts.astype({"trial": "Int64"}), on="trial"
    )
    found = found.merge(board[["trial", "pareto"]], on="trial", how="left")
    found["baseline"] = found["fingerprint"] == BASELINE.fingerprint
    to_the_end = found["state"].isin(TO_THE_END)
    found["validation_accuracy"] = found["validation_accuracy"].where(to_the_end)
    found["drop"] = found["validation_accuracy"] - found["test_accuracy"]
    found["answers"] = _answers(found)
    ranked = found.sort_values(
        ["judge", "test_accuracy", "parameters", "trial"], ascending=[False, False, True, True]
    )
    return whole_numbers(ranked[list(FINALIST_COLUMNS)].round(_DIGITS))


def _answers(finalists: pd.DataFrame) -> list[str | None]:
    """For each row the answers that its design is, or None."""
    by_judge = {judge: confirmed_answers(finalists, judge) for judge in ("test", "folds")}
    cells = []
    for judge, trial in zip(finalists["judge"], finalists["trial"], strict=True):
        mine = [answer for answer, other in by_judge[judge].items() if other == trial]
        cells.append("; ".join(mine) or None)
    return cells


def _verdicts(runs: Sequence[FinalRun], target: float) -> list[dict[str, object]]:
    """The verdicts by design and judge, those of each judge corrected for their number."""
    found: list[dict[str, object]] = []
    for judge in ("test", "folds"):
        by_design: dict[str, list[FinalRun]] = {}
        for run in runs:
            if run.judge == judge:
                by_design.setdefault(run.finalist, []).append(run)
        verdicts = statistics.corrected([_verdict(mine, target) for mine in by_design.values()])
        found += [
            {
                "trial": min(run.trial for run in mine), "epochs": mine[0].epochs, "judge": judge,
                **asdict(verdict),
            }
            for mine, verdict in zip(by_design.values(), verdicts, strict=True)
        ]  # fmt: skip
    return found


def _verdict(runs: Sequence[FinalRun], target: float) -> statistics.Verdict:
    """The verdict on one design's runs by one judge; answers count only if all runs kept them."""
    done = [run for run in runs if run.test_accuracy is not None]
    images = min((run.judged_images for run in done), default=TEST_IMAGES)
    kept = [{number for number, _, _ in run.misread} for run in done if run.misread is not None]
    return statistics.verdict(
        [run.test_accuracy for run in runs], target, images, runs[0].judge,
        kept if len(kept) == len(done) else None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Luck:
    """How much of a study's best validation accuracy was luck, in shares.

    `designs` were trained to their last epoch; the best of them is expected to exceed its worth
    by `optimism`. `best_drop` is that one's validation accuracy less its test mean, `mean_drop`
    the mean drop of the `finalists` (the baseline is none); None where nothing is confirmed.
    """

    designs: int
    optimism: float | None
    best_drop: float | None
    finalists: int
    mean_drop: float | None


def luck(trials: pd.DataFrame, finalists: pd.DataFrame | None = None) -> Luck:
    """Compare the expected optimism of the best of a study with the drops that were measured."""
    whole = trials[trials["state"].isin(TO_THE_END)]
    accuracies = whole["validation_accuracy"].astype(float)
    best = whole[accuracies == accuracies.max()]["trial"]
    optimism = statistics.expected_optimism(accuracies.tolist(), VALIDATION_IMAGES)
    if finalists is None:
        return Luck(len(whole), optimism, None, 0, None)
    judged = finalists[finalists["drop"].notna() & (finalists["judge"] == "test")]
    best_drops = judged[judged["trial"].isin(best)]["drop"]
    drops = judged[~judged["baseline"]]["drop"]
    return Luck(
        len(whole),
        optimism,
        float(best_drops.mean()) if len(best_drops) else None,
        len(drops),
        float(drops.mean()) if len(drops) else None,
    )
