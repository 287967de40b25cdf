from __future__ import annotations

import subprocess
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


def test_versions_name_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "PACKAGES", ("torch", "no-such-package"))
    found = facts.versions()
    assert found["no-such-package"] == "not installed"
    assert found["torch"][0].isdigit()
