from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from mnist_arch.references import BASELINE
from search import tables
from search.describe import design_cells
from search.exports.cells import design_of
from search.space import _WIDTHS, ASSIGNMENT_PARAMS, Space

RESULTS = Path(__file__).parents[3] / "results"

PARAMS = st.fixed_dictionaries(
    {
        **{name: st.booleans() for name in ASSIGNMENT_PARAMS if name.startswith("dropout_")},
        **{f"width_{i}": st.integers(*bounds) for i, bounds in enumerate(_WIDTHS, 1)},
        "convs": st.integers(4, 6),
        "kernel_1": st.sampled_from((3, 5)),
        "padding_1": st.sampled_from(("same", "valid")),
        "padding_last": st.sampled_from(("same", "valid")),
        "pool_1_after": st.integers(1, 2),
        "pool_2_after": st.integers(3, 4),
        "dropout_kind": st.sampled_from(("channel", "element")),
        "dropout_rate": st.integers(1, 15).map(lambda percent: percent / 100),
        "head": st.sampled_from(("average", "convolution", "convolution then average")),
        "bias": st.booleans(),
    }
)


@given(PARAMS)
def test_every_design_of_the_space_is_read_back_from_its_row(params: dict[str, object]) -> None:
    strict = params["head"] == "convolution then average"
    design = Space(strict).suggest_design(FixedTrial(params))  # type: ignore[arg-type]
    assert design_of(design_cells(design)) == design


@pytest.mark.parametrize("study", ["first-light", "curves"])
def test_every_design_of_the_committed_studies_is_read_back(study: str) -> None:
    for row in tables.read_table(RESULTS / study / "trials.csv").to_dict("records"):
        design = design_of(row)
        assert design is not None
        assert design.fingerprint == row["fingerprint"]


@pytest.mark.parametrize(
    "changed",
    [
        {"fingerprint": "0" * 12}, {"widths": "10 10 M"}, {"widths": "ten"}, {"widths": "0"},
        {"dropout": "gone"}, {"dropout": "channel much after conv 1"}, {"head": "none"},
        {"dropout": "channel 1.5 after conv 1"},
    ],
)  # fmt: skip
def test_a_row_that_describes_no_such_design(changed: dict[str, str]) -> None:
    assert design_of(design_cells(BASELINE) | changed) is None
