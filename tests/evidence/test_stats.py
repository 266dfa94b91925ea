"""Adjustment for several tests, and shares, against hand-computed cases and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli.evidence import stats

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.5, 0.9]) == [1.0, 1.0]
    assert stats.holm([]) == []
    assert stats.holm_levels([0.01, 0.04, 0.03]) == pytest.approx([0.05 / 3, 0.025, 0.025])  # it stops at the second
    assert stats.holm_levels([0.01, 0.001, 0.02]) == pytest.approx([0.025, 0.05 / 3, 0.05])
    assert stats.holm_levels([0.02, 0.01, 0.02]) == pytest.approx([0.025, 0.05 / 3, 0.025])  # equal p, equal levels
    assert stats.holm_levels([]) == []


@given(P_VALUES)
def test_holm_lies_between_the_plain_and_bonferroni(p_values: list[float]) -> None:
    adjusted = stats.holm(p_values)
    for plain, value in zip(p_values, adjusted, strict=True):
        assert plain <= value <= min(1, plain * len(p_values))
    assert min(adjusted) == pytest.approx(min(1, min(p_values) * len(p_values)))


@given(P_VALUES)
def test_an_adjusted_p_is_below_5_percent_where_the_plain_one_is_below_its_level(p_values: list[float]) -> None:
    for plain, adjusted, level in zip(p_values, stats.holm(p_values), stats.holm_levels(p_values), strict=True):
        if abs(plain - level) > 1e-12:
            assert (adjusted < stats.LEVEL) == (plain < level)
        assert stats.LEVEL / len(p_values) <= level <= stats.LEVEL


def test_shares() -> None:
    assert stats.share_interval(0, 10) == pytest.approx((0, 0.30850), abs=1e-5)  # Clopper and Pearson's table
    assert stats.share_interval(10, 10)[0] == pytest.approx(0.69150, abs=1e-5)
    assert stats.share_interval(0, 0) == (0.0, 1.0)
    one, other = np.array([True] * 6 + [False] * 4), np.zeros(10, bool)
    assert stats.mcnemar_p(one, other) == pytest.approx(2 / 64)
    assert stats.mcnemar_p(one, one) == 1.0


def test_fishers_exact_test() -> None:
    """The lady tasting tea: 3 of 4 cups, 34 of 70 orders."""
    assert stats.fisher_p(np.array([True] * 3 + [False]), np.array([True] + [False] * 3)) == pytest.approx(34 / 70)
    assert stats.fisher_p(np.zeros(5, bool), np.zeros(3, bool)) == 1.0
    assert stats.fisher_p(np.ones(5, bool), np.zeros(3, bool)) == pytest.approx(1 / 56)


@given(st.integers(0, 40), st.integers(1, 40))
def test_shares_are_those_of_scipy(count: int, total: int) -> None:
    count = min(count, total)
    theirs = scipy.stats.binomtest(count, total)
    assert stats.share_interval(count, total) == pytest.approx(tuple(theirs.proportion_ci(0.95, method="exact")))
    assert stats.half_p(count, total) == pytest.approx(theirs.pvalue)
