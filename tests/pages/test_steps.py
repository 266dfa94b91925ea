"""A run's steps on a page: nothing that stands out is lost, and the shares are those of the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gradclip_cli.arrays import FloatArray
from gradclip_cli.evidence import comparison
from gradclip_cli.evidence.arms import read_arms
from gradclip_cli.pages import steps
from gradclip_cli.runs.store import RunDirectory

Traced = Callable[[Sequence[float] | FloatArray], steps.Trace]


@pytest.fixture
def traced(two_arms: Path, monkeypatch: pytest.MonkeyPatch) -> Traced:
    """What is made of a run with these norms, of which every third was clipped to half."""
    run = read_arms(two_arms, ["none"])[0][0].runs[0]

    def of(norms: Sequence[float] | FloatArray) -> steps.Trace:
        clipped = np.arange(len(norms)) % 3 == 0
        table = {"step": np.arange(1, len(norms) + 1), "grad_norm": norms, "applied_norm": np.where(clipped, 0.5, 1) * norms}
        frame = pd.DataFrame({**table, "clipped": clipped.astype(int)})
        monkeypatch.setattr(RunDirectory, "steps", lambda self, columns: frame[columns])
        return steps.trace(run, "none")

    return of


@pytest.mark.parametrize("count", [1, 7, steps.BINS, steps.BINS + 1, 3 * steps.BINS + 17])
def test_the_smallest_and_largest_of_each_bin_are_kept(traced: Traced, count: int) -> None:
    norms = np.random.default_rng(count).lognormal(size=count)
    found = traced(norms)
    assert found.recorded == count
    assert len(found.steps) == min(count, steps.BINS)
    assert found.before[0].min() == pytest.approx(norms.min())
    assert found.before[1].max() == pytest.approx(norms.max())
    assert (found.before[0] <= found.before[1]).all()
    assert (found.after[1] <= found.before[1]).all()
    assert ((found.clipped >= 0) & (found.clipped <= 1)).all()
    assert (np.diff(found.steps) > 0).all()
    assert ("each step" in found.title) == (count <= steps.BINS)


def test_steps_that_are_broken_give_their_place_to_the_next_run(two_arms: Path) -> None:
    read_arms(two_arms, ["none"])[0][0].runs[0].directory.steps_path.write_text("step,loss\n1,2\n")
    assert [(each.arm, each.seed) for each in steps.traces(comparison.compare(two_arms))] == [("none", 1), ("clipvalue", 0)]


def test_what_is_not_finite_is_left_out_and_stops_nothing(traced: Traced) -> None:
    found = traced([1.0, float("inf"), 3.0, 2.0])
    assert found.norms.tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(found.before[1][1])


@pytest.mark.parametrize("count", [200, 20_000])
@pytest.mark.parametrize("share", steps.SHARES)
def test_a_threshold_is_exceeded_by_its_share_of_the_steps(traced: Traced, count: int, share: float) -> None:
    norms = np.random.default_rng(0).lognormal(size=count)
    found = traced(norms)
    assert (norms > found.exceeded(share)).mean() == pytest.approx(share, abs=0.006)


def test_a_run_an_arm_stands_in_the_section(two_arms: Path) -> None:
    found = steps.traces(comparison.compare(two_arms))
    assert [(each.arm, each.seed, each.recorded) for each in found] == [("none", 0, 12), ("clipvalue", 0, 12)]
    part = steps.step_by_step(found)
    assert [row[0].text for row in part.iter("tr")][1:] == ["none, seed 0", "clipvalue, seed 0"]
    assert {each.attrib["id"] for each in part.iter("div") if "id" in each.attrib} == {"steps-0", "steps-1"}
