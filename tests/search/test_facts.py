from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search import facts


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree of its own, committed, that `facts` believes to stand in."""
    for name in ("search/facts.py", "results/study/trials.csv"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("before", encoding="utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message=first")
    monkeypatch.setattr(facts, "__file__", str(tmp_path / "search/facts.py"))
    return tmp_path


def test_a_clean_tree_is_named_by_its_commit(tree: Path) -> None:
    assert git(tree, "rev-parse", "HEAD").startswith(facts.commit())


def test_changed_source_is_dirty_and_changed_results_are_not(tree: Path) -> None:
    (tree / "results/study/trials.csv").write_text("after", encoding="utf-8")
    assert not facts.commit().endswith("-dirty")
    (tree / "search/facts.py").write_text("after", encoding="utf-8")
    assert facts.commit().endswith("-dirty")


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "__file__", str(tmp_path / "search/facts.py"))
    assert facts.commit() == "unknown"


def test_a_foreign_repository_that_encloses_the_program_is_not_its_commit(tree: Path) -> None:
    (tree / ".gitignore").write_text(".venv\n")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message=second")
    installed = tree / ".venv" / "site-packages" / "search" / "facts.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "__file__", str(installed))
        assert facts.commit() == "unknown"
    untracked = tree / "search" / "copied.py"
    untracked.write_text("copied")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "__file__", str(untracked))
        assert facts.commit() == "unknown"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["search.run", "--study", "a b"], "python -m search.run --study 'a b'"),
        (["/home/me/search/run.py"], "python -m search.run"),  # it confirms at its end, too
        (["/home/me/ipykernel_launcher.py", "-f", "x.json"], "search.confirm, called from Python"),
        (["/home/me/bin/train"], "search.confirm, called from Python"),  # another program
        (["-c"], "search.confirm, called from Python"),
    ],
)
def test_a_command_is_told_as_it_was_typed(
    words: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", words)
    assert facts.command("confirm") == told


def test_the_facts_of_a_run_name_its_command_and_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["search.run", "--trials", "3"])
    found = facts.run_facts("run", {"trials": 3}, "torch", "cpu")
    assert found["command"] == "python -m search.run --trials 3"
    assert (found["arguments"], found["engine"], found["device"]) == ({"trials": 3}, "torch", "cpu")
    assert found["hardware"]["cores"] >= 1
    assert found["versions"]["python"].startswith("3.")


def test_versions_name_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "PACKAGES", ("torch", "no-such-package"))
    found = facts.versions()
    assert found["no-such-package"] == "not installed"
    assert found["torch"][0].isdigit()
