"""Lanes: a CPU engine that trains networks of small convolutions several times faster.

    network = lanes.accelerate(build(design))   # the network -> an nn.Module
    loss = F.cross_entropy(network(images), labels)
    loss.backward()                           # fills .grad; optimiser and state_dict as ever

`available()` says whether it was built and runs here, `supports(network)` whether it knows every
layer.
"""

from mnist_arch.lanes.images import augment
from mnist_arch.lanes.library import available, instruction_set, peak_gflops, usable, why_not
from mnist_arch.lanes.lower import supports
from mnist_arch.lanes.masks import dropout_mask
from mnist_arch.lanes.network import Accelerated, accelerate
from mnist_arch.lanes.nodes import Unsupported

__all__ = [
    "Accelerated",
    "Unsupported",
    "accelerate",
    "augment",
    "available",
    "dropout_mask",
    "instruction_set",
    "peak_gflops",
    "supports",
    "usable",
    "why_not",
]
