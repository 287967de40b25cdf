"""Card: the one page that goes with an exported network, and its module's docstring."""

from __future__ import annotations

import textwrap

from mnist_arch.plan import plan
from search.describe import describe_dropout, describe_head, describe_widths
from search.exports.provenance import Provenance
from search.exports.readings import Readings, worst_confusions
from search.formats import percent


def docstring(provenance: Provenance) -> str:
    """What stands at the head of `network.py`, without quotes."""
    design = provenance.candidate.design
    facts = [
        f"Design: {design.fingerprint}; {provenance.candidate.chosen}.",
        f"Training: {provenance.training}.",
        f"Weights: {provenance.selection}.",
        f"Test accuracy: {provenance.accuracy}.",
        *([provenance.try_out] if provenance.try_out else []),
        f"Exported by: {provenance.software}.",
    ]
    paragraphs = [
        f"A convolutional network that reads handwritten digits: "
        f"{plan(design).parameters:,} parameters.",
        "\n".join(textwrap.fill(f"- {fact}", 98, subsequent_indent="  ") for fact in facts),
        textwrap.fill(
            "It needs torch, numpy and safetensors. Run `python network.py` beside "
            "weights.safetensors to judge it on MNIST's test images.",
            98,
        ),
    ]
    return "\n\n".join(paragraphs)


def card(provenance: Provenance, readings: Readings, onnx: str) -> str:
    """The page in Markdown; `onnx` is the sentence about `network.onnx`."""
    design = provenance.candidate.design
    walked = plan(design)
    return f"""\
# A network that reads handwritten digits
{_paragraph(provenance.try_out)}
| | |
|---|---|
| parameters | {walked.parameters:,} |
| multiply-accumulates an image | {walked.macs:,} |
| receptive field of a logit | {walked.receptive_field}x{walked.receptive_field} pixels |
| test accuracy | {percent(provenance.test_accuracy)} |
| convolutions | {describe_widths(design)} (`v` no padding, `k5` 5x5, `M` max-pool 2x2) |
| head | {describe_head(design)} |
| dropout | {describe_dropout(design)} |
| fingerprint of the design | {design.fingerprint} |

## How good it is
It reads {provenance.accuracy}.
These weights are {provenance.selection}. {provenance.spread}
The design is {provenance.candidate.chosen}.
Near 99.4 % on 10,000 images, the standard error of one accuracy is 0.08 points.

Its most frequent mistakes: {_mistakes(readings)}.
`errors.png` shows all {len(readings.errors):,} misread digits; `confusion.csv` counts them (truth
in rows).

## How it was trained
{provenance.training}. Exported by {provenance.software}.

## How to use it
    python network.py                               # judges it on the test images
    python -m search.predict THIS_FOLDER digit.png  # names the digit in an image file

`network.py` needs torch, numpy and safetensors; `from network import load, normalise` gives the
trained `nn.Module`. Input: float32 [N, 1, 28, 28], white ink on black, a pixel p in [0, 1] as
(p - 0.1307) / 0.3081. Output: ten logits. {onnx}

## Limits
One digit at a time, from 0 to 9, written as MNIST's are (American census workers and students,
about 1990), with its centre of mass in the middle of 28x28. It names a digit for any image, a
letter or a blank too; its probabilities are softmax values that nobody calibrated. It was judged
on MNIST's test images only; expect less from other pens, cameras and hands.

## Licence
The code of `network.py` is MIT, as mnist-arch. `mnist/` holds MNIST's test images (Yann LeCun,
Corinna Cortes, Christopher J. C. Burges; CC BY-SA 3.0, see `mnist/NOTICE.md`); the weights were
trained on its training images.
"""


def _paragraph(text: str) -> str:
    return f"\n{text}\n" if text else ""


def _mistakes(readings: Readings) -> str:
    worst = worst_confusions(readings)
    return ", ".join(f"{truth} read as {guess} ({n:,})" for truth, guess, n in worst) or "none"
