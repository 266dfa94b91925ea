"""A small transformer encoder that learns to sort: at each place, which digit stands there once all are sorted?"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

DIGITS = 10


def sequences(generator: np.random.Generator, samples: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits (samples, length), and the same sorted."""
    digits = generator.integers(DIGITS, size=(samples, length), dtype=np.int32)
    return digits, np.sort(digits, axis=1)


def load(
    length: int = 16, train: int = 20_000, test: int = 2_000, seed: int = 0
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Sequences to train on and to test on."""
    generator = np.random.default_rng(seed)
    return sequences(generator, train, length), sequences(generator, test, length)


class Positions(layers.Layer):
    """Adds a learned vector to each place of a sequence: attention alone can't tell places apart."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.vectors = self.add_weight(shape=shape[1:], initializer="uniform", name="vectors")

    def call(self, sequence: keras.KerasTensor) -> keras.KerasTensor:
        return sequence + self.vectors


def encoder_layer(sequence: keras.KerasTensor, heads: int, dropout: float) -> keras.KerasTensor:
    """Self-attention, then two dense layers; each is added to what it was given, and the sum normalized."""
    width = sequence.shape[-1]
    attended = layers.MultiHeadAttention(heads, width // heads, dropout=dropout)(sequence, sequence)
    sequence = layers.LayerNormalization()(sequence + layers.Dropout(dropout)(attended))
    transformed = layers.Dense(width)(layers.Dense(4 * width, activation="relu")(sequence))
    return layers.LayerNormalization()(sequence + layers.Dropout(dropout)(transformed))


def build(length: int = 16, width: int = 32, heads: int = 4, depth: int = 2, dropout: float = 0.1) -> keras.Model:
    """Embedded digits with their places, `depth` encoder layers, and the logits of the sorted digits: (batch, length, 10)."""
    digits = keras.Input((length,), dtype="int32")
    sequence = Positions()(layers.Embedding(DIGITS, width)(digits))
    for _ in range(depth):
        sequence = encoder_layer(sequence, heads, dropout)
    return keras.Model(digits, layers.Dense(DIGITS)(sequence))
