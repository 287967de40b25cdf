"""Confirmations: final runs -> pandas frames, beside those of the trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import pandas as pd

from mnist_arch.data import VALIDATION_IMAGES
from mnist_arch.references import BASELINE
from search import statistics
from search.final_run import TEST_IMAGES, FinalRun
from search.record import TO_THE_END
from search.tables.trials import whole_numbers

RUN_COLUMNS = (
    "trial", "fingerprint", "seed_index", "seed", "state", "epochs", "train_images", "train_loss",
    "train_accuracy", "test_loss", "test_accuracy", "seconds", "engine", "device", "worker",
    "commit", "weights", "reason", "study",
)  # fmt: skip

VERDICT_COLUMNS = tuple(field.name for field in fields(statistics.Verdict))

FINALIST_COLUMNS = (
    "trial", "baseline", "state", "fingerprint", "parameters", "macs", "widths", "dropout", "head",
    "validation_accuracy", "pareto", *VERDICT_COLUMNS, "drop", "study",
)  # fmt: skip

_DIGITS = dict.fromkeys(
    (
        "test_accuracy", "test_deviation", "pass_share", "lower_bound", "lower_bound_seeds", "drop",
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
    verdicts = finalists[["trial", *VERDICT_COLUMNS]]
    judged = board.merge(verdicts, on="trial", how="left")
    judged["study"] = judged.pop("study")  # the last column of every table
    extended = {**frames, "leaderboard": judged}
    if runs:
        extended |= {"confirmations": confirmations_frame(runs, study), "finalists": finalists}
    return extended


def flagged(board: pd.DataFrame) -> pd.DataFrame:
    """A leaderboard with a column that flags the Pareto-optimal designs.

    No other passing design has at least their validation accuracy with at most their parameters
    and MACs, and betters one of the three.
    """
    points = zip(-board["validation_accuracy"], board["parameters"], board["macs"], strict=True)
    return board.assign(pareto=statistics.pareto([tuple(map(float, point)) for point in points]))


def confirmations_frame(runs: Sequence[FinalRun], study: str) -> pd.DataFrame:
    """One row a final run, in order of trials and seeds."""
    rows = [{**asdict(run), "study": study} for run in runs]
    frame = pd.DataFrame(rows).rename(columns={"index": "seed_index"})
    return whole_numbers(frame[list(RUN_COLUMNS)])


def finalists_frame(
    trials: pd.DataFrame, board: pd.DataFrame, runs: Sequence[FinalRun], target: float
) -> pd.DataFrame:
    """One row a design with final runs: what the search said of it, and the verdict on it.

    Runs belong together by their design, also where two trials found it; the row is that of the
    earlier one. Best mean first; ties go to fewer parameters, then to the earlier trial. `drop`
    is the validation accuracy less the test mean, where a trial ran to its last epoch.
    """
    by_design: dict[str, list[FinalRun]] = {}
    for run in runs:
        by_design.setdefault(run.finalist, []).append(run)
    rows = [
        {
            "trial": min(run.trial for run in mine),
            **asdict(statistics.verdict([r.test_accuracy for r in mine], target, TEST_IMAGES)),
        }
        for mine in by_design.values()
    ]
    verdicts = pd.DataFrame(rows, columns=["trial", *VERDICT_COLUMNS])
    found = trials.drop(columns="seed").merge(verdicts.astype({"trial": "Int64"}), on="trial")
    found = found.merge(board[["trial", "pareto"]], on="trial", how="left")
    found["baseline"] = found["fingerprint"] == BASELINE.fingerprint
    to_the_end = found["state"].isin(TO_THE_END)
    found["validation_accuracy"] = found["validation_accuracy"].where(to_the_end)
    found["drop"] = found["validation_accuracy"] - found["test_accuracy"]
    ranked = found.sort_values(
        ["test_accuracy", "parameters", "trial"], ascending=[False, True, True]
    )
    return whole_numbers(ranked[list(FINALIST_COLUMNS)].round(_DIGITS))


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
    judged = finalists[finalists["drop"].notna()]
    best_drops = judged[judged["trial"].isin(best)]["drop"]
    drops = judged[~judged["baseline"]]["drop"]
    return Luck(
        len(whole),
        optimism,
        float(best_drops.mean()) if len(best_drops) else None,
        len(drops),
        float(drops.mean()) if len(drops) else None,
    )
