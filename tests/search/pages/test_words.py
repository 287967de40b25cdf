"""What a page says of a study's rules."""

from __future__ import annotations

import pytest

from search.config import StudyConfig
from search.pages.words import rules_in_words


@pytest.mark.parametrize(
    ("config", "epochs"),
    [
        (StudyConfig(), "the last of its 19 epochs"),
        (StudyConfig(epochs=3), "the last of its 3 epochs"),
        (StudyConfig(goal="fastest"), "the last of its 2 to 8 epochs"),
    ],
)
def test_how_long_a_full_training_is(config: StudyConfig, epochs: str) -> None:
    assert any(epochs in sentence for sentence in rules_in_words(config))
