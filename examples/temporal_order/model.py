"""The temporal-order task, and a plain recurrent network that learns it only where its gradients are kept short.

A sequence of symbols holds two that matter, each A or B, one early and one half-way; all others are noise (c, d, e, f).
The class is which two they were, in order: AA, AB, BA or BB. The first must be remembered for half of the sequence.
"""

from __future__ import annotations

import keras
import numpy as np

SYMBOLS, RELEVANT = 6, 2  # 0 and 1 are A and B
CLASSES = RELEVANT**2


def sequences(generator: np.random.Generator, samples: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Symbols (samples, length) as integers from 0 to 5, and classes (samples,) from 0 to 3."""
    tenth = length // 10
    symbols = generator.integers(RELEVANT, SYMBOLS, size=(samples, length), dtype=np.int32)
    first, second = generator.integers(RELEVANT, size=(2, samples), dtype=np.int32)
    rows = np.arange(samples)
    symbols[rows, generator.integers(tenth, 2 * tenth, size=samples)] = first  # in the second tenth of the sequence
    symbols[rows, generator.integers(5 * tenth, 6 * tenth, size=samples)] = second  # in the sixth
    return symbols, RELEVANT * first + second


def load(
    length: int = 30, train: int = 20_000, test: int = 2_000, seed: int = 0
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Sequences to train on and to test on; `length` is at least 10."""
    generator = np.random.default_rng(seed)
    return sequences(generator, train, length), sequences(generator, test, length)


def build(length: int = 30, units: int = 50) -> keras.Model:
    """One-hot symbols, a recurrent layer of tanh units, and the classes' logits after the last symbol."""
    symbols = keras.Input((length,), dtype="int32")
    state = keras.layers.SimpleRNN(units)(keras.ops.one_hot(symbols, SYMBOLS))
    return keras.Model(symbols, keras.layers.Dense(CLASSES)(state))
