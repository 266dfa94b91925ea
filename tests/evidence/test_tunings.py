"""Grids of candidates: the choice on halves of the seeds, never judged on the half that chose, and ranges of good numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gradclip_cli.evidence.tunings import Grid, Range, Splits, wider


def grid(scores: list[list[float]], numbers: list[float] | None = None, rows: list[str] | None = None, name: str = "arm") -> Grid:
    count = len(scores)
    labels = [f"candidate {index}" for index in range(count)]
    return Grid(name, labels, rows or [""] * count, np.array(numbers or range(1, count + 1), float), np.array(scores, float))


def test_the_best_has_the_best_mean_the_first_of_equals() -> None:
    found = grid([[1, 3, 0], [2, 2, 0], [0, 9, 0]])
    assert found.best([0, 1]) == 2
    assert found.best([0]) == 1
    assert found.best([2]) == 0


def test_means_that_rounding_alone_tells_apart_are_equal() -> None:
    first, second = [81.61, 81.82, 83.33], [83.33, 81.61, 81.82]
    assert grid([first, second]).best([0, 1, 2]) == grid([[each + 1e-13 for each in first], second]).best([0, 1, 2]) == 0
    assert grid([second, [each + 1e-13 for each in first]]).best([0, 1, 2]) == 0


def test_the_half_that_chooses_never_judges() -> None:
    generator = np.random.default_rng(0)
    base, arm = (grid(generator.normal(size=(5, 6)).tolist()) for _ in range(2))
    found = Splits.of(base, arm)
    expected = []
    for half in itertools.combinations(range(6), 3):
        others = [seed for seed in range(6) if seed not in half]
        ours, theirs = (each.scores[:, list(half)].mean(axis=1).argmax() for each in (arm, base))
        expected.append(arm.scores[ours][others].mean() - base.scores[theirs][others].mean())
    assert len(expected) == 20
    assert found.differences == pytest.approx(expected)
    assert sum(found.chosen.values()) == 20
    assert found.better == pytest.approx(np.mean(np.array(expected) > 0))


def test_candidates_that_differ_by_chance_only_gain_nothing() -> None:
    """The best on the seeds that chose looks better than it is; on the others it is not."""
    generator = np.random.default_rng(1)
    noise = [
        Splits.of(grid(generator.normal(size=(1, 6)).tolist()), grid(generator.normal(size=(24, 6)).tolist())) for _ in range(60)
    ]
    assert abs(np.mean([each.differences.mean() for each in noise])) < 0.15


def test_a_range_ends_where_the_curve_crosses_the_tolerance() -> None:
    found = Range.of(grid([[80.0], [82.0], [81.5], [79.5]], [0.1, 1, 10, 100]), 1.0)
    assert found.least == pytest.approx([10**-0.5])
    assert found.largest == pytest.approx([10**1.25])
    assert found.factors == pytest.approx([10**1.75])
    assert found.open_ended == 0


def test_a_range_at_the_edge_is_told_and_ends_there() -> None:
    found = Range.of(grid([[82.0, 79], [81.5, 80], [79.0, 82]], [0.1, 1, 10]), 1.0)
    assert found.open_ended == 2
    assert found.least[0] == pytest.approx(0.1)
    assert found.largest[1] == pytest.approx(10)


def test_a_valley_ends_a_range() -> None:
    found = Range.of(grid([[82.0], [70.0], [82.0]], [0.1, 1, 10]), 1.0)
    assert found.largest[0] < 1


def test_a_range_is_of_the_best_row_only() -> None:
    scores = [[80.0], [81.0], [79.0], [81.5], [81.6], [81.7]]
    found = Range.of(grid(scores, [1, 2, 3, 3, 1, 2], ["one"] * 3 + ["two"] * 3), 1.0)
    assert (found.least.tolist(), found.largest.tolist()) == (pytest.approx([1.0]), pytest.approx([3.0]))


def test_wider_is_by_what_power_of_two() -> None:
    narrow = Range(np.array([1.0, 1.0]), np.array([2.0, 2.0]), 0)
    assert wider(narrow, Range(np.array([1.0, 1.0]), np.array([8.0, 16.0]), 0)).values == pytest.approx([2.0, 3.0])
