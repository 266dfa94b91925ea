"""Planning against simulation: what is said to be detected is, and the range of seeds holds what it takes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from make_statistics import rank_sum, signed_rank

from gradclip_cli.evidence import planning
from gradclip_cli.evidence.samples import Sample
from gradclip_cli.evidence.two_samples import TwoSamples


@pytest.mark.parametrize("seeds", [10, 12, 30])
def test_what_is_detectable_is_detected(seeds: int) -> None:
    effect = planning.detectable_effect(2.0, seeds)
    drawn = np.random.default_rng(0).normal(effect, 2.0, (20_000, seeds))
    assert sum(verdicts.mean() for verdicts in signed_rank(drawn)) == pytest.approx(0.8, abs=0.03)


def test_seeds_needed_turns_detectable_effects_round() -> None:
    effect = planning.detectable_effect(2.0, 12)
    assert planning.seeds_needed(effect * 1.0001, 2.0, 30).seeds == 12
    assert planning.seeds_needed(effect * 0.9999, 2.0, 30).seeds == 13
    assert planning.seeds_needed(0.001, 2.0, 30).seeds == planning.MOST_SEEDS
    assert planning.detectable_effect(2.0, 1) == math.inf
    assert planning.detectable_effect(0.0, 5) == 0.0


def test_the_range_holds_what_the_true_spread_takes() -> None:
    """95% of ten-seed spreads lead to a range that holds the seeds that the true one takes."""
    generator = np.random.default_rng(1)
    needed = planning.seeds_needed(0.8, 1.0, 10).seeds
    spreads = [planning.spread(Sample.of(generator.standard_normal(10))) for _ in range(400)]
    ranges = [planning.seeds_needed(0.8, spread, 10) for spread in spreads]
    held = np.mean([each.low <= needed <= each.high for each in ranges])
    assert held == pytest.approx(0.95, abs=0.03)
    middles = [each.seeds for each in ranges]
    assert np.quantile(middles, 0.025) < 0.8 * needed < 1.5 * needed < np.quantile(middles, 0.975)  # which is why it is told


@pytest.mark.parametrize(("seeds", "freedom"), [(8, 7), (30, 0.75 * 29)])
def test_the_interval_of_a_spread_is_chi_squared(seeds: int, freedom: float) -> None:
    """A width tells the spread of 10 seeds and more, less well than their standard deviation would."""
    ends = [2 * math.sqrt(freedom / scipy.stats.chi2.ppf(share, freedom)) for share in (0.975, 0.025)]
    assert planning.deviation_interval(2.0, seeds) == pytest.approx(tuple(ends))


def test_one_collapse_widens_the_spread_no_further_than_its_rank() -> None:
    values = np.random.default_rng(2).standard_normal(30)
    wide = np.append(values[1:], -1000.0)
    assert planning.spread(Sample.of(values)) == pytest.approx(1, abs=0.35)
    assert planning.spread(Sample.of(wide)) < 1.5 * planning.spread(Sample.of(values))
    assert planning.spread(Sample.of(wide[-8:])) == wide[-8:].std(ddof=1)  # too few to have a width


def test_no_spread() -> None:
    assert planning.spread(Sample.of(np.full(12, 0.1) + 1e-17)) == 0
    assert planning.spread(Sample.of(np.array([1.0]))) == math.inf
    assert planning.seeds_needed(1.0, 0.0, 12).seeds == 6
    tied = np.array([0.0] * 12 + [5.0, -1.0])
    assert Sample.of(tied).interval() == (0.0, 0.0)
    assert planning.spread(Sample.of(tied)) == tied.std(ddof=1)  # they are not the same on every seed


@pytest.mark.parametrize("runs", [(10, 10), (8, 12), (20, 20)])
def test_what_unpaired_runs_are_said_to_detect_is_detected(runs: tuple[int, int]) -> None:
    generator, effect = np.random.default_rng(0), planning.detectable_by(planning.Design.of_two(*runs), 2.0)
    ours, theirs = generator.normal(effect, 2.0, (10_000, runs[0])), generator.normal(0, 2.0, (10_000, runs[1]))
    assert sum(verdicts.mean() for verdicts in rank_sum(ours, theirs)) == pytest.approx(0.8, abs=0.03)


def test_runs_needed_turns_detectable_effects_round() -> None:
    effect = planning.detectable_by(planning.Design.of_two(12, 12), 2.0, tests=2)
    assert planning.runs_needed(effect * 1.0001, 2.0, (30, 8), tests=2).seeds == 12
    needed = planning.runs_needed(effect * 0.9999, 2.0, (30, 8), tests=2)
    assert needed.low < needed.seeds == 13 < needed.high
    assert planning.runs_needed(100.0, 2.0, (8, 8)).seeds == 4  # with fewer there is no verdict


@pytest.mark.parametrize("runs", [(4, 5), (12, 12), (30, 12)])
def test_the_spread_of_two_samples_is_that_of_their_values(runs: tuple[int, int]) -> None:
    generator = np.random.default_rng(3)
    spreads = [
        planning.spread_of_two(TwoSamples.of(generator.normal(5, 2, runs[0]), generator.normal(0, 2, runs[1])))
        for _ in range(300)
    ]
    assert np.median(spreads) == pytest.approx(2, rel=0.08)


def test_two_samples_without_spread() -> None:
    ones = np.ones(12)
    assert planning.spread_of_two(TwoSamples.of(ones[:1], ones[:1])) == math.inf
    assert planning.detectable_by(planning.Design.of_two(1, 1), 2.0) == math.inf
    assert planning.spread_of_two(TwoSamples.of(ones, ones - 1e-17)) == 0
    assert planning.runs_needed(1.0, 0.0, (12, 12)).seeds == 4
    wide = np.append(np.linspace(0, 1, 29), -1000.0)
    assert planning.spread_of_two(TwoSamples.of(wide, np.linspace(0, 1, 30))) < 1  # one collapse doesn't carry it
