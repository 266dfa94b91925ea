"""Regression on a table: how far will a share's price move tomorrow?

The table is daily prices of Google's share from August 2004 to October 2008, which ship with Matplotlib. What is predicted is the
next day's range: 100 times the logarithm of its highest price over its lowest, so about percent.
"""

from __future__ import annotations

import keras
import matplotlib.cbook
import numpy as np

MONTH, WEEK, FEATURES = 22, 5, 5  # trading days


def table() -> tuple[np.ndarray, np.ndarray]:
    """Features (days, 5) of each day, the first month left out, and the ranges (days, 1) of the days that follow."""
    prices = matplotlib.cbook.get_sample_data("goog.npz")["price_data"]
    ranges = 100 * np.log(prices["high"] / prices["low"])
    changes = 100 * np.diff(np.log(prices["close"]))
    volumes = np.log(prices["volume"].astype(np.float64))
    week, month = (np.convolve(ranges, np.ones(days) / days, "valid") for days in (WEEK, MONTH))
    used = len(month) - 1  # days with a month before them and a day after
    columns = [column[-used - 1 : -1] for column in (ranges, week, month, changes, volumes)]
    return np.stack(columns, axis=1).astype(np.float32), ranges[-used:, None].astype(np.float32)


def load(test_days: int = 205) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The days in their order, the last ones to test on: nobody may learn from the future."""
    features, targets = table()
    return (features[:-test_days], targets[:-test_days]), (features[-test_days:], targets[-test_days:])


def build(units: int = 32, depth: int = 2, learning_rate: float = 0.001) -> keras.Model:
    """Dense layers on features that are scaled as the training days are; compiled, with the clipping that it was used with."""
    (features, _), _ = load()
    scaled = keras.layers.Normalization()
    scaled.adapt(features)
    hidden = [keras.layers.Dense(units, activation="relu") for _ in range(depth)]
    model = keras.Sequential([keras.Input((FEATURES,)), scaled, *hidden, keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(learning_rate, clipnorm=1.0), loss="mse", metrics=["mae"])
    return model
