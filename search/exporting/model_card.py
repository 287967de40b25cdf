"""Model card: where an exported network comes from and how good it is, in words."""

from __future__ import annotations

import math
import statistics
import textwrap
from dataclasses import dataclass, field

from mnist_arch.datasets import DATASETS, TRAIN_IMAGES, DataSet
from mnist_arch.plan import plan
from mnist_arch.recipe import Recipe
from search import facts
from search.exporting.candidates import Candidate
from search.exporting.network_source import TEMPLATES
from search.exporting.predictions import MOST_DRAWN, Predictions
from search.formats import percent, points
from search.tables.describe import design_cells


@dataclass(frozen=True, slots=True)
class Provenance:
    """What was exported, how it was trained, and what it came to.

    `images` were fitted for `epochs` with one `seed`. `others` are the test accuracies, shares
    in [0, 1], of all runs of the design's confirmation, these weights' own among them; none
    where the design was not confirmed.
    """

    candidate: Candidate
    epochs: int
    images: int
    seed: int
    test_accuracy: float
    test_images: int
    others: tuple[float, ...] = ()
    versions: dict[str, str] = field(default_factory=facts.versions)
    commit: str = field(default_factory=facts.commit)

    @property
    def data(self) -> DataSet:
        """What the network reads."""
        return DATASETS[self.candidate.dataset]

    @property
    def try_out(self) -> str:
        """What marks weights that were trained shorter or on less than a result is; or nothing."""
        limit = self.candidate.rules.epoch_limit
        full = self.candidate.epochs if limit is None else limit - 1
        if (self.epochs, self.images) == (full, TRAIN_IMAGES):
            return ""
        return "A try-out, not a result: trained shorter or on fewer images."

    @property
    def accuracy(self) -> str:
        """The weights' own accuracy in one sentence."""
        errors = round((1 - self.test_accuracy) * self.test_images)
        return (
            f"{percent(self.test_accuracy)} of {self.data.title}'s {self.test_images:,} test "
            f"images ({errors:,} misread), judged once after the last epoch"
        )

    @property
    def selection(self) -> str:
        """How these weights were chosen among the design's runs, in one sentence."""
        if not self.others:
            return f"one training with seed {self.seed}, not chosen among several"
        if len(self.others) == 1:
            return f"the design's one confirmation run, with seed {self.seed}"
        return f"the first of {len(self.others)} confirmation runs, not the best; seed {self.seed}"

    @property
    def spread(self) -> str:
        """What the design's confirmation came to, in one sentence."""
        if len(self.others) < 2:
            return "Other seeds may come out higher or lower."
        return (
            f"All {len(self.others)} runs of the confirmation: mean "
            f"{percent(statistics.fmean(self.others))}, standard deviation "
            f"{statistics.stdev(self.others) * 100:.3f} points, lowest {percent(min(self.others))}."
        )

    @property
    def training(self) -> str:
        """The recipe in one sentence."""
        recipe = self.candidate.recipe
        return (
            f"{self.epochs} epochs on {self.images:,} training images in batches of "
            f"{recipe.batch_size}; {_optimiser(recipe)}; {_augmentation(recipe)}"
        )

    @property
    def software(self) -> str:
        """The versions and the commit that made it."""
        names = ("torch", "numpy", "python")
        versions = ", ".join(f"{name} {self.versions[name]}" for name in names)
        return f"mnist-arch at commit {self.commit}, {versions}"


def _optimiser(recipe: Recipe) -> str:
    momentum = f"{'Nesterov ' * recipe.nesterov}momentum {recipe.momentum:g}"
    rate = f"learning rate {recipe.learning_rate:.4g}"
    if recipe.schedule == "one-cycle":
        rate = f"one-cycle learning rate with its peak at {recipe.learning_rate:.4g}"
    return f"SGD with {momentum}, weight decay {recipe.weight_decay:.4g}, {rate}"


def _augmentation(recipe: Recipe) -> str:
    affine = recipe.augmentation
    if affine.is_identity:
        return "no augmentation"
    return (
        f"each image rotated by up to {affine.degrees:.3g} degrees, shifted by up to "
        f"{affine.shift * 100:.3g} % and scaled by up to {affine.scale * 100:.3g} %"
    )


def docstring(provenance: Provenance) -> str:
    """What stands at the head of `network.py`, without quotes."""
    design, data = provenance.candidate.design, provenance.data
    facts = [
        f"Design: {design.fingerprint}; {provenance.candidate.chosen}.",
        f"Training: {provenance.training}.",
        f"Weights: {provenance.selection}.",
        f"Test accuracy: {provenance.accuracy}.",
        *([provenance.try_out] if provenance.try_out else []),
        f"Exported by: {provenance.software}.",
    ]
    listed = "\n".join(textwrap.fill(f"- {fact}", 98, subsequent_indent="  ") for fact in facts)
    counted = f"{plan(design).parameters:,} parameters"
    return f"""\
A convolutional network that reads {data.reads}: {counted}.

{listed}

It needs torch, numpy and safetensors. Run `python network.py` beside weights.safetensors to judge
it on {data.title}'s test images."""


def model_card(provenance: Provenance, found: Predictions, onnx: str) -> str:
    """The page in Markdown; `onnx` is the sentence about `network.onnx`."""
    names, target = provenance.data.classes, provenance.candidate.rules.target
    worst = [
        f"{names[truth]} read as {names[other]} ({count:,})"
        for truth, other, count in found.worst_confusions()
    ]
    errors = len(found.errors)
    shown = f"the {MOST_DRAWN} surest of" if errors > MOST_DRAWN else "all"
    return TEMPLATES.get_template("README.md.jinja").render(
        facts=provenance,
        data=provenance.data,
        near=f"{target * 100:.4g} %",
        uncertain=points(math.sqrt(target * (1 - target) / 10_000)),
        plan=plan(provenance.candidate.design),
        cells=design_cells(provenance.candidate.design),
        test_accuracy=percent(provenance.test_accuracy),
        mistakes=", ".join(worst) or "none",
        shown=f"{shown} {errors:,}",
        onnx=onnx,
    )
