"""Problems of a user's own Keras models, for tests: files with factories, and configs that name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

START = """\
import keras
import numpy as np
from keras import layers


def load(samples=48, held=16):
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(samples + held, 4)).astype("float32")
    classes = generator.integers(3, size=samples + held)
    return (inputs[:samples], classes[:samples]), (inputs[samples:], classes[samples:])
"""
BUILD = """

def build(units=4):
    return keras.Sequential([keras.Input((4,)), layers.Dense(units, activation="relu"), layers.Dense(3)])
"""
KEYS: dict[str, Any] = {
    "data": {"factory": "model.py:load", "batch_size": 8},
    "model": {"factory": "model.py:build"},
    "loss": {"name": "sparse_categorical_crossentropy", "from_logits": True},
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "engine": {"jit": False},
    "training": {"epochs": 1, "steps_per_epoch": 3},
}


def write_problem(folder: Path, code: str = "", name: str = "mine", **keys: Any) -> Path:
    """Write `model.py`, whose functions are as usual but for what `code` defines anew, and a config of some other keys."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(START + BUILD + code)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in {**KEYS, **keys}.items() if value is not None}))
    return path
