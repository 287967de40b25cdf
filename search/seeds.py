"""Seeds: everything random in trial k follows from the study's seed and k."""

from __future__ import annotations

import numpy as np

_STREAMS = {"sampling": 0, "training": 1}


def trial_seed(study_seed: int, number: int, stream: str) -> int:
    """A 32-bit seed for one stream (`sampling` or `training`) of trial `number`.

    Mixed by numpy's SeedSequence, so that neighbouring trials share nothing.
    """
    words = np.random.SeedSequence((study_seed, number, _STREAMS[stream])).generate_state(1)
    return int(words[0])
