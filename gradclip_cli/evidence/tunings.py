"""What a grid of candidates shows beyond its best: the choice made again on halves of the seeds, and the range of good rates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.evidence.samples import Sample

ROUNDING = 1e-12
"""Share of a mean by which equal ones may differ."""
MOST_SEEDS = 14
"""Up to so many seeds every split in halves is made: 3,432 of them."""


@dataclass(frozen=True)
class Grid:
    """An arm's candidates with the scores of each seed: `scores` is (candidates, seeds), the higher the better.

    `rows` (candidates,) says what of a candidate stays the same along the numbers (candidates,) of the axis that ranges are of.
    """

    name: str
    labels: Sequence[str]
    rows: Sequence[str]
    numbers: FloatArray
    scores: FloatArray

    def best(self, seeds: Sequence[int]) -> int:
        """The candidate with the best mean over these columns, the first of those that rounding alone tells apart."""
        means = self.scores[:, list(seeds)].mean(axis=1)
        return int(np.argmax(np.isclose(means, means.max(), rtol=ROUNDING, atol=0.0)))

    @property
    def best_row(self) -> str:
        """The row of the best candidate over all seeds."""
        return self.rows[self.best(range(self.scores.shape[1]))]

    @property
    def best_curve(self) -> tuple[FloatArray, FloatArray]:
        """Along the best row: its numbers (N,) in ascending order, and the scores there (N, seeds)."""
        places = [index for index, row in enumerate(self.rows) if row == self.best_row]
        order = sorted(places, key=lambda index: self.numbers[index])
        return self.numbers[order], self.scores[order]


@dataclass(frozen=True)
class Splits:
    """The whole procedure on every split of the seeds in halves: one half chooses both arms, the other judges them.

    `differences` (splits,) are the arm's mean less the baseline's on the half that judges, in the scores' unit.
    """

    differences: FloatArray
    chosen: dict[str, int]
    """How often each of the arm's candidates was chosen, the most frequent first."""

    @classmethod
    def of(cls, base: Grid, arm: Grid) -> Splits:
        """Both grids have scores of the same seeds. Raises ValueError for fewer than two or more than MOST_SEEDS seeds."""
        seeds = range(base.scores.shape[1])
        if not 2 <= len(seeds) <= MOST_SEEDS:
            raise ValueError(f"from 2 to {MOST_SEEDS} seeds can be split, not {len(seeds)}")
        found, chosen = [], dict[str, int]()
        for half in itertools.combinations(seeds, len(seeds) // 2):
            judging = [seed for seed in seeds if seed not in half]
            ours, theirs = arm.best(half), base.best(half)
            found.append(arm.scores[ours, judging].mean() - base.scores[theirs, judging].mean())
            chosen[arm.labels[ours]] = chosen.get(arm.labels[ours], 0) + 1
        return cls(np.array(found), dict(sorted(chosen.items(), key=lambda item: -item[1])))

    @property
    def better(self) -> float:
        """In what share of the splits the arm came out above the baseline."""
        return float((self.differences > 0).mean())


@dataclass(frozen=True)
class Range:
    """The numbers around the best whose score is within a tolerance of it: the least and the largest of each seed, (seeds,)."""

    least: FloatArray
    largest: FloatArray
    open_ended: int
    """On how many seeds the range reaches the grid's edge, so that it may be wider."""

    @classmethod
    def of(cls, grid: Grid, tolerance: float) -> Range:
        """In the row of the grid's best candidate; between two numbers the score runs evenly along their logarithms."""
        numbers, scores = grid.best_curve
        logs, curves = np.log(numbers), scores.T
        ends = np.array([_ends(logs, curve, tolerance) for curve in curves])
        at_edge = (ends[:, 0] <= logs[0]) | (ends[:, 1] >= logs[-1])
        return cls(np.exp(ends[:, 0]), np.exp(ends[:, 1]), int(at_edge.sum()))

    @property
    def factors(self) -> FloatArray:
        """The largest number over the least, (seeds,)."""
        return self.largest / self.least


def _ends(logs: FloatArray, curve: FloatArray, tolerance: float) -> tuple[float, float]:
    best = int(np.argmax(curve))
    bar = curve[best] - tolerance
    return _crossing(logs, curve, bar, best, -1), _crossing(logs, curve, bar, best, 1)


def _crossing(logs: FloatArray, curve: FloatArray, bar: float, start: int, step: int) -> float:
    """Where the curve, followed from `start`, falls below the bar; the grid's end where it never does."""
    place = start
    while 0 <= place + step < len(curve):
        here, there = curve[place], curve[place + step]
        if there < bar:
            share = (here - bar) / (here - there)
            return float(logs[place] + share * (logs[place + step] - logs[place]))
        place += step
    return float(logs[place])


def wider(base: Range, arm: Range) -> Sample:
    """By what power of two an arm's range is wider than the baseline's, (seeds,)."""
    return Sample.of(np.log2(arm.factors) - np.log2(base.factors))
