"""A language model of characters: at each one of a text, what comes next?

The text ships with Python: the language reference, as `help()` shows it (`pydoc_data.topics`, some 460,000 characters). It
differs a little from one version of Python to the next, and so do the results.
"""

from __future__ import annotations

import pydoc_data.topics

import keras
import numpy as np

VOCABULARY = 128  # ASCII; the few characters beyond it are read as question marks


def text() -> np.ndarray:
    """The whole text, a number a character."""
    topics = pydoc_data.topics.topics
    return np.frombuffer("\n\n".join(topics[name] for name in sorted(topics)).encode("ascii", "replace"), dtype=np.uint8)


def windows(characters: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Consecutive pieces (pieces, length) of a text, and the same pieces one character later."""
    pieces = (len(characters) - 1) // length
    inputs, targets = characters[: pieces * length], characters[1 : pieces * length + 1]
    return inputs.reshape(pieces, length).astype(np.int32), targets.reshape(pieces, length).astype(np.int32)


def load(
    length: int = 64, test_share: float = 0.1, characters: int | None = None
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The text in pieces of `length` characters, its last tenth to test on; or only its first `characters`."""
    read = text()[:characters]
    split = round(len(read) * (1 - test_share))
    return windows(read[:split], length), windows(read[split:], length)


def build(length: int = 64, width: int = 16, units: int = 64) -> keras.Model:
    """An LSTM over embedded characters, with the next character's logits at each: (batch, length, 128)."""
    return keras.Sequential(
        [
            keras.Input((length,), dtype="int32"),
            keras.layers.Embedding(VOCABULARY, width),
            keras.layers.LSTM(units, return_sequences=True),
            keras.layers.Dense(VOCABULARY),
        ]
    )
