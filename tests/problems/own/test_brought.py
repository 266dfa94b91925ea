"""What a compiled Keras model brings along: its optimizer as a config says it, or `compiled` where no key is for what it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradclip_cli import engines
from gradclip_cli.config import loading
from gradclip_cli.errors import ConfigError
from gradclip_cli.problems import own, problem_of
from gradclip_cli.problems.own.brought import Brought

pytestmark = pytest.mark.trains  # each of them imports Keras
MODEL = """
import keras
import numpy as np

def load():
    return (np.zeros((8, 2), np.float32), np.zeros((8, 1), np.float32))

def build():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.OPTIMIZER, loss="mse")
    return model
"""
SCALED = "LossScaleOptimizer(keras.optimizers.Adam())"
CONFIG = "{data: {factory: 'm.py:load', batch_size: 4}, model: {factory: 'm.py:build'}, training: {steps_per_epoch: 1}}"


def compiled_with(optimizer: str, folder: Path) -> Path:
    """A config of a model that is compiled so."""
    (folder / "m.py").write_text(MODEL.replace("OPTIMIZER", optimizer))
    path = folder / "mine.yaml"
    path.write_text(CONFIG)
    return path


def brought_by(optimizer: str, folder: Path) -> Brought:
    config = loading.load(str(compiled_with(optimizer, folder)))
    engines.imported("tensorflow")
    return own.brought(config, problem_of(config).load())


def test_an_optimizer_that_a_config_can_say_is_said(tmp_path: Path) -> None:
    brought = brought_by("SGD(0.05, momentum=0.9, clipvalue=0.5)", tmp_path)
    expected = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": False, "weight_decay": None}
    assert brought.optimizer == expected
    assert brought.clipping == {"mode": "clipvalue", "threshold": 0.5}


@pytest.mark.parametrize(
    "optimizer",
    [
        "Adam(gradient_accumulation_steps=4)",
        "Adam(use_ema=True)",
        "Adam(loss_scale_factor=8.0)",
        "Adam(keras.optimizers.schedules.CosineDecay(0.1, 9))",
        SCALED,
    ],
)
def test_what_no_key_is_for_is_never_left_out(optimizer: str, tmp_path: Path) -> None:
    assert brought_by(optimizer, tmp_path).optimizer == {"name": "compiled"}


@pytest.mark.parametrize(
    ("optimizer", "reason"),
    [
        ("Adam(gradient_accumulation_steps=4)", "gradient_accumulation_steps"),
        ("Adam(use_ema=True)", "use_ema"),
        ("Adam(loss_scale_factor=8.0)", "loss_scale_factor"),
        (SCALED, "scales the loss"),
    ],
)
def test_what_changes_a_step_is_refused_before_one_is_taken(optimizer: str, reason: str, tmp_path: Path) -> None:
    config = loading.load(str(compiled_with(optimizer, tmp_path)))
    with pytest.raises(ConfigError, match=rf"^optimizer: .*{reason}.*gradclip does not train with"):
        engines.build(config, problem_of(config).load())
