"""Statistics against hand-computed cases, against SciPy, and against what they promise in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli.evidence import stats

DIFFERENCES = st.lists(st.integers(-50, 50).map(lambda tenths: tenths / 10), min_size=1, max_size=11).map(np.array)


def shifted_p(differences: np.ndarray, shift: float) -> float:
    return stats.compare_pairs(differences - shift).p


def test_hand_computed_case() -> None:
    """Six positive differences: only flipping none or all is as extreme, so p = 2/64, and the interval is the range."""
    result = stats.compare_pairs(np.array([1.0, 2, 3, 4, 5, 6]))
    assert result.p == pytest.approx(2 / 64)
    assert (result.mean, result.low, result.high) == (3.5, 1.0, 6.0)
    assert (result.positive, result.negative, result.zero) == (6, 0, 0)


def test_hand_computed_case_with_a_loss() -> None:
    """3, 2, -1: of the 8 flips, sums 4, -2, 0, 6, -6, 0, 2, -4; four are at least 4 from zero."""
    assert stats.compare_pairs(np.array([3.0, 2.0, -1.0])).p == pytest.approx(4 / 8)


@given(DIFFERENCES.filter(lambda differences: len(differences) > 1))
def test_p_is_that_of_scipy(differences: np.ndarray) -> None:
    whole = np.round(10 * differences)  # SciPy has no tolerance where the mean is zero but for rounding
    theirs = scipy.stats.permutation_test((whole,), np.mean, permutation_type="samples", n_resamples=10**5).pvalue
    assert stats.compare_pairs(differences).p == pytest.approx(theirs)


def test_monte_carlo_p_is_near_scipys() -> None:
    differences = np.random.default_rng(1).normal(0.4, 1, 20)
    theirs = scipy.stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=200_000, rng=2).pvalue
    ours = stats.compare_pairs(differences)
    assert ours.p == pytest.approx(theirs, abs=0.004)
    assert ours == stats.compare_pairs(differences)  # seeded


@given(st.lists(st.integers(-50, 50).map(lambda tenths: tenths / 10), min_size=1, max_size=18).map(np.array))
def test_interval_and_p_never_disagree(differences: np.ndarray) -> None:
    result = stats.compare_pairs(differences, n_resamples=999)
    assert (result.low <= 0 <= result.high) == (result.p > stats.LEVEL)
    assert result.low <= result.mean + 1e-9
    assert result.high >= result.mean - 1e-9


@given(DIFFERENCES)
def test_interval_holds_the_shifts_that_are_not_rejected(differences: np.ndarray) -> None:
    result = stats.compare_pairs(differences)
    if not math.isfinite(result.low):
        assert 2 / 2 ** len(differences) > stats.LEVEL
        return
    step = 1e-6
    assert shifted_p(differences, result.low - step) <= stats.LEVEL
    assert shifted_p(differences, result.high + step) <= stats.LEVEL
    if result.high - result.low > 4 * step:
        assert shifted_p(differences, result.low + step) > stats.LEVEL
        assert shifted_p(differences, result.high - step) > stats.LEVEL


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7])
@pytest.mark.parametrize("seeds", [6, 10, 30])
def test_identical_differences_give_a_point(value: float, seeds: int) -> None:
    result = stats.compare_pairs(np.full(seeds, value))
    assert (result.low, result.high) == (value, value)
    assert result.p == (1.0 if value == 0 else pytest.approx(stats.smallest_p(seeds, 1), rel=0.05))


@pytest.mark.parametrize("bad", [[], [np.nan, 1.0], [np.inf]])
def test_what_is_no_difference_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        stats.compare_pairs(np.array(bad))


def test_ties_are_not_broken_by_rounding() -> None:
    """0.1 + 0.2 - 0.3 is zero; counted as such, p is that of the integers 1, 2, -3."""
    assert stats.compare_pairs(np.array([0.1, 0.2, -0.3])).p == stats.compare_pairs(np.array([1.0, 2.0, -3.0])).p


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.5, 0.9]) == [1.0, 1.0]
    assert stats.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_plain_and_bonferroni(p_values: list[float]) -> None:
    adjusted = stats.holm(p_values)
    for plain, value in zip(p_values, adjusted, strict=True):
        assert plain <= value <= min(1, plain * len(p_values))
    assert min(adjusted) == pytest.approx(min(1, min(p_values) * len(p_values)))


def test_fewest_seeds_for_a_verdict() -> None:
    assert [stats.seeds_for_a_verdict(tests) for tests in (1, 2, 3, 4)] == [6, 7, 7, 8]
    assert stats.seeds_for_a_verdict(500) == 15  # beyond the exact test, whose random flips allow a smaller p
    for tests in (1, 2, 3):
        seeds = stats.seeds_for_a_verdict(tests)
        best = stats.compare_pairs(np.ones(seeds)).p
        assert stats.holm([best, *[1.0] * (tests - 1)])[0] == stats.smallest_p(seeds, tests) < 0.05
        assert stats.smallest_p(seeds - 1, tests) >= 0.05


def test_equivalence() -> None:
    close = stats.compare_pairs(np.linspace(-0.01, 0.01, 10))
    assert stats.is_equivalent(close, 0.02)
    assert not stats.is_equivalent(close, 0.001)
    assert not stats.is_equivalent(stats.compare_pairs(np.zeros(3)), 1.0)  # too few seeds for any interval


def test_mean_interval_is_students() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0])
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert stats.mean_interval(values) == pytest.approx((theirs.low, theirs.high))
    assert stats.mean_interval(values[:1]) == (-math.inf, math.inf)
    assert stats.mean_interval(np.full(4, 0.3)) == (0.3, 0.3)
    low, high = stats.mean_band(np.column_stack([values, values * 2]))
    assert (low[1], high[1]) == pytest.approx((2 * theirs.low, 2 * theirs.high))


def test_shares() -> None:
    assert stats.share_interval(0, 10) == pytest.approx((0, 0.30850), abs=1e-5)  # Clopper and Pearson's table
    assert stats.share_interval(10, 10)[0] == pytest.approx(0.69150, abs=1e-5)
    assert stats.share_interval(0, 0) == (0.0, 1.0)
    one, other = np.array([True] * 6 + [False] * 4), np.zeros(10, bool)
    assert stats.mcnemar_p(one, other) == pytest.approx(2 / 64)
    assert stats.mcnemar_p(one, one) == 1.0


def test_power_planning_agrees_with_simulation() -> None:
    generator = np.random.default_rng(0)
    effect = stats.detectable_effect(2.0, 12)
    draws = generator.normal(effect, 2.0, (20_000, 12))
    found = scipy.stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.012)
    assert stats.seeds_needed(effect * 1.0001, 2.0) == 12
    assert stats.seeds_needed(0.01, 2.0, most=500) == 500
    assert stats.detectable_effect(2.0, 1) == math.inf
    assert stats.detectable_effect(0.0, 5) == 0.0


DISTRIBUTIONS = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "heavy-tailed": lambda generator, shape: generator.standard_t(3, size=shape),
}


def binomial_bound(share: float, rounds: int) -> float:
    """How far a simulated share may stray above its true value, once in a thousand times."""
    return float(scipy.stats.binom.ppf(0.999, rounds, share)) / rounds


@pytest.mark.parametrize("distribution", sorted(DISTRIBUTIONS))
@pytest.mark.parametrize("seeds", [7, 10, 30])
def test_false_positives_of_the_whole_procedure(seeds: int, distribution: str) -> None:
    """Three arms against one baseline, none different: at most 5% of comparisons may find anything."""
    generator = np.random.default_rng(seeds)
    rounds, found = 600, 0
    for _ in range(rounds):
        arms = DISTRIBUTIONS[distribution](generator, (4, seeds))
        p_values = [stats.compare_pairs(arm - arms[0], n_resamples=999).p for arm in arms[1:]]
        found += min(stats.holm(p_values)) < stats.LEVEL
    assert found / rounds <= binomial_bound(stats.LEVEL, rounds)


@pytest.mark.parametrize("distribution", sorted(DISTRIBUTIONS))
@pytest.mark.parametrize("seeds", [10, 30])
def test_coverage_of_the_interval(seeds: int, distribution: str) -> None:
    generator = np.random.default_rng(seeds)
    rounds, covered = 1000, 0
    for _ in range(rounds):
        result = stats.compare_pairs(0.7 + DISTRIBUTIONS[distribution](generator, seeds), n_resamples=999)
        covered += result.low <= 0.7 <= result.high
    low, high = scipy.stats.binom.ppf([0.001, 0.999], rounds, stats.CONFIDENCE) / rounds
    assert low <= covered / rounds <= high
