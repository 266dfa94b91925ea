"""One run: its rows, its end, and what divergence and overflow look like with real gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import QUICKEST, UNCOMPILED, engine_for, schedule_for, start_weights
from trained import AMPLIFYING, LOW, OVERFLOWING, run, small

from gradclip_cli.runs.csv_files import metric_columns
from gradclip_cli.runs.steps import step_columns
from gradclip_cli.runs.tally import Outcome

pytestmark = pytest.mark.trains

EXPLOSIVE = ["model={cell: simple_rnn, units: 32, activation: relu, recurrent_gain: 1.5}", "optimizer.learning_rate=0.5"]


def test_csvs_hold_what_was_trained(framework: str, tmp_path: Path) -> None:
    chosen = small(LOW, framework=framework)
    outcome, directory, seen = run(chosen, tmp_path)
    also = {name: getattr(outcome, name) for name in ("largest_applied", "clipped_steps", "health")}
    assert outcome == Outcome("complete", 2, 12, **also)
    assert outcome.health is not None
    assert outcome.health.word == "healthy"
    assert outcome.largest_applied == pytest.approx(1, abs=1e-5)  # PyTorch divides by the norm plus 1e-6.
    metrics, steps = pd.read_csv(directory.metrics_path), pd.read_csv(directory.steps_path)
    assert list(metrics.columns) == metric_columns(["accuracy"])
    assert list(steps.columns) == step_columns(engine_for(chosen).variables)
    assert steps["step"].tolist() == list(range(1, 13))
    halves = steps.groupby((steps["step"] - 1) // 6)
    np.testing.assert_allclose(metrics["loss"], halves["loss"].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], halves["correct"].sum() / (6 * 32))
    np.testing.assert_allclose(metrics["grad_norm_median"], halves["grad_norm"].median(), rtol=1e-5)
    np.testing.assert_allclose(metrics["grad_norm_max"], halves["grad_norm"].max(), rtol=1e-5)
    np.testing.assert_allclose(metrics["clipped_fraction"], halves["clipped"].mean())
    assert steps.columns[-1] == "update_norm"
    np.testing.assert_allclose(steps["update_norm"], chosen.optimizer.learning_rate * steps["applied_norm"], rtol=1e-4)
    variables = [column for column in steps if column.startswith("norm/")]
    np.testing.assert_allclose(steps["grad_norm"], np.linalg.norm(steps[variables], axis=1), rtol=1e-4)
    assert seen[-1].evaluation is not None
    assert seen[-1].evaluation.metrics["accuracy"] == metrics["val_accuracy"].iloc[-1]
    assert seen[-1].step == seen[-1].steps == 12


@pytest.mark.parametrize(
    "clipping",
    [
        "clipping={mode: clipnorm, threshold: 0.05, layers: {dense: 0.2}}",
        "clipping={mode: clipvalue, threshold: 0.02}",
        "clipping={mode: global_clipnorm, threshold: 0.3}",
        "clipping={mode: agc, threshold: 0.2}",
        "clipping={mode: none}",
    ],
)
def test_clipped_steps_are_counted_for_each_variable(clipping: str, tmp_path: Path) -> None:
    chosen = small(clipping, *UNCOMPILED[QUICKEST])
    outcome, directory, _ = run(chosen, tmp_path)
    steps, rule = pd.read_csv(directory.steps_path), chosen.clipping
    variables = engine_for(chosen).variables
    thresholds = dict(zip(variables, chosen.thresholds(variables), strict=True))
    by = {"clipnorm": "norm", "clipvalue": "max_abs"}.get(rule.mode)
    for name in variables:
        expected = (steps[f"{by}/{name}"] > thresholds[name]).sum() if by else steps["clipped"].sum()
        assert outcome.clipped_steps[name] == expected
    assert (sum(outcome.clipped_steps.values()) > 0) == (rule.mode != "none")


def test_same_config_and_seed_give_the_same_bytes(framework: str, tmp_path: Path) -> None:
    """Also when steps and evaluation come in the same order on an engine that did something else before."""
    chosen, contents = small(LOW, framework=framework), []
    for part in ("one", "two"):
        engine_for(chosen.with_seed(7)).train(schedule_for(chosen).take(3))
        _, directory, _ = run(chosen, tmp_path / part)
        contents.append((directory.metrics_path.read_bytes(), directory.steps_path.read_bytes()))
    assert contents[0] == contents[1]
    _, directory, _ = run(chosen.with_seed(1), tmp_path / "three")
    assert directory.steps_path.read_bytes() != contents[0][1]


def test_divergence_ends_the_run_at_its_step(framework: str, tmp_path: Path) -> None:
    chosen = small(
        "clipping={mode: none}", "training.epochs=3", "training.steps_per_epoch=300", *EXPLOSIVE, *UNCOMPILED[framework]
    )
    outcome, directory, _ = run(chosen, tmp_path)
    assert outcome.status == "diverged"
    assert outcome.divergence is not None
    steps, metrics = pd.read_csv(directory.steps_path), pd.read_csv(directory.metrics_path)
    assert len(steps) == outcome.steps == outcome.divergence.step
    assert len(metrics) == outcome.epochs == outcome.divergence.epoch - 1
    assert np.isfinite(steps["loss"][:-1]).all()
    if outcome.divergence.quantity == "loss":
        assert not np.isfinite(steps["loss"].iloc[-1])
    assert set(outcome.divergence.variables) <= set(engine_for(chosen).variables)
    assert str(outcome.divergence.step) in outcome.divergence.message
    last = steps.iloc[-1]
    for name in outcome.divergence.variables:  # where the gradient is NaN, so is its largest element
        assert np.isnan(last[f"norm/{name}"]) == np.isnan(last[f"max_abs/{name}"])


def test_clipping_keeps_the_same_run_alive(framework: str, tmp_path: Path) -> None:
    chosen = small(
        "clipping={mode: clipnorm, threshold: 0.1}",
        "training.epochs=1",
        "training.steps_per_epoch=300",
        *EXPLOSIVE,
        *UNCOMPILED[framework],
    )
    outcome, _, _ = run(chosen, tmp_path)
    assert outcome.status == "complete"


def test_overflow_is_recorded_and_the_run_goes_on(framework: str, tmp_path: Path) -> None:
    """A gradient is infinite, but clipvalue turns it into its threshold: the run must not end."""
    chosen = small(*OVERFLOWING, *UNCOMPILED[framework])
    outcome, directory, _ = run(chosen, tmp_path, start={**start_weights(chosen), **AMPLIFYING})
    steps = pd.read_csv(directory.steps_path)
    infinite = np.isinf(steps["norm/simple_rnn/kernel"])
    assert outcome.status == "complete"
    assert outcome.overflow_steps == infinite.sum() > 0
    assert outcome.first_overflow == steps["step"][infinite].iloc[0]
    assert (steps["clipped"][infinite] == 1).all()
    np.testing.assert_allclose(steps["applied_max_abs/simple_rnn/kernel"][infinite], 0.1, rtol=1e-6)


@pytest.mark.parametrize("after", [1, 3])
def test_a_request_to_stop_is_heard_between_chunks(after: int, framework: str, tmp_path: Path) -> None:
    outcome, directory, _ = run(small(LOW, "training.steps_per_epoch=300", framework=framework), tmp_path, stop_after=after)
    assert outcome.status == "interrupted"
    assert len(pd.read_csv(directory.steps_path)) == outcome.steps
    assert len(pd.read_csv(directory.metrics_path)) == outcome.epochs < 2
