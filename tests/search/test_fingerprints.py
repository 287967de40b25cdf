"""Fingerprints on disk: whoever changes a layer must not rename a design that was published."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mnist_arch.build import build
from mnist_arch.design import Design
from mnist_arch.plan import plan

RESULTS = Path(__file__).parents[2] / "results"
STUDIES = sorted(path.parent.name for path in RESULTS.glob("*/trials.csv"))
COMMITTED = {"curves", "first-light", "front", "under-8000"}


def test_the_committed_studies_are_there() -> None:
    assert set(STUDIES) >= COMMITTED


@pytest.mark.parametrize("study", sorted(COMMITTED))
def test_every_trial_of_a_committed_study_keeps_its_fingerprint_and_counts(study: str) -> None:
    rows = pd.read_csv(RESULTS / study / "trials.csv").to_dict("records")
    assert rows
    for row in rows:
        design = Design.from_json(row["design"])
        assert design.fingerprint == row["fingerprint"]
        if pd.notna(row["parameters"]):
            walked = plan(design)
            counted = (walked.parameters, walked.macs, walked.receptive_field)
            assert counted == (row["parameters"], row["macs"], row["receptive_field"])


def test_the_exported_design_keeps_its_fingerprint_and_its_weights() -> None:
    from safetensors import safe_open

    folder = RESULTS / "first-light" / "best"
    text = (folder / "design.json").read_text(encoding="utf-8")
    design = Design.from_json(text)
    assert design.to_json() == text
    with safe_open(folder / "weights.safetensors", "pt") as file:
        assert file.metadata()["fingerprint"] == design.fingerprint == "1425e17c11e7"
        state = {name: file.get_tensor(name) for name in file.offset_keys()}
    network = build(design)
    assert network.state_dict().keys() == state.keys()
    network.load_state_dict(state)
