"""Lightning's trainer as it is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import skip_without

from gradclip_cli.recorder.score_names import scores_of
from gradclip_cli.runs.store import RunDirectory

skip_without("lightning", "torch")

pytestmark = [pytest.mark.trains, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize(
    ("way", "options", "mode", "steps"),
    [
        ("automatic", {}, "global_clipnorm", 12),
        ("automatic", {"gradient_clip_algorithm": "value"}, "clipvalue", 12),
        ("automatic", {"accumulate_grad_batches": 2}, "global_clipnorm", 6),
        ("manual", {}, "global_clipnorm", 12),
    ],
)
def test_a_fit(way: str, options: dict[str, Any], mode: str, steps: int, tmp_path: Path) -> None:
    from lightning_loops import fit

    folder = tmp_path / "mine" / "seed-0"
    weights, _ = fit(None, way, **options)
    recorded, norms = fit(folder, way, **options)
    assert recorded == weights
    run = RunDirectory.at(folder)
    metadata, config = run.stored()
    assert (metadata["status"], metadata["epochs"], metadata["steps"]) == ("complete", 2, steps)
    assert (config.clipping.mode, config.clipping.threshold_of_all) == (mode, 0.1)
    assert metadata["variables"][0] == "net/0/weight"
    np.testing.assert_allclose(run.steps()["grad_norm"], norms, rtol=6e-6)
    if mode == "global_clipnorm":
        np.testing.assert_allclose(run.steps()["applied_norm"], np.minimum(norms, 0.1), rtol=2e-5)
    metrics = run.metrics()
    assert metrics[["loss", "val_loss", "val_acc"]].notna().all(axis=None)
    np.testing.assert_allclose(metrics["loss"], run.steps()["loss"].to_numpy().reshape(2, -1).mean(axis=1), rtol=1e-5)


def test_lbfgs(tmp_path: Path) -> None:
    from lightning_loops import fit

    folder = tmp_path / "mine" / "seed-0"
    weights, _ = fit(None, "lbfgs", gradient_clip_val=None)
    recorded, norms = fit(folder, "lbfgs", gradient_clip_val=None)
    assert recorded == weights
    assert RunDirectory.at(folder).metadata()["steps"] == 12
    assert RunDirectory.at(folder).steps()["grad_norm"][0] == pytest.approx(norms[0], rel=1e-5)


def test_a_fit_that_fails_is_told(tmp_path: Path) -> None:
    from lightning_loops import fit

    with pytest.raises(ValueError, match="mine"):
        fit(tmp_path / "mine" / "seed-0", "failing")
    metadata = RunDirectory.at(tmp_path / "mine" / "seed-0").metadata()
    assert (metadata["status"], metadata["reason"], metadata["steps"]) == ("failed", "ValueError: mine", 3)


def test_a_place_that_can_t_be_meant_is_told_before_the_fit() -> None:
    from gradclip_cli import LightningRecorder

    with pytest.raises(ValueError, match="where to record"):
        LightningRecorder()


def test_names_of_scores() -> None:
    told = {"val/f1": 1, "eval_loss": 2, "train_acc_epoch": 3, "train_loss_step": 4, "eval_runtime": 5, "epoch": 6, "text": "x"}
    assert scores_of(told) == {"val_f1": 1.0, "val_loss": 2.0, "acc": 3.0}
