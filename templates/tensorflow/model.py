"""What a sensor will read next: windows of a noisy wave, and a small LSTM. Some readings are glitches: they make long gradients.

Replace `build` and `load` by your own; `gradclip try model.py:build` finds both.
"""

from __future__ import annotations

import keras
import numpy as np

LENGTH = 24


def windows(generator: np.random.Generator, samples: int, glitches: float) -> tuple[np.ndarray, np.ndarray]:
    """Readings (samples, 24, 1) of sine waves, and the next one of each (samples, 1); a share of those are glitches."""
    phases, speeds = generator.uniform(0, 2 * np.pi, samples), generator.uniform(0.1, 0.6, samples)
    waves = np.sin(phases[:, None] + speeds[:, None] * np.arange(LENGTH + 1))
    readings = waves + 0.1 * generator.standard_normal(waves.shape)
    odd = generator.random(samples) < glitches
    readings[odd, -1] = generator.choice([-20.0, 20.0], size=odd.sum())
    readings = readings[..., None].astype(np.float32)
    return readings[:, :-1], readings[:, -1]


def load(train: int = 4000, test: int = 1000) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Windows to train on, one in a hundred with a glitch, and windows to test on, without any."""
    generator = np.random.default_rng(0)
    return windows(generator, train, glitches=0.01), windows(generator, test, glitches=0.0)


def build(units: int = 16) -> keras.Model:
    """An LSTM and the next reading; compiled as a model is that is in use, with a clipping of its own."""
    model = keras.Sequential([keras.Input((LENGTH, 1)), keras.layers.LSTM(units), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(0.005, clipnorm=1.0), loss="mse", metrics=["mae"])
    return model
