"""The adding problem: add the two numbers of a sequence that are marked.

Each time step brings a number from 0 to 1 and a mark, 1 at two steps and 0 at all others: one step of the first half, one of
the second. Who always answers 1 has a squared error of 1/6, the variance of a sum of two such numbers.
"""

from __future__ import annotations

import keras
import numpy as np


def sequences(generator: np.random.Generator, samples: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and marks (samples, length, 2), and the sums (samples, 1)."""
    numbers = generator.random((samples, length), dtype=np.float32)
    marks = np.zeros_like(numbers)
    rows, half = np.arange(samples), length // 2
    marks[rows, generator.integers(half, size=samples)] = 1
    marks[rows, generator.integers(half, length, size=samples)] = 1
    return np.stack([numbers, marks], axis=-1), (numbers * marks).sum(axis=1, keepdims=True)


def load(
    length: int = 30, train: int = 20_000, test: int = 2_000, seed: int = 0
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Sequences to train on and to test on; `length` is at least 2."""
    generator = np.random.default_rng(seed)
    return sequences(generator, train, length), sequences(generator, test, length)


def build(length: int = 30, units: int = 50) -> keras.Model:
    """A recurrent layer of tanh units, and the sum read from its last state."""
    return keras.Sequential([keras.Input((length, 2)), keras.layers.SimpleRNN(units), keras.layers.Dense(1)])
