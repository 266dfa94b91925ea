"""What a sensor will read next: windows of a noisy wave, and a small LSTM. Some readings are glitches: they make long gradients.

Replace `build` and `load` by your own; `gradclip try model.py:build` finds both.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

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


class Forecaster(nn.Module):
    """An LSTM, and the next reading from its last state: (batch, 24, 1) to (batch, 1)."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(1, units, batch_first=True)
        self.read = nn.Linear(units, 1)

    def forward(self, readings: Tensor) -> Tensor:
        states, _ = self.recurrent(readings)
        return self.read(states[:, -1])


def build(units: int = 16) -> nn.Module:
    """A fresh module; gradclip seeds PyTorch before it calls this."""
    return Forecaster(units)
