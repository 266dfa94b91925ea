"""Bootstrap intervals hold what they should where they can, and say nothing where there is nothing to say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from gradclip_cli.arrays import FloatArray
from gradclip_cli.evidence import bootstrap
from gradclip_cli.evidence.bootstrap import Statistic, deviation, estimate, middle_half


def ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    return middle_half(above) / middle_half(below)


@pytest.mark.parametrize(("statistic", "of_values"), [(deviation, np.std), (middle_half, scipy.stats.iqr)])
def test_they_are_those_of_scipy(statistic: Statistic, of_values: Statistic) -> None:
    values = np.random.default_rng(1).standard_t(3, 25)
    found = estimate(statistic, values)
    assert found.value == pytest.approx(values.std(ddof=1) if of_values is np.std else scipy.stats.iqr(values))
    theirs = scipy.stats.bootstrap((values,), statistic, method="percentile", n_resamples=20_000, rng=0).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=0.05)
    assert found == estimate(statistic, values)  # the same again


def test_what_is_paired_stays_paired() -> None:
    values = np.random.default_rng(2).normal(size=12)
    found = estimate(ratio, values, 2 * values)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("statistic", "true", "measured"),
    [(middle_half, 2 * scipy.stats.cauchy.ppf(0.75), 1), (ratio, 1.0, 2)],
    ids=["half", "ratio"],
)
@pytest.mark.parametrize("seeds", [10, 30])
def test_of_middle_halves_they_hold_even_where_tails_have_no_variance(
    statistic: Statistic, true: float, measured: int, seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "DRAWS", 999)
    bootstrap._draws.cache_clear()
    rng = np.random.default_rng(3)
    held = sum(estimate(statistic, *rng.standard_cauchy((measured, seeds))).holds(true) for _ in range(200))
    bootstrap._draws.cache_clear()
    assert held >= 0.93 * 200


def test_where_there_is_none() -> None:
    for values in ([1.0], [1.0, 3.0]):
        found = estimate(middle_half, np.array(values))
        assert (found.low, found.high) == (-math.inf, math.inf)
    same = estimate(deviation, np.ones(9))
    assert (same.value, same.low, same.high) == (0, 0, 0)
    nothing = estimate(ratio, np.ones(9), np.ones(9))
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (-math.inf, math.inf)
    bounded_below = estimate(ratio, np.arange(9.0), np.array([0.0] * 5 + [1, 2, 3, 4]))
    assert (bounded_below.low > 0, bounded_below.high) == (True, math.inf)
