"""Seeds: everything random in trial k, or final run k, follows from the study's seed and k."""

from __future__ import annotations

import numpy as np

_STREAMS = {"sampling": 0, "training": 1, "confirmation": 2, "look": 3}


def trial_seed(study_seed: int, number: int, stream: str, index: int = 0) -> int:
    """A 32-bit seed for one stream (a key of `_STREAMS`) of trial `number`.

    `index` counts further seeds of the same stream, from 0. Mixed by numpy's SeedSequence, so that
    neighbouring trials share nothing.
    """
    further = (index,) if index else ()
    sequence = np.random.SeedSequence((study_seed, number, _STREAMS[stream], *further))
    return int(sequence.generate_state(1)[0])


def confirmation_seed(study_seed: int, index: int) -> int:
    """A 32-bit seed for final run `index`, from 0, of every design: runs are paired over designs.

    From a stream of its own, so that it is fresh to every trial.
    """
    return trial_seed(study_seed, index, "confirmation")
