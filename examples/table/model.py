"""Regression on a table: how far will a patient's diabetes have come in a year?

The table ships with scikit-learn: 442 patients; age, sex, body mass index, blood pressure and six blood values of each.
"""

from __future__ import annotations

import keras
import numpy as np

FEATURES = 10


def table() -> tuple[np.ndarray, np.ndarray]:
    """Features (442, 10) in the units they were measured in, and how far the disease went (442, 1), from 25 to 346."""
    try:
        from sklearn.datasets import load_diabetes
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error.name} is missing: pip install scikit-learn, which brings the table") from None
    features, targets = load_diabetes(return_X_y=True, scaled=False)
    return features.astype(np.float32), targets[:, None].astype(np.float32)


def load(test: int = 90, seed: int = 0) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The patients in an order drawn from a seed, the last ones to test on."""
    features, targets = table()
    order = np.random.default_rng(seed).permutation(len(features))
    trained, tested = order[:-test], order[-test:]
    return (features[trained], targets[trained]), (features[tested], targets[tested])


def build(units: int = 32, depth: int = 2, learning_rate: float = 0.01) -> keras.Model:
    """Dense layers on features that are scaled as the training patients' are; compiled, with a clipping of its own."""
    (features, _), _ = load()
    scaled = keras.layers.Normalization()
    scaled.adapt(features)
    hidden = [keras.layers.Dense(units, activation="relu") for _ in range(depth)]
    model = keras.Sequential([keras.Input((FEATURES,)), scaled, *hidden, keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(learning_rate, clipnorm=1.0), loss="mse", metrics=["mae"])
    return model
