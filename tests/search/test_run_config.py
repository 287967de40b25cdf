from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from search import ConfirmConfig, Machine, RunConfig


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"study": "../up"}, r"--study: '../up' given, must be a plain folder name"),
        ({"study": ".."}, "must be a plain folder name of at most 100 characters"),
        ({"study": "a\nb"}, "must be a plain folder name"),
        ({"study": "x" * 101}, "must be a plain folder name"),
        ({"trials": 0}, "--trials 0: must be from 1 to 100,000"),
        ({"finalists": -1}, "--finalists -1: must be from 0 to 1,000"),
        ({"seeds": 0}, "--seeds 0: must be from 1 to 1,000"),
        ({"workers": 0}, "--workers 0: must be from 1 to 1,000"),
    ],
)
def test_runs_that_cannot_be(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RunConfig(**choices)


@pytest.mark.parametrize("name", ["a?b", "a[b]", "[red]", "with space", "Größe", "a%20b"])
def test_a_plain_name_may_hold_any_printable_character(name: str) -> None:
    assert RunConfig(name).folder == Path("results") / name


def test_a_run_is_plain_json() -> None:
    run = RunConfig(
        results=Path("there"), machine=Machine(data=Path("mnist")), warm_start=Path("before"),
        designs={"net.json": BASELINE},
    )  # fmt: skip
    document = json.loads(json.dumps(run.to_dict()))
    assert (document["results"], document["machine"]["data"]) == ("there", "mnist")
    assert document["warm_start"] == "before"
    assert document["designs"] == {"net.json": BASELINE.fingerprint}
    assert RunConfig().to_dict()["warm_start"] is None


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"top": 0}, "--top 0: must be from 1 to 1,000"),
        ({"seeds": 1_001}, "--seeds 1,001: must be from 1 to 1,000"),
        ({"workers": 0}, "--workers 0: must be from 1 to 1,000"),
    ],
)
def test_confirmations_that_cannot_be(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ConfirmConfig(Path("x"), **choices)


def test_a_confirmation_is_plain_json() -> None:
    document = ConfirmConfig(Path("results/x"), trials=(3, 1)).to_dict()
    assert json.loads(json.dumps(document))["trials"] == [3, 1]
    assert document["folder"] == "results/x"
