"""Limits that several rooms hold to: beyond any use, and small enough that counts times sizes stay within memory and 64 bits."""

from __future__ import annotations

MOST_SEED = 2**32 - 1
"""The largest seed: what NumPy, Keras and PyTorch all take, and every reader of JSON and of tables reads exactly."""
MOST_EPOCHS = 1_000_000
MOST_STEPS = 100_000_000
"""The most steps of a run, epochs times steps_per_epoch: `steps.csv` holds a row of each, some 20 GB for so many."""
MOST_CONFIG_BYTES = 1_000_000
"""The most bytes of a config's file."""
