"""Lanes: a CPU engine that trains networks of small convolutions several times faster.

    network = lanes.accelerate(build(plan))   # an nn.Sequential -> an nn.Module
    loss = F.cross_entropy(network(images), labels)
    loss.backward()                           # fills .grad; optimiser and state_dict as ever

`available()` says whether it was built and runs here, `supports(network)` whether it knows every
layer.
"""

from mnist_arch.lanes.dropout import dropout_mask
from mnist_arch.lanes.images import augment
from mnist_arch.lanes.layers import Unsupported, supports
from mnist_arch.lanes.library import available, ceiling, instruction_set, usable, why_not
from mnist_arch.lanes.network import Accelerated, accelerate

__all__ = [
    "Accelerated",
    "Unsupported",
    "accelerate",
    "augment",
    "available",
    "ceiling",
    "dropout_mask",
    "instruction_set",
    "supports",
    "usable",
    "why_not",
]
