"""A run's steps on a page: nothing that stands out is lost, and the shares are those of the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import store_run

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
        for column in ("norm", "max_abs", "applied_norm", "applied_max_abs"):
            table[f"{column}/lstm/kernel"] = np.asarray(norms) / 2
        frame = pd.DataFrame({**table, "loss": -np.asarray(norms), "clipped": clipped.astype(int)})
        monkeypatch.setattr(RunDirectory, "steps", lambda self, columns: frame[columns])
        return steps.trace(run, "none")

    return of


@pytest.mark.parametrize("count", [1, 7, steps.BINS, steps.BINS + 1, 3 * steps.BINS + 17])
def test_the_smallest_and_largest_of_each_bin_are_kept(traced: Traced, count: int) -> None:
    norms = np.random.default_rng(count).lognormal(size=count)
    found = traced(norms)
    assert found.recorded == count
    assert len(found.steps) == min(count, steps.BINS)
    assert found.overall.before[0].min() == pytest.approx(norms.min())
    assert found.overall.before[1].max() == pytest.approx(norms.max())
    assert (found.overall.before[0] <= found.overall.before[1]).all()
    assert (found.overall.after[1] <= found.overall.before[1]).all()
    assert found.loss[0].min() == pytest.approx(-norms.max())
    assert ((found.clipped >= 0) & (found.clipped <= 1)).all()
    assert (np.diff(found.steps) > 0).all()
    assert ("each step" in found.title) == (count <= steps.BINS)


def test_steps_that_are_broken_give_their_place_to_the_next_run(two_arms: Path) -> None:
    read_arms(two_arms, ["none"])[0][0].runs[0].directory.steps_path.write_text("step,loss\n1,2\n")
    found = [(each.arm, each.seed) for each in steps.traces(comparison.compare(two_arms), most=3)]
    assert found == [("none", 1), ("clipvalue", 0), ("none", 2)]


def test_what_each_rule_bounds_can_be_chosen(two_arms: Path) -> None:
    for base, scope in (("clipnorm", 1), ("clipvalue", 2), ("global_clipnorm", 0)):
        run = store_run(two_arms, base, 0, [2.0, 1.0, 0.5], base=base)
        measures = steps.trace(read_arms(two_arms, [run.arm])[0][0].runs[0], run.arm).measures
        assert [each.name.split(":")[0] for each in measures] == [
            "All variables together",
            "The largest norm of a variable",
            "The largest element",
            "lstm/kernel",
        ]
        threshold = run.config().clipping.threshold_of_all
        assert [each.threshold for each in measures[:3]] == [threshold if place == scope else None for place in range(3)]
        assert measures[3].threshold == (threshold if base == "clipnorm" else None)


def test_of_many_variables_those_with_large_norms_are_kept_and_the_rest_is_counted(
    two_arms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "MOST_VARIABLES", 0)
    found = steps.trace(read_arms(two_arms, ["none"])[0][0].runs[0], "none")
    assert len(found.measures) == 3
    assert found.title.endswith("; 1 variable with smaller norms left out")


def test_what_is_not_finite_is_left_out_and_stops_nothing(traced: Traced) -> None:
    found = traced([1.0, float("inf"), 3.0, 2.0])
    assert found.overall.spread.tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(found.overall.before[1][1])
    assert (found.overall.finite, found.overall.infinite) == (3, 1)


@pytest.mark.parametrize("count", [200, 20_000])
@pytest.mark.parametrize("share", steps.SHARES)
def test_a_threshold_is_exceeded_by_its_share_of_the_steps(traced: Traced, count: int, share: float) -> None:
    norms = np.random.default_rng(0).lognormal(size=count)
    found = traced(norms)
    assert (norms > found.overall.exceeded(share)).mean() == pytest.approx(share, abs=0.006)


def test_runs_of_all_arms_stand_in_the_section_the_first_ones_first(two_arms: Path) -> None:
    compared = comparison.compare(two_arms)
    found = steps.traces(compared, most=4)
    assert [(each.arm, each.seed, each.recorded) for each in found] == [
        ("none", 0, 12),
        ("clipvalue", 0, 12),
        ("none", 1, 12),
        ("clipvalue", 1, 12),
    ]
    part = steps.step_by_step(found, steps.stored(compared))
    names = [row[0].text for row in part.iter("tr")][1:]
    assert names == ["none, seed 0", "clipvalue, seed 0", "none, seed 1", "clipvalue, seed 1"]
    assert {each.attrib["id"] for each in part.iter("div") if "id" in each.attrib} == {"steps-0", "steps-1", "steps-2"}
    assert "Steps of 6 runs are stored; 4 are here" in "".join(part.itertext())
