"""Racing: which final runs are to be done, in view of those that are done.

For each answer its candidates are tried in their order until one is confirmed; one that cannot
plausibly reach the target any more is dropped, and the next is tried. To try several is to choose,
which is why `proven` is corrected for all that were tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mnist_arch.recipe import Judge
from search.final_run import Finalist, FinalRun, Order
from search.statistics import is_hopeless, reaches

MOST_TRIES = 4
"""Candidates that are tried for one answer, at most."""

Standing = Literal["confirmed", "open", "out"]


@dataclass(frozen=True, slots=True)
class Race:
    """What is to be confirmed: candidates by answer, the best first, and designs to run anyway.

    `beside` is the baseline, where it is none of these. Each run that is wanted has one of `seeds`
    seeds; a design is confirmed at `target`.
    """

    answers: Mapping[str, Sequence[Finalist]]
    others: Sequence[Finalist]
    beside: Sequence[Finalist]
    seeds: int
    target: float
    judge: Judge = "test"

    def current(self, runs: Iterable[FinalRun]) -> list[Finalist]:
        """The designs to run, each once: of each answer the first that is not out, and the rest.

        An answer all of whose candidates are out has none.
        """
        mine = self._by_design(runs)
        found: dict[str, Finalist] = {}
        for candidates in self.answers.values():
            left = (c for c in candidates if self._standing(mine.get(c.key, {})) != "out")
            for candidate in [*left][:1]:
                found.setdefault(candidate.key, candidate)
        for other in (*self.others, *self.beside):
            found.setdefault(other.key, other)
        return list(found.values())

    def wanted(self, runs: Iterable[FinalRun]) -> list[Order]:
        """The final runs that are lacking, seed by seed over the current designs.

        So an interruption leaves runs of all of them under the same seeds.
        """
        runs = list(runs)
        mine, current = self._by_design(runs), self.current(runs)
        return [
            Order(finalist, index, self.judge)
            for index in range(self.seeds)
            for finalist in current
            if index not in mine.get(finalist.key, {})
        ]

    def tried(self, runs: Iterable[FinalRun]) -> list[Finalist]:
        """The chosen designs that have a run or are to have one, in order of the answers."""
        runs = list(runs)
        mine = self._by_design(runs)
        now = {finalist.key for finalist in self.current(runs)}
        everyone = [*(c for each in self.answers.values() for c in each), *self.others]
        met = {f.key: f for f in reversed(everyone) if f.key in now or f.key in mine}
        return list(met.values())[::-1]

    def _by_design(self, runs: Iterable[FinalRun]) -> dict[str, dict[int, FinalRun]]:
        """This race's runs by design and seed index; others of the study are left out."""
        found: dict[str, dict[int, FinalRun]] = {}
        for run in runs:
            if run.judge == self.judge and run.index < self.seeds:
                found.setdefault(run.finalist, {})[run.index] = run
        return found

    def _standing(self, runs: Mapping[int, FinalRun]) -> Standing:
        values = [run.test_accuracy for run in runs.values() if run.test_accuracy is not None]
        if len(values) < len(runs):
            return "out"  # a run without an accuracy
        images = min((run.judged_images for run in runs.values()), default=0)
        if len(values) == self.seeds:
            return "confirmed" if reaches(values, self.target, images) else "out"
        hopeless = is_hopeless(values, self.seeds, self.target, images, self.judge)
        return "out" if hopeless else "open"
