from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.samplers import main, summary


def made(best: dict[tuple[str, int], list[float]]) -> pd.DataFrame:
    rows = [
        {"sampler": sampler, "seed": seed, "trial": number, "validation_loss": loss}
        for (sampler, seed), losses in best.items()
        for number, loss in enumerate(losses)
    ]
    return pd.DataFrame(rows)


def test_a_summary_worked_by_hand() -> None:
    trials = made({
        ("random", 0): [0.5, 0.4, 0.6], ("random", 1): [0.3, 0.5, 0.2],
        ("tpe", 0): [0.5, 0.2, 0.3], ("tpe", 1): [0.3, 0.1, 0.1],
    })  # fmt: skip
    trainings = pd.DataFrame(
        {
            "design": ["random-0", "random-1", "tpe-0", "tpe-1"],
            "validation_loss": [0.05, 0.07, 0.04, 0.04],
        }
    )
    first, second = summary(trials, trainings).to_dict("records")
    assert (first["sampler"], first["races"]) == ("tpe", 2)
    assert [first[f"after {n}"] for n in (1, 2, 3)] == pytest.approx([0.4, 0.15, 0.15])
    assert [second[f"after {n}"] for n in (1, 2, 3)] == pytest.approx([0.4, 0.35, 0.3])
    assert (first["final"], first["difference"]) == pytest.approx((0.04, -0.02))
    # differences -0.01 and -0.03: standard error 0.01, Student's t of one degree 12.706
    assert first["low"] == pytest.approx(-0.02 - 0.12706, abs=1e-5)
    assert first["high"] == pytest.approx(-0.02 + 0.12706, abs=1e-5)
    assert pd.isna(second["difference"])


def test_nothing_to_show_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--show"]) == 2
    assert "holds no finished races; leave --show out" in capsys.readouterr().err


@pytest.mark.slow
def test_races_are_kept_as_they_end_and_never_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.samplers.FINAL_EPOCHS", 0.01)
    few = ["--seeds", "1", "--trials", "2", "--samplers", "random", "tpe", "--workers", "1"]
    assert main([str(tmp_path), *few]) == 0
    kept = (tmp_path / "trials.csv").read_bytes()
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert trials.groupby("sampler").size().to_dict() == {"random": 2, "tpe": 2}
    assert (trials["parameters"] < 5_000).all()
    assert not list((tmp_path / "races").iterdir())
    assert main([str(tmp_path), *few]) == 0
    assert (tmp_path / "trials.csv").read_bytes() == kept
    assert "random" in capsys.readouterr().out
