"""Hugging Face's trainer as it is recorded, with a model made from its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import skip_without, slow_cases

from gradclip_cli.runs.store import RunDirectory

skip_without("torch", "transformers", "accelerate")

pytestmark = [pytest.mark.trains, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize(
    ("options", "mode", "steps"),
    [
        ({"max_grad_norm": 0.5}, "global_clipnorm", 12),
        *slow_cases(
            ({"max_grad_norm": 0.5, "gradient_accumulation_steps": 2}, "global_clipnorm", 6),
            ({"max_grad_norm": 0.0}, "none", 12),
        ),
    ],
)
def test_a_training(options: dict[str, Any], mode: str, steps: int, tmp_path: Path) -> None:
    from transformers_loops import train

    folder = tmp_path / "mine" / "seed-0"
    weights, _ = train(tmp_path / "out", None, **options)
    recorded, look = train(tmp_path / "out", folder, **options)
    assert recorded == weights
    run = RunDirectory.at(folder)
    metadata, config = run.stored()
    assert (metadata["status"], metadata["epochs"], metadata["steps"]) == ("complete", 2, steps)
    assert config.clipping.mode == mode
    assert config.optimizer.label == "AdamW 0.01"
    assert "transformer/wte/weight" in metadata["variables"]
    told = run.steps()
    np.testing.assert_allclose(told["loss"], look.losses, rtol=1e-3)
    if mode == "global_clipnorm":
        np.testing.assert_allclose(told["grad_norm"], look.norms, rtol=1e-5)
        np.testing.assert_allclose(told["applied_norm"], np.minimum(told["grad_norm"], 0.5), rtol=2e-5)
    assert run.metrics()["val_loss"].notna().all()
    assert list(run.metrics().columns)[:3] == ["epoch", "loss", "val_loss"]
