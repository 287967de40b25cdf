"""A study that begins with what an earlier one found; trainings are made up, searches are whole."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

from mnist_arch.epochs import EpochRecord
from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rules
from search import RunConfig, StudyConfig, open_study, search, searching
from search.executors import EXECUTORS
from search.looks import Judged, Look, Predictor
from search.pages.page import html
from search.record import TO_THE_END
from search.schedules import SCHEDULES, Looks
from search.space import VERSION, Space
from search.storage import opened_storage, sqlite_url
from search.tables.files import StudyTables
from search.tables.trials import TIME_COLUMNS, rows_of
from search.task import Result, Task
from search.terminal.search import closing, opening
from search.terminal.study import show_study
from search.warm_start import MOST_DESIGNS, _best, learn, pairs_of
from tests.search.instant import Instant
from tests.search.studies import EASY, THREE, study_files

STARTS = len(Space().starts())
BEFORE = StudyConfig(epochs=2, rules=Rules(target=0.5), sampler="random")
AFTER = replace(BEFORE, seed=1, sampler="mutation", goal="accuracy", looks=(0.25,))


def learnt(task: Task) -> Result:
    """A training whose loss follows from the design, its length and, a little, its seed."""
    design, budget = task.design, task.budget
    length = budget.look or float(budget.epochs)
    luck = 1 + task.seed % 997 / 9_970
    loss = (0.3 + int(design.fingerprint[:4], 16) / 65_536) / (1 + length) * luck
    accuracy = round(1 - loss / 3, 4)
    epochs = [
        EpochRecord(number, 0.1, loss, accuracy, loss, accuracy, 1.0, 1.0, 1_000.0)
        for number in range(1, budget.epochs + 1)
    ]
    return Result("finished", tuple(epochs), engine="none", device="cpu", train_images=100)


def run(results: Path, study: str, trials: int, **choices: Any) -> RunConfig:
    return RunConfig(study, results, trials, executor="instant", finalists=0, quiet=True, **choices)


def made_up(patch: pytest.MonkeyPatch) -> None:
    """Let trainings be made up, every design go on after a look, and no page be made."""
    patch.setitem(EXECUTORS, "instant", lambda *_: Instant(learnt))
    patch.setitem(SCHEDULES, "looks", Looks(screened=1, kept=1))
    patch.setattr(searching, "report_after", lambda *_: None)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study `before`, without its database as in a clone, and `after`, which learns from it."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        made_up(patch)
        search(BEFORE, run(folder, "before", 7))
        (folder / "before" / "study.db").unlink()
        search(AFTER, run(folder, "after", 8, warm_start=folder / "before"))
    return folder


@pytest.fixture(autouse=True)
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(monkeypatch)


@pytest.fixture
def before(results: Path) -> StudyTables:
    return open_study(results / "before")


@pytest.fixture
def after(results: Path) -> StudyTables:
    return open_study(results / "after")


def whole(study: StudyTables) -> pd.DataFrame:
    """The designs that were trained to the end, but the assignment's own."""
    found = study.trials[study.trials["state"].isin(TO_THE_END)]
    return found[found["fingerprint"] != BASELINE.fingerprint]


def learnt_from(study: StudyTables) -> pd.DataFrame:
    """Those of them that not every study begins with."""
    return whole(study)[whole(study)["trial"] >= STARTS]


def test_the_best_designs_are_proposed_first_and_trained_anew(
    before: StudyTables, after: StudyTables
) -> None:
    taken = len(learnt_from(before))
    assert 2 <= taken <= 4
    own, queued = after.trials.iloc[:STARTS], after.trials.iloc[STARTS : taken + STARTS]
    assert own["fingerprint"].iloc[0] == BASELINE.fingerprint
    assert sorted(own["fingerprint"]) == sorted(before.trials["fingerprint"].iloc[:STARTS])
    assert own["from_trial"].isna().all()
    assert sorted(queued["from_trial"]) == sorted(learnt_from(before)["trial"])
    there = before.trials.set_index("trial").loc[queued["from_trial"].tolist()]
    assert queued["fingerprint"].tolist() == there["fingerprint"].tolist()
    assert (queued["look_0.25_loss"].to_numpy() != there["look_0.25_loss"].to_numpy()).all()
    assert after.trials["from_trial"].iloc[taken + STARTS :].isna().all()


def test_only_its_own_trials_are_the_studys(after: StudyTables) -> None:
    assert after.document["trained"] == 8
    assert after.trials["trial"].tolist() == list(range(len(after.trials)))


def test_every_table_and_every_screen_says_so(
    before: StudyTables, after: StudyTables, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"before {before.identity}"
    assert after.config == replace(AFTER, warm_start=name)
    for table, frame in after.tables.items():
        assert set(frame["warm_start"]) <= {name}, table
        assert list(frame.columns[-2:]) == ["warm_start", "study"], table
    assert not after.trials.empty
    assert "from_trial" in after.leaderboard
    told = f"Warm-started, not a search from scratch: the best designs of study {name} were prop"
    show_study(after, "accuracy", None)
    shown = " ".join(capsys.readouterr().out.split())
    assert told in shown
    assert told in closing(after, more_follows=False)
    engine: Any = type("Engine", (), {"reason": "made up"})
    assert told in opening(after.config, RunConfig(), engine, 0)
    assert told in html([after], [])
    assert after.document["from_trials"] == after.trials["from_trial"].dropna().tolist()
    assert after.document["from_pairs"] == len(whole(before))


def test_a_study_from_scratch_says_nothing_of_it(before: StudyTables) -> None:
    for frame in before.tables.values():
        assert not {"warm_start", "from_trial"} & set(frame.columns)
    assert "arm-started" not in closing(before, more_follows=False) + html([before], [])
    assert "from_trials" not in before.document


def test_the_predictor_knows_what_the_looks_of_before_said(
    before: StudyTables, after: StudyTables
) -> None:
    with opened_storage(sqlite_url(after.folder)) as storage:
        pairs = pairs_of(optuna.load_study(study_name="after", storage=storage))
    assert len(pairs) == len(whole(before))
    assert {look.epochs for pair in pairs for look in pair.looks} == {0.25, 1.0}
    first = rows_of(after.trials)[1]
    looked = Judged(
        first["parameters"], 2,
        (Look(0.25, first["look_0.25_loss"], first["look_0.25_accuracy"]),),
    )  # fmt: skip
    assert first["predicted_loss"] == round(Predictor(pairs).loss(looked), 6)
    assert not math.isclose(first["predicted_loss"], Predictor().loss(looked), rel_tol=0.01)


@pytest.mark.slow
def test_it_repeats_in_parts_too_whatever_becomes_of_the_earlier_study(
    before: StudyTables, after: StudyTables, tmp_path: Path
) -> None:
    copy = tmp_path / "copied" / "before"
    shutil.copytree(before.folder, copy)
    parts = run(tmp_path / "parts", "after", 2, warm_start=copy)
    search(AFTER, parts)
    trials = pd.read_csv(copy / "trials.csv")
    trials.loc[trials["state"] != "missed"].to_csv(copy / "trials.csv", index=False)  # it went on
    again = search(AFTER, replace(parts, trials=8)).study
    for name, frame in after.tables.items():
        times = [column for column in frame if column in (*TIME_COLUMNS, "train_seconds")]
        pd.testing.assert_frame_equal(
            frame.drop(columns=times), again.tables[name].drop(columns=times)
        )


@pytest.mark.slow
def test_a_warm_started_study_is_continued_as_it_was_started(
    results: Path, after: StudyTables, tmp_path: Path
) -> None:
    name = after.config.warm_start
    search(AFTER, run(tmp_path, "after", 1, warm_start=results / "before"))
    with pytest.raises(UserError, match=f"warm_start was '{name}', now None. Give the settings"):
        search(AFTER, run(tmp_path, "after", 2))
    search(replace(BEFORE, seed=2), run(tmp_path, "other", STARTS + 2))
    other = tmp_path / "other"
    with pytest.raises(UserError, match=f"warm_start was '{name}', now 'other "):
        search(AFTER, run(tmp_path, "after", 2, warm_start=other))
    assert search(after.config, run(tmp_path, "after", 2)).study.document["trained"] == 2
    with pytest.raises(
        UserError, match=r"study 'new' is to learn from before .* that study's fold"
    ):
        search(after.config, run(tmp_path, "new", 2))
    assert not (tmp_path / "new" / "study.db").exists()


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (replace(AFTER, rules=Rules(8_000, target=0.5)), "rules.parameter_limit was 20000, now 80"),
        (replace(AFTER, rules=Rules(target=0.6)), "rules.target was 0.5, now 0.6"),
        (replace(AFTER, train_images=1_000), "train_images was None, now 1000. Give the settings"),
        (replace(AFTER, protocol="assignment"), "protocol was 'holdout', now 'assignment'"),
        (replace(AFTER, epochs=3), "epochs was 2, now 3"),
        (replace(AFTER, search_recipe=True), "search_recipe was False, now True"),
        (
            replace(AFTER, goal="fastest"),
            "its goal is pareto, this one's is fastest: of the two only one proposes how long a",
        ),
        (
            replace(AFTER, seed=0),
            "it has the same --seed 0, by which its proposals would be made again",
        ),
    ],
)
def test_choices_that_clash_with_the_earlier_studys(
    results: Path, tmp_path: Path, config: StudyConfig, why: str
) -> None:
    folder = results / "before"
    with pytest.raises(UserError) as refusal:
        search(config, run(tmp_path, "after", 6, warm_start=folder))
    assert str(refusal.value).startswith(f"--warm-start {folder}: ")
    assert why in str(refusal.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("space_version", 1, f"in another space, .* space_version was 1, now {VERSION}. Give"),
        ("data_md5", "another", "data_md5 was 'another', now '6bbc9ace"),
        ("goal", "of my own", "its goal is of my own, this one's is accuracy"),
    ],
)
def test_an_earlier_study_of_another_world(
    before: StudyTables, tmp_path: Path, name: str, value: object, why: str
) -> None:
    shutil.copytree(before.folder, tmp_path / "before")
    path = tmp_path / "before" / "study.json"
    document = json.loads(path.read_text())
    document["settings"][name] = value
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=why):
        learn(tmp_path / "before", AFTER, tmp_path / "after")


def test_folders_that_give_nothing(before: StudyTables, tmp_path: Path) -> None:
    own = tmp_path / "after"
    with pytest.raises(UserError, match=r"^--warm-start .*/none: .* holds no study: study.json is"):
        learn(tmp_path / "none", AFTER, own)
    with pytest.raises(UserError, match="a study cannot learn from itself; give another study's"):
        learn(before.folder, AFTER, before.folder.parent / "else" / ".." / "before")
    written = study_files(tmp_path)
    written.load([THREE[0], replace(THREE[1], state="pruned")])  # the baseline alone to its end
    written.rewrite()
    with pytest.raises(UserError, match="none of its designs but those that every study begins"):
        learn(tmp_path, replace(EASY, seed=1), own)
    written.load([THREE[2]])  # of an earlier version, which did not say what was proposed
    written.rewrite()
    with pytest.raises(
        UserError, match=r"its trials.csv does not say what was proposed.* study.db"
    ):
        learn(tmp_path, replace(EASY, seed=1), own)


@pytest.mark.parametrize("proposal", ["{", "[1]", '{"blocks": 3}', "null"])
def test_a_proposal_that_gives_not_its_design_is_left_out(
    before: StudyTables, tmp_path: Path, proposal: str
) -> None:
    shutil.copytree(before.folder, tmp_path / "before")
    trials = pd.read_csv(tmp_path / "before" / "trials.csv")
    spoilt, *others = learnt_from(before)["trial"]
    trials.loc[trials["trial"] == spoilt, "proposal"] = proposal
    trials.loc[trials["trial"] == others[0], "proposal"] = trials["proposal"][others[1]]
    trials.to_csv(tmp_path / "before" / "trials.csv", index=False)
    found = learn(tmp_path / "before", AFTER, tmp_path / "after")
    assert sorted(found.proposals) == sorted(others[1:])


def test_the_best_are_those_that_fewest_others_beat() -> None:
    figures = [(0.03, 9_000), (0.02, 5_000), (0.04, 2_000), (0.02, 6_000), (0.05, 9_500)]
    rows = [
        {"trial": trial, "validation_loss": loss, "parameters": parameters}
        for trial, (loss, parameters) in enumerate(figures)
    ]
    assert [row["trial"] for row in _best(rows)] == [1, 2, 3, 0, 4]
    assert len(_best(rows * 10)) == MOST_DESIGNS
