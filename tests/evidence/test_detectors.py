"""Detectors by hand-made series: when an event is, what is seen of it, what is a false alarm, and where a threshold is fixed."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli.evidence import detectors
from gradclip_cli.evidence.detectors import SIGNALS, Detector, Judged, Signal, Watched

H = 10
QUIET, LOUD = 1.0, 5.0


def run(steps: int, *loud: int, event: int | None = None, horizon: int = H) -> Watched:
    """A run whose signal is loud on these steps (from 1) and quiet on all others."""
    values = np.full(steps, QUIET)
    values[[step - 1 for step in loud]] = LOUD
    return Watched(values if event is None else values[: event - 1], event, horizon)


def steps_with(**columns: list[float]) -> pd.DataFrame:
    quiet = [1.0] * len(next(iter(columns.values())))
    return pd.DataFrame({"loss": quiet, "grad_norm": quiet, "update_norm": quiet, **columns})


@pytest.mark.parametrize(
    ("columns", "declared", "event"),
    [
        ({"loss": [1, 1, math.nan]}, 3, 3),
        ({"grad_norm": [1, math.inf, math.nan]}, 3, 2),  # the gradient broke a step before the run was given up
        ({"loss": [1, 1, 1]}, 3, 3),  # the weights alone broke
        ({"grad_norm": [1, math.inf, 1]}, None, None),  # it went on
    ],
)
def test_an_event_is_the_first_step_that_is_not_finite_or_declared(
    columns: dict[str, list[float]], declared: int | None, event: int | None
) -> None:
    assert detectors.event_of(steps_with(**columns), declared) == event


def test_a_signal_is_read_up_to_the_event_only() -> None:
    frame = steps_with(loss=[1.0, 2.0, 3.0, 4.0])
    assert Watched.of(Signal("loss", False), frame, 3, H).values.tolist() == [1.0, 2.0]
    assert Watched.of(Signal("loss", False), frame, None, H).values.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_multiples_are_of_the_median_of_earlier_steps() -> None:
    values = np.random.default_rng(0).lognormal(size=250)
    told = Signal("loss", True).of(values)
    assert math.isnan(told[0])
    for step in (1, 50, 100, 101, 249):
        assert told[step] == pytest.approx(values[step] / np.median(values[max(0, step - 100) : step]))


def test_what_is_not_finite_is_above_all_and_a_median_of_zero_has_no_multiples() -> None:
    assert Signal("loss", False).of(np.array([1.0, math.nan])).tolist() == [1.0, math.inf]
    told = Signal("loss", True).of(np.array([0.0, 3.0, 3.0, 3.0, math.inf]))
    assert np.isnan(told[:3]).tolist() == [True, True, False]
    assert told[4] == math.inf


def test_a_lead_counts_from_the_first_near_step_that_is_seen() -> None:
    assert run(100, 95, 97, event=100).lead(2.0) == 5
    assert run(100, 99, event=100).lead(2.0) == 1
    assert run(100, 90, event=100).lead(2.0) == H
    assert run(100, 89, event=100).lead(2.0) is None
    assert run(100, 100, event=100).lead(2.0) is None  # on the event's own step it is too late
    assert run(100, 95, event=100).lead(LOUD) is None  # as large as the threshold is not above it


def test_false_alarms_stand_for_the_horizon() -> None:
    assert run(100, 20, 21, 29).false_alarms(2.0).tolist() == [20]
    assert run(100, 20, 30).false_alarms(2.0).tolist() == [20, 30]
    assert run(100, 20, 89, 90, 95, event=100).false_alarms(2.0).tolist() == [20, 89]  # from 90 on they are true
    assert len(run(100, *range(1, 101)).false_alarms(2.0)) == 100 / H


def test_a_run_that_ends_within_the_horizon_has_no_ordinary_step() -> None:
    early = run(5, 2, event=6)
    assert not len(early.ordinary)
    assert early.lead(2.0) == 4


@given(
    st.lists(st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0]), min_size=1, max_size=60), min_size=1, max_size=4),
    st.integers(1, 12),
    st.sampled_from([0.0, 1.0, 20.0, 100.0]),
)
def test_a_higher_threshold_never_gives_more_false_alarms(series: list[list[float]], horizon: int, most: float) -> None:
    runs = [Watched(np.array(values), None, horizon) for values in series]
    rates = [detectors.false_alarm_rate(runs, threshold) for threshold in (0.0, 1.0, 2.0, 3.0, 4.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0
    found = detectors.lowest_threshold(runs, most)
    assert detectors.false_alarm_rate(runs, found) <= most
    lower = [value for values in series for value in values if value < found]
    assert all(detectors.false_alarm_rate(runs, value) > most for value in lower)


def test_the_threshold_is_the_lowest_that_is_quiet_enough() -> None:
    values = np.ones(1000)
    values[[100, 300, 500]] = 2.0, 3.0, 4.0
    runs = [Watched(values, None, H)]
    assert [detectors.lowest_threshold(runs, most) for most in (3, 2.9, 1, 0)] == [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(ValueError, match="no ordinary step"):
        detectors.lowest_threshold([run(5, event=6)], 1)


def test_chance_is_how_many_ordinary_steps_follow_a_seen_one() -> None:
    assert detectors.chance([run(100, 50)], 2.0) == pytest.approx(H / 100)
    assert detectors.chance([run(100, 50)], 2.0, least=4) == pytest.approx((H - 3) / 100)
    assert detectors.chance([run(100, 98)], 2.0) == pytest.approx(2 / 100)
    assert math.isnan(detectors.chance([run(5, event=6)], 2.0))


@pytest.fixture
def runs() -> list[Watched]:
    """Of four divergences three are seen, 1, 2 and 8 steps before; there are two false alarms in 3 x 89 + 10 + 100 steps."""
    return [
        run(99, 99, event=100),
        run(99, 98, 99, event=100),
        run(99, 20, 92, event=100),
        run(20, event=21),
        run(100, 50, 55),
    ]


def test_all_is_judged_together(runs: list[Watched]) -> None:
    found = Judged.of(runs, 2.0, early=5)
    assert found.leads == (1, 2, 8, None)
    assert (found.events, found.seen, found.seen_early, found.runs) == (4, 3, 1, 5)
    assert found.lead_quartiles == (1.5, 2.0, 5.0)
    exact = scipy.stats.binomtest(3, 4).proportion_ci(0.95, "exact")
    assert found.share_seen is not None
    assert (found.share_seen.low, found.share_seen.high) == pytest.approx((exact.low, exact.high))
    assert found.ordinary_steps == 3 * 89 + 10 + 100
    assert found.false_alarms == 2
    assert found.rate.value == pytest.approx(1000 * 2 / found.ordinary_steps)
    assert found.rate.low == 0 < found.rate.value < found.rate.high
    assert found.beats_chance
    assert not found.early_beats_chance


def test_the_interval_of_the_rate_is_scipys_bootstrap_over_runs() -> None:
    alarms, steps = np.array([0.0, 1, 2, 0, 5, 1]), np.array([100.0, 400, 500, 90, 900, 1000])
    found = detectors.rate_of(alarms, steps)

    def rate(alarms: np.ndarray, steps: np.ndarray, axis: int) -> np.ndarray:
        return 1000 * alarms.sum(axis=axis) / steps.sum(axis=axis)

    theirs = scipy.stats.bootstrap(
        (alarms, steps), rate, paired=True, vectorized=True, method="percentile", n_resamples=20_000, rng=0
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=0.05)


def test_no_false_alarm_leaves_the_exact_bound_of_a_count() -> None:
    found = detectors.rate_of(np.zeros(4), np.full(4, 1000.0))
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1000 * scipy.stats.chi2.ppf(0.975, 2) / 2 / 4000)


def test_a_detector_is_fixed_on_some_runs_and_judged_on_others(runs: list[Watched]) -> None:
    calibration = [run(1000, 500, event=None)]
    found = Detector.fixed(SIGNALS[0], calibration, runs, most=1, early=5)
    assert found.threshold == QUIET
    assert found.calibration.false_alarms == 1
    assert found.fresh == Judged.of(runs, QUIET, 5)


def test_no_event_has_no_share() -> None:
    found = Judged.of([run(100, 50)], 2.0, early=1)
    assert (found.share_seen, found.share_early, found.lead_quartiles) == (None, None, None)
    assert not found.beats_chance


def test_shares_by_lead_and_by_cost(runs: list[Watched]) -> None:
    seen, by_chance = detectors.seen_by_lead(runs, 2.0)
    assert seen.tolist() == [0.75, 0.5, *[0.25] * 6, 0, 0]
    assert by_chance[0] == pytest.approx(Judged.of(runs, 2.0, 1).by_chance)
    assert (np.diff(by_chance) <= 0).all()
    rates, shares, chances = detectors.early_by_cost(runs, 2)
    assert (rates[0], shares[0], chances[0]) == (0, 0, 0)  # nothing is above the largest value
    assert shares[-1] == 0.5
    assert rates[-1] == pytest.approx(1000 * 2 / (3 * 89 + 10 + 100))
