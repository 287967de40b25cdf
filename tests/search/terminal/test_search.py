from __future__ import annotations

import pytest

from mnist_arch.engine import Engine
from search.config import StudyConfig
from search.run_config import RunConfig
from search.terminal.search import opening

ENGINE = Engine("lanes", "cpu", "engine lanes on cpu")


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (StudyConfig(), "validation accuracy >= 99.40 % after epoch 19 and fewer than 20,000"),
        (StudyConfig(epochs=1), "after epoch 1 and fewer than 20,000 parameters."),
        (StudyConfig(goal="fastest"), "after its last epoch (of 2 to 8) and fewer than 20,000"),
        (StudyConfig(goal="fastest", epochs=2), "after epoch 2 and fewer than 20,000"),
        (StudyConfig(), "short complete trainings (0.25, 1, 3 epochs)"),
        (StudyConfig(goal="fastest"), "short complete trainings (0.25, 1, 3 epochs)"),
    ],
)
def test_the_first_lines_say_when_a_design_passes(config: StudyConfig, told: str) -> None:
    assert told in opening(config, RunConfig(), ENGINE, 0)


def test_without_looks_nothing_is_said_of_them() -> None:
    assert "looked at" not in opening(StudyConfig(schedule="none"), RunConfig(), ENGINE, 0)
