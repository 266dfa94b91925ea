"""Typical values against hand-computed cases and SciPy, and what tests and intervals promise, in simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from make_statistics import SKEWED, SYMMETRIC, effect_with_power, false_verdicts, own_laws, power, signed_rank

from gradclip_cli.evidence import samples, stats
from gradclip_cli.evidence.samples import Sample

TENTHS = st.integers(-50, 50).map(lambda tenths: tenths / 10)
DIFFERENCES = st.lists(TENTHS, min_size=1, max_size=14).map(np.array)


def test_hand_computed_case() -> None:
    """Six positive values: only all signs or none are as extreme, so p = 2/64, and the interval is the range."""
    sample = Sample.of(np.array([1.0, 2, 3, 4, 5, 7]))
    assert sample.p == pytest.approx(2 / 64)
    assert sample.interval() == (1.0, 7.0)
    assert (sample.typical, sample.median, sample.mean) == (3.5, 3.5, 22 / 6)
    assert (sample.positive, sample.negative, sample.zero) == (6, 0, 0)


def test_one_collapse_moves_the_mean_and_hardly_what_is_typical() -> None:
    sample = Sample.of(np.array([1.0, 1.2, 0.8, 1.1, 0.9, 1.3, 0.7, -30.0]))
    assert sample.typical == pytest.approx(0.95, abs=0.1)
    assert sample.mean == pytest.approx(-2.875)
    assert sample.opposed
    assert (sample.carriers, sample.carried_by_few) == (1, False)  # one of eight is more than a tenth
    assert Sample.of(np.array([0.1] * 18 + [3.0, 3.0])).carried_by_few
    assert not Sample.of(np.array([1.0, -1.0] * 10 + [0.1])).carried_by_few  # a mean of nearly nothing


@given(st.lists(st.floats(0.01, 50), min_size=6, max_size=20, unique=True))
def test_carriers_are_the_fewest_that_give_half(values: list[float]) -> None:
    array = np.array(values) * np.where(np.arange(len(values)) % 3, 1, -1)
    sample = Sample.of(array)
    if sample.mean:
        towards = np.sort(array * np.sign(sample.mean))[::-1]
        assert towards[: sample.carriers].sum() >= abs(array.sum()) / 2 * (1 - 1e-9)
        assert towards[: sample.carriers - 1].sum() < abs(array.sum()) / 2


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=20))
def test_p_is_that_of_scipy_where_nothing_is_tied(values: list[float]) -> None:
    array = np.array(values)
    if len(np.unique(np.abs(array))) < len(array) or np.abs(array).min() < 1e-6 or np.diff(np.sort(np.abs(array))).min() < 1e-6:
        return
    assert Sample.of(array).p == pytest.approx(scipy.stats.wilcoxon(array, method="exact").pvalue)


@pytest.mark.parametrize("seeds", range(1, 9))
def test_the_null_distribution_is_that_of_all_signs(seeds: int) -> None:
    ranks = range(1, seeds + 1)
    sums = [
        sum(rank for rank, counts in zip(ranks, signs, strict=True) if counts)
        for signs in itertools.product((0, 1), repeat=seeds)
    ]
    for count in range(seeds * (seeds + 1) // 2 + 1):
        assert samples.rank_sum_below(seeds, count) == pytest.approx(np.mean(np.array(sums) <= count))


def test_the_normal_null_distribution_joins_the_exact_one() -> None:
    seeds = samples.EXACT_SEEDS
    for share in (0.46, 0.48, 0.5):
        count = int(share * seeds * (seeds + 1) / 2)
        assert samples.rank_sum_below(seeds + 1, count + seeds // 2) == pytest.approx(
            samples.rank_sum_below(seeds, count), abs=2e-3
        )


@given(DIFFERENCES, st.sampled_from([0.05, 0.025, 0.05 / 3]))
def test_interval_and_p_never_disagree(differences: np.ndarray, level: float) -> None:
    sample = Sample.of(differences)
    low, high = sample.interval(level)
    assert (low <= 0 <= high) == (sample.p > level)
    assert low <= sample.typical <= high


@given(st.lists(DIFFERENCES, min_size=1, max_size=5))
def test_intervals_agree_with_the_adjusted_p_of_each_of_several(arms: list[np.ndarray]) -> None:
    tested = [Sample.of(differences) for differences in arms]
    p_values = [sample.p for sample in tested]
    for sample, adjusted, level in zip(tested, stats.holm(p_values), stats.holm_levels(p_values), strict=True):
        low, high = sample.interval(level)
        assert level <= stats.LEVEL
        assert (low <= 0 <= high) == (adjusted >= stats.LEVEL)


@given(DIFFERENCES)
def test_interval_holds_the_shifts_that_are_not_rejected(differences: np.ndarray) -> None:
    low, high = Sample.of(differences).interval()
    if not math.isfinite(low):
        assert samples.smallest_p(len(differences), 1) > stats.LEVEL
        return
    step = 1e-6
    assert Sample.of(differences - low + step).p <= stats.LEVEL
    assert Sample.of(differences - high - step).p <= stats.LEVEL
    if high - low > 4 * step:
        assert Sample.of(differences - low - step).p > stats.LEVEL
        assert Sample.of(differences - high + step).p > stats.LEVEL


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7])
@pytest.mark.parametrize("seeds", [6, 10, 30])
def test_identical_values_give_a_point(value: float, seeds: int) -> None:
    sample = Sample.of(np.full(seeds, value))
    assert sample.interval() == (value, value)
    assert sample.p == (1.0 if value == 0 else samples.smallest_p(seeds, 1))


@pytest.mark.parametrize("bad", [[], [np.nan, 1.0], [np.inf]])
def test_what_is_no_value_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        Sample.of(np.array(bad))


def test_ties_are_not_broken_by_rounding() -> None:
    """The average of 0.3 and -0.1 - 0.2 is zero; counted as such, p is that of the integers."""
    rounded = Sample.of(np.array([0.3, -0.1 - 0.2, 0.5]))
    assert rounded.p == Sample.of(np.array([3.0, -3.0, 5.0])).p
    assert Sample.of(np.array([0.1, 0.2, -(0.1 + 0.2)])).mean == 0


def test_fewest_seeds_for_a_verdict() -> None:
    assert [samples.seeds_for_a_verdict(tests) for tests in (1, 2, 3, 4, 500)] == [6, 7, 7, 8, 15]
    for tests in (1, 2, 3):
        seeds = samples.seeds_for_a_verdict(tests)
        best = Sample.of(np.ones(seeds)).p
        assert stats.holm([best, *[1.0] * (tests - 1)])[0] == samples.smallest_p(seeds, tests) < stats.LEVEL
        assert samples.smallest_p(seeds - 1, tests) >= stats.LEVEL


def test_a_curve_s_typical_values() -> None:
    curves = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0], [5.0, 10.0], [7.0, 14.0], [11.0, 22.0]])
    typical, low, high = samples.typical_curve(curves)
    assert typical[1] == 2 * typical[0] == 2 * Sample.of(curves[:, 0]).typical
    assert (low.tolist(), high.tolist()) == ([1.0, 2.0], [11.0, 22.0])
    _, unknown, _ = samples.typical_curve(curves[:5])
    assert np.isnan(unknown).all()


# What docs/statistics.md tells at length, here with fewer samples: a standard error is about 0.35 percent.
DRAWS = 4000
ERROR = 0.01


def test_the_page_decides_as_the_package_does() -> None:
    generator = np.random.default_rng(0)
    for seeds in (6, 7, 8, 10, 30):
        drawn = np.round(generator.normal(0.5, 1, (200, seeds)), 1)
        below, above = signed_rank(drawn)
        for values, is_below, is_above in zip(drawn, below, above, strict=True):
            sample = Sample.of(values)
            assert (is_below or is_above) == (sample.p < stats.LEVEL)
            assert not is_above or sample.interval()[0] > 0
            assert not is_below or sample.interval()[1] < 0


@pytest.mark.parametrize("law", SYMMETRIC)
@pytest.mark.parametrize("seeds", [7, 8, 10, 30])
def test_no_more_than_5_percent_of_verdicts_are_false_under_even_laws(law: str, seeds: int) -> None:
    assert sum(false_verdicts(SYMMETRIC[law], "typical (signed-rank)", seeds, DRAWS)) <= 0.05 + ERROR


@pytest.mark.parametrize("seeds", [8, 10, 30])
def test_no_more_than_7_percent_of_verdicts_are_false_under_skewed_laws(seeds: int) -> None:
    """And so the interval covers at least 93%: it holds zero wherever no verdict is given."""
    own = own_laws()
    assert len(own) == 12
    for law in [*SKEWED.values(), *own.values()]:
        assert sum(false_verdicts(law, "typical (signed-rank)", seeds, DRAWS)) <= 0.07 + ERROR


def test_no_test_of_the_mean_keeps_its_level_on_the_project_s_own_differences() -> None:
    law = own_laws()["clipvalue, test accuracy"]
    assert false_verdicts(law, "mean (t)", 8, DRAWS)[0] > 0.15


@pytest.mark.parametrize("seeds", [8, 10, 30])
def test_power_is_at_least_nine_tenths_of_students(seeds: int) -> None:
    effect = effect_with_power(seeds)
    found = power("typical (signed-rank)", effect, seeds, DRAWS)
    assert found >= 0.9 * power("mean (t)", effect, seeds, DRAWS)
