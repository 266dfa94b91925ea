"""What a model scores that looks at nothing: the best constant prediction on the training targets, by loss and by metric."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradclip_cli.arrays import Array, FloatArray

ACCURACY = {"accuracy", "acc", "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy"}
LARGEST_LABEL = 10_000_000
"""Labels beyond it are no classes that anybody counts."""


def chance_scores(loss: str, metrics: Mapping[str, str], trained: Array, evaluated: Array) -> dict[str, float]:
    """The scores of the constant that is best on the training targets (N, ...), as far as they are known.

    `loss` is the loss's name as Keras writes its function (such as `mean_squared_error`), `metrics` the names of metrics with
    those of their functions. In the result the loss is called `loss`, scores on the evaluated targets begin with `val_`; what
    is not known, or not finite (a class that was not trained on), is left out.
    """
    found: dict[str, float] = {}
    for prefix, targets in (("", trained), ("val_", evaluated)):
        known = {**_of_classes(loss, trained, targets), **_of_values(trained, targets)}
        named = {"loss": loss, **metrics}
        found |= {f"{prefix}{name}": known[function] for name, function in named.items() if function in known}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _of_classes(loss: str, trained: Array, targets: Array) -> dict[str, float]:
    """By function: crossentropies and accuracies, where the loss says that the targets are classes."""
    if loss == "binary_crossentropy":
        return _of_binary(trained, targets)
    count = {"sparse_categorical_crossentropy": _label_counts, "categorical_crossentropy": _one_hot_counts}.get(loss)
    if count is None:
        return {}
    guess, there = count(trained), count(targets)
    if guess is None or there is None:
        return {}
    width = max(len(guess), len(there))
    guess, there = (np.pad(each, (0, width - len(each))) / each.sum() for each in (guess, there))
    return {loss: _crossentropy(there, guess), **dict.fromkeys(ACCURACY, float(there[guess.argmax()]))}


def _of_binary(trained: Array, targets: Array) -> dict[str, float]:
    guess, there = (np.asarray(each, dtype=np.float64).reshape(len(each), -1).mean(axis=0) for each in (trained, targets))
    entropies = [_crossentropy(np.array([t, 1 - t]), np.array([g, 1 - g])) for t, g in zip(there, guess, strict=True)]
    accuracy = float(np.where(guess > 0.5, there, 1 - there).mean())
    return {"binary_crossentropy": float(np.mean(entropies)), **dict.fromkeys(ACCURACY, accuracy)}


def _crossentropy(shares: FloatArray, guessed: FloatArray) -> float:
    """In nats; infinite where something is there that was given no chance."""
    there = shares > 0
    with np.errstate(divide="ignore"):
        return float(-(shares[there] * np.log(guessed[there])).sum())


def _label_counts(targets: Array) -> FloatArray | None:
    labels = targets.astype(np.int64).ravel()
    if not len(labels) or labels.min() < 0 or labels.max() > LARGEST_LABEL:
        return None
    return np.bincount(labels).astype(np.float64)


def _one_hot_counts(targets: Array) -> FloatArray | None:
    return np.asarray(targets.reshape(-1, targets.shape[-1]).sum(axis=0, dtype=np.float64))


def _of_values(trained: Array, targets: Array) -> dict[str, float]:
    """By function: squared and absolute errors, each column of the targets predicted by its mean or median."""
    if trained.dtype.kind not in "fiub":
        return {}
    guess, there = (each.reshape(len(each), -1).astype(np.float64) for each in (trained, targets))
    squared = float(np.square(there - guess.mean(axis=0)).mean())
    return {
        "mean_squared_error": squared,
        "root_mean_squared_error": float(np.sqrt(squared)),
        "mean_absolute_error": float(np.abs(there - np.median(guess, axis=0)).mean()),
    }
