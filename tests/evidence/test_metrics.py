"""What arms are compared by: divergence never pays, and no figure is beyond what is possible."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import store_run
from made_up import BASE, against, store_arm

from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import arms, comparison, figures
from gradclip_cli.evidence.metrics import COMPARED_METRICS, Question


def test_divergence_never_pays(results: Path) -> None:
    """Runs that were far ahead when they diverged score worse than any that went on; their share is tested by itself."""
    store_arm(results, "none", BASE)
    for seed in range(8):
        store_run(results, "reckless", seed, [0.2, 0.1], status="diverged")
    for metric in COMPARED_METRICS:
        compared = comparison.compare(results, question=Question(metric))
        assert against(compared, "reckless").verdict == "hurts", metric
    assert against(compared, "reckless").divergence_p == pytest.approx(2 / 256)
    row = compared.table.iloc[1]
    assert row["loss"] == pytest.approx(0.1)  # uncapped, beside it


@pytest.mark.parametrize("metric", sorted(COMPARED_METRICS))
@pytest.mark.parametrize("losses", [[], [0.2], [0.2, 0.1], [0.2, 0.1, 0.05]])
def test_a_diverged_run_scores_no_better_than_one_at_chance_throughout(metric: str, losses: list[float], results: Path) -> None:
    chance = math.log(10)
    for seed in range(2):
        store_run(results, "none", seed, [chance] * 3)
        store_run(results, "reckless", seed, losses, status="diverged")
    compared = comparison.compare(results, question=Question(metric))
    mean = against(compared, "reckless").mean
    if metric.endswith("accuracy"):  # the stored run's accuracy is not chance's: it is held against 10% instead
        assert compared.others[0].mean == pytest.approx(10)
    else:
        assert mean == pytest.approx(0)


@pytest.mark.parametrize("metric", sorted(COMPARED_METRICS))
def test_intervals_keep_to_what_is_possible(metric: str, results: Path) -> None:
    store_arm(results, "none", [0.1, 2.2])
    store_arm(results, "steady", [1.0, 1.02, 1.04])
    compared = comparison.compare(results, question=Question(metric))
    baseline, steady = compared.arms
    chance = math.log(10)
    most = {"loss_area": 3 * chance, "steps_to_target": 12}.get(metric, 100 if metric.endswith("accuracy") else chance)
    assert (baseline.low, baseline.high) == (-math.inf, math.inf)  # these two seeds exclude nothing that is possible
    assert 0 <= steady.low <= steady.mean <= steady.high <= most
    for panel in figures.panels(compared)[:4]:
        for curve in panel.curves:
            assert curve.band is not None
            assert np.min(curve.band[0]) >= 0
            assert np.max(curve.band[1]) <= (1 if "accuracy" in panel.title else chance)


def test_losses_of_different_kinds_are_not_compared(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "squared", BASE, settings=["loss={name: mse, target_scale: 2}"])
    for metric in ("loss", "val_loss", "loss_area", "steps_to_target"):
        with pytest.raises(ReportError, match=r"squared: mse x 2.*--metric val_accuracy"):
            comparison.compare(results, question=Question(metric))
    assert comparison.compare(results, question=Question("val_accuracy")).others


def test_caps_follow_the_loss(results: Path) -> None:
    store_run(results, "squared", 0, [50.0, 50.0, 50.0], settings=["loss={name: mse, target_scale: 2}"])
    (arm,), _ = arms.read_arms(results)
    predicted = np.full(10, 2 / 10)
    assert arm.scored("loss")[0, -1] == pytest.approx(((predicted - 2 * np.eye(10)[3]) ** 2).mean())
