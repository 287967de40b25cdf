"""Reference designs: networks with a name, above all the assignment's published answer."""

from __future__ import annotations

from mnist_arch.design import (
    AveragePool,
    Conv,
    DepthwiseConv,
    Design,
    Dropout,
    Layer,
    MaxPool,
)


def _assignment() -> Design:
    """The assignment's published answer (velasoka-repo/EVA4, Session-4): 18,430 parameters."""

    def conv(channels: int, padding: int = 1) -> Conv:
        return Conv(channels, padding=padding, bias=True)

    dropout = Dropout(0.1, "channel")
    logits = Conv(10, padding=0, batch_norm=False, relu=False, bias=True)
    first = (conv(10), dropout, conv(10), dropout, MaxPool())
    second = (conv(20), dropout, conv(20), dropout, MaxPool(), dropout)
    return Design((*first, *second, conv(20, padding=0), conv(30, padding=0), logits))


def _published_4392() -> Design:
    """Depthwise-separable, 4,392 parameters, 99.46 % published (woncoh1/era1a7, S7_06).

    Its `models.py` (Model3) gives every layer: no padding, no biases, ReLU before each batch
    norm, the 1x1 convolutions behind the pool and before the average bare. Its dropout is 0
    there, as here; the rate of the published run is not known.
    """

    def bare(channels: int) -> Conv:
        return Conv(channels, 1, 0, batch_norm=False, relu=False)

    def separable(channels: int) -> tuple[Layer, ...]:
        depthwise = DepthwiseConv(padding=0, activation_first=True)
        return (depthwise, Conv(channels, 1, 0, activation_first=True))

    first = (Conv(16, padding=0, activation_first=True), *separable(16), *separable(32))
    middle = (MaxPool(), bare(16), *separable(16), *separable(24), *separable(32))
    return Design((*first, *middle, bare(10), AveragePool()))


def _published_7758() -> Design:
    """Plain convolutions, 7,758 parameters, 99.63 % published (sridevibonthu/EVA, EVA4_S5_05).

    The notebook gives every layer: no biases, a batch norm behind every convolution but the last,
    element dropout of 0.04 behind all of these but the fourth. Its dropout stands before the ReLU,
    which computes the same as behind it.
    """
    dropout = Dropout(0.04, "element")
    valid = Conv(10, padding=0)
    wide = Conv(16, padding=0)
    first = (Conv(10), dropout, Conv(10), dropout, MaxPool(), valid, dropout, valid)
    second = (valid, dropout, wide, dropout, wide, dropout, AveragePool())
    return Design((*first, *second, Conv(10, 1, 0, batch_norm=False, relu=False)))


REFERENCE_DESIGNS: dict[str, Design] = {
    "assignment": _assignment(),
    "published-4392": _published_4392(),
    "published-7758": _published_7758(),
}
"""Named designs: `assignment`, the seed and baseline of every search, and published records."""

BASELINE = REFERENCE_DESIGNS["assignment"]
