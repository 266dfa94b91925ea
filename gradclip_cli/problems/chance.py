"""What a model scores that looks at nothing: the best constant prediction on the training targets, by loss and by metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from gradclip_cli.arrays import Array, FloatArray

ACCURACY = {"accuracy", "acc", "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy"}
LARGEST_LABEL = 10_000_000
"""Labels beyond it are no classes that anybody counts."""


def chance_scores(loss: str, metrics: Mapping[str, str], targets: Array) -> dict[str, float]:
    """The scores of the best constant prediction on targets (N, ...), as far as they are known.

    `loss` is the loss's name as Keras writes its function (such as `mean_squared_error`), `metrics` the names of metrics with
    those of their functions. In the result the loss is called `loss`; what has no known constant is left out.
    """
    known = {**_of_classes(loss, targets), **_of_values(targets)}
    found = {"loss": known[loss]} if loss in known else {}
    found |= {name: known[function] for name, function in metrics.items() if function in known}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _of_classes(loss: str, targets: Array) -> dict[str, float]:
    """By function: crossentropies and accuracies, where the loss says that the targets are classes."""
    compute: dict[str, Callable[[Array], FloatArray]] = {
        "sparse_categorical_crossentropy": _label_shares,
        "categorical_crossentropy": lambda given: given.reshape(-1, given.shape[-1]).mean(axis=0, dtype=np.float64),
        "binary_crossentropy": lambda given: np.atleast_1d(given.reshape(len(given), -1).mean(axis=0, dtype=np.float64)),
    }
    if loss not in compute:
        return {}
    shares = compute[loss](targets)
    if loss == "binary_crossentropy":
        entropies = _entropies(shares) + _entropies(1 - shares)
        accuracy = float(np.maximum(shares, 1 - shares).mean())
        return {loss: float(entropies.mean()), **dict.fromkeys(ACCURACY, accuracy)}
    return {loss: float(_entropies(shares).sum()), **dict.fromkeys(ACCURACY, float(shares.max()))}


def _label_shares(targets: Array) -> FloatArray:
    labels = targets.astype(np.int64).ravel()
    if not len(labels) or labels.min() < 0 or labels.max() > LARGEST_LABEL:
        return np.array([np.nan])
    return np.bincount(labels) / len(labels)


def _entropies(shares: FloatArray) -> FloatArray:
    """Each share's part of the entropy, in nats."""
    logarithms = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    return np.asarray(-shares * logarithms)


def _of_values(targets: Array) -> dict[str, float]:
    """By function: squared and absolute errors, each column of the targets predicted by its mean or median."""
    if targets.dtype.kind not in "fiub":
        return {}
    columns = targets.reshape(len(targets), -1).astype(np.float64)
    squared = float(columns.var(axis=0).mean())
    absolute = float(np.abs(columns - np.median(columns, axis=0)).mean())
    return {
        "mean_squared_error": squared,
        "root_mean_squared_error": float(np.sqrt(squared)),
        "mean_absolute_error": absolute,
    }
