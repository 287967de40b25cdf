"""Preloaded: importing this loads all that a training needs, before workers are forked.

It must ask nothing of a GPU: CUDA cannot be used in a process forked from one that did.
"""

from __future__ import annotations

import torch

import search.evaluate  # noqa: F401

torch.optim.SGD([torch.zeros(1)], lr=0.1)  # torch loads its compiler, for seconds, with the first
