"""Two samples against all orders of few values, hand-computed cases and SciPy, and what they promise, in simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from conftest import slowly
from hypothesis import given
from hypothesis import strategies as st
from make_statistics import RUNS, TWO_LAWS, false_unpaired_verdicts

from gradclip_cli.evidence import stats, two_samples
from gradclip_cli.evidence.two_samples import TwoSamples

VALUES = st.lists(st.integers(-50, 50).map(lambda tenths: tenths / 10), min_size=1, max_size=9).map(np.array)
DRAWS = 8_000
ERROR = 3 * math.sqrt(0.07 * 0.93 / DRAWS)
EVEN = [runs for runs in RUNS if max(runs) <= 1.5 * min(runs)]


def test_hand_computed_case() -> None:
    """Four values above four: 2 of the 70 orders are as extreme, and the interval is the range of all differences."""
    samples = TwoSamples.of(np.array([5.0, 6, 7, 9]), np.array([1.0, 2, 3, 4]))
    assert samples.p == pytest.approx(2 / 70)
    assert samples.interval() == (1.0, 8.0)
    assert (samples.typical, samples.mean) == (4.0, 4.25)
    assert (samples.positive, samples.negative, samples.zero) == (16, 0, 0)
    assert samples.sizes == (4, 4)


def test_one_collapse_moves_the_mean_and_hardly_what_is_typical() -> None:
    samples = TwoSamples.of(np.array([1.0, 1.2, 0.8, 1.1, 0.9, -30.0]), np.array([0.1, 0.0, 0.2, -0.1, 0.05]))
    assert samples.typical == pytest.approx(0.9, abs=0.1)
    assert samples.mean == pytest.approx(-25 / 6 - 0.05)
    assert samples.opposed


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (1, 4), (4, 1), (2, 3), (3, 3), (4, 4), (5, 3), (5, 5)])
def test_p_and_interval_are_those_of_all_orders(ours: int, theirs: int) -> None:
    """Each choice of which values are ours is as likely as any other where both come from one law."""
    ranks = np.arange(ours + theirs, dtype=float)
    counts = []
    for chosen in itertools.combinations(range(ours + theirs), ours):
        mine, others = ranks[list(chosen)], np.delete(ranks, chosen)
        counts.append(sum(int(one > other) for one in mine for other in others))
    generator = np.random.default_rng(ours)
    samples = TwoSamples.of(generator.normal(1, 1, ours), generator.normal(0, 1, theirs))
    seen = sum(int(one > other) for one in samples.ours for other in samples.theirs)
    tail = min(np.mean(np.array(counts) <= seen), np.mean(np.array(counts) >= seen))
    assert samples.p == pytest.approx(min(1.0, 2 * tail))
    outside = max(below for below in range(len(samples.gaps) + 1) if below == 0 or 2 * np.mean(np.array(counts) < below) < 0.05)
    assert two_samples.pairs_outside(samples.sizes, stats.LEVEL) == outside
    ends = np.sort([one - other for one in samples.ours for other in samples.theirs])
    expected = (ends[outside - 1], ends[-outside]) if outside else (-math.inf, math.inf)
    assert samples.interval() == pytest.approx(expected)
    assert samples.typical == pytest.approx(np.median(ends))
    assert samples.level_of_interval() == pytest.approx(2 * np.mean(np.array(counts) < outside))


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=25, unique=True), st.integers(1, 24))
def test_p_is_that_of_scipy_where_nothing_is_tied(values: list[float], size: int) -> None:
    if np.diff(np.sort(values)).min() < 1e-6:
        return
    ours, theirs = np.split(np.array(values), [min(size, len(values) - 1)])
    assert TwoSamples.of(ours, theirs).p == pytest.approx(scipy.stats.mannwhitneyu(ours, theirs, method="exact").pvalue)


def test_of_many_runs_it_is_the_normal_law_with_a_correction() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(0.2, 1, 120), generator.normal(0, 1, 110)
    assert len(ours) * len(theirs) > two_samples.EXACT_PAIRS
    theirs_p = scipy.stats.mannwhitneyu(ours, theirs, method="asymptotic").pvalue
    assert TwoSamples.of(ours, theirs).p == pytest.approx(theirs_p)
    assert TwoSamples.of(ours[:100], theirs[:100]).p == pytest.approx(
        scipy.stats.mannwhitneyu(ours[:100], theirs[:100], method="asymptotic").pvalue, rel=0.01
    )


@given(VALUES, VALUES)
def test_interval_and_p_agree_whatever_is_tied(ours: np.ndarray, theirs: np.ndarray) -> None:
    samples = TwoSamples.of(ours, theirs)
    low, high = samples.interval()
    assert (low <= 0 <= high) == (samples.p >= stats.LEVEL)
    assert low <= samples.typical <= high


@given(VALUES, VALUES)
def test_ties_speak_against_a_verdict(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Broken in any way, they leave p as it is or make it smaller on the side that leads."""
    samples = TwoSamples.of(ours, theirs)
    towards = 1e-6 if samples.positive >= samples.negative else -1e-6
    assert TwoSamples.of(ours + towards, theirs).p <= samples.p


@given(VALUES, VALUES)
def test_it_is_the_other_way_round_from_the_other_side(ours: np.ndarray, theirs: np.ndarray) -> None:
    one, other = TwoSamples.of(ours, theirs), TwoSamples.of(theirs, ours)
    assert one.p == pytest.approx(other.p)
    assert one.typical == pytest.approx(-other.typical)
    assert one.mean == pytest.approx(-other.mean)
    assert one.interval() == pytest.approx(tuple(-end for end in reversed(other.interval())))


def test_rounding_is_a_tie() -> None:
    samples = TwoSamples.of(np.array([0.1 + 0.2, 0.3]), np.array([0.3, 0.3]))
    assert samples.zero == 4
    assert (samples.p, samples.typical, samples.mean) == (1.0, 0.0, 0.0)
    assert not samples.much_tied  # they are all
    assert TwoSamples.of(np.array([0.3, 0.4]), np.array([0.3, 0.3])).much_tied


@pytest.mark.parametrize("broken", [[], [math.nan], [1.0, math.inf]])
def test_values_must_be_finite_and_at_least_one(broken: list[float]) -> None:
    for ours, theirs in ((broken, [1.0]), ([1.0], broken)):
        with pytest.raises(ValueError, match="at least one"):
            TwoSamples.of(np.array(ours), np.array(theirs))


def test_the_smallest_p_and_the_runs_that_it_takes() -> None:
    assert two_samples.smallest_p((4, 4), 1) == pytest.approx(2 / 70)
    assert two_samples.smallest_p((3, 5), 2) == pytest.approx(4 / 56)
    assert two_samples.smallest_p((1, 1), 1) == 1.0
    assert [two_samples.runs_for_a_verdict(tests) for tests in (1, 2, 5)] == [4, 5, 5]
    for tests in (1, 2, 7):
        runs = two_samples.runs_for_a_verdict(tests)
        assert two_samples.smallest_p((runs, runs), tests) < stats.LEVEL <= two_samples.smallest_p((runs - 1, runs - 1), tests)


def test_a_p_of_5_percent_is_no_verdict_and_its_interval_says_so() -> None:
    """One run above 39: 2 of 40 orders are as extreme."""
    samples = TwoSamples.of(np.array([100.0]), np.arange(39.0))
    assert samples.p == pytest.approx(0.05)
    assert samples.interval() == (-math.inf, math.inf)


@pytest.mark.parametrize("runs", [(4, 4), *slowly(*(each for each in RUNS if each != (4, 4)))])
@pytest.mark.parametrize("laws", [name for name in TWO_LAWS if name.startswith("both")])
def test_of_one_law_no_more_than_5_percent_of_verdicts_are_false(laws: str, runs: tuple[int, int]) -> None:
    """And so the interval covers at least 95%: it holds the typical difference wherever no verdict is given."""
    assert sum(false_unpaired_verdicts(TWO_LAWS[laws], runs, DRAWS)) <= 0.05 + ERROR


@pytest.mark.slow
@pytest.mark.parametrize("runs", EVEN)
@pytest.mark.parametrize("laws", [name for name in TWO_LAWS if not name.startswith("both") and "ten times" not in name])
def test_where_one_law_is_wider_no_more_than_9_percent_are(laws: str, runs: tuple[int, int]) -> None:
    assert sum(false_unpaired_verdicts(TWO_LAWS[laws], runs, DRAWS)) <= 0.09 + ERROR


@pytest.mark.slow
def test_with_unequal_numbers_more_are_false_where_the_fewer_are_wider() -> None:
    assert sum(false_unpaired_verdicts(TWO_LAWS["normal, the first three times as wide"], (4, 12), DRAWS)) > 0.1
