"""Reference designs: networks with a name, above all the assignment's published answer."""

from __future__ import annotations

from mnist_arch.design import Conv, Design, Dropout, MaxPool


def _assignment() -> Design:
    """The assignment's published answer (velasoka-repo/EVA4, Session-4): 18,430 parameters."""

    def conv(channels: int, padding: int = 1) -> Conv:
        return Conv(channels, padding=padding, bias=True)

    dropout = Dropout(0.1, "channel")
    logits = Conv(10, padding=0, batch_norm=False, relu=False, bias=True)
    first = (conv(10), dropout, conv(10), dropout, MaxPool())
    second = (conv(20), dropout, conv(20), dropout, MaxPool(), dropout)
    return Design((*first, *second, conv(20, padding=0), conv(30, padding=0), logits))


REFERENCE_DESIGNS: dict[str, Design] = {"assignment": _assignment()}
"""Named designs: `assignment`, the seed and baseline of every search."""

BASELINE = REFERENCE_DESIGNS["assignment"]
