"""The loss that a model without one most likely wants: from the shapes of its outputs and the kind of its targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradclip_cli.arrays import Array
from gradclip_cli.errors import ConfigError


def likely_loss(outputs: tuple[int | None, ...], targets: Any) -> tuple[str, str]:
    """A loss by its Keras name, and why; `outputs` is the shape of what the model gives for a batch.

    Raises ConfigError where nothing is likely.
    """
    if not isinstance(targets, np.ndarray):
        raise ConfigError(["loss: of several targets it can't be guessed; compile the model, or write a config with `loss`"])
    width = outputs[_classes_axis(outputs, targets)] or 0
    if targets.dtype.kind in "iub":
        return _of_integers(outputs, targets, width)
    if _one_hot(targets, width):
        return "categorical_crossentropy", "the targets are one-hot"
    if targets.size and float(targets.min()) >= 0 and set(np.unique(targets[:1000])) <= {0.0, 1.0}:
        return "binary_crossentropy", "the targets are zeros and ones"
    return "mean_squared_error", "the targets are numbers"


def _classes_axis(outputs: tuple[int | None, ...], targets: Array) -> int:
    """Where the classes stand: last, or second where only that leaves the targets' shape, as for images in PyTorch."""
    here, there = targets.shape[1:], outputs[1:]
    second = len(there) > 1 and here == there[1:] and here != there[:-1]
    return 1 if second else -1


def _of_integers(outputs: tuple[int | None, ...], targets: Any, width: int) -> tuple[str, str]:
    largest = int(targets.max()) if targets.size else 0
    same_rank = targets.ndim == len(outputs)
    if same_rank and width == targets.shape[-1] and largest <= 1 and width > 1:
        one_hot = _one_hot(targets, width)
        name = "categorical_crossentropy" if one_hot else "binary_crossentropy"
        return name, "the targets are one-hot" if one_hot else "each target is a zero or a one"
    if width == 1 and largest <= 1:
        return "binary_crossentropy", "one output, and targets that are zero or one"
    if width > max(1, largest):
        return "sparse_categorical_crossentropy", f"the targets are classes up to {largest}, and there are {width} outputs"
    if width == 1:
        return "mean_squared_error", "one output, and whole numbers as targets"
    raise ConfigError(
        [f"loss: the targets are whole numbers up to {largest}, which {width} outputs can't be classes of; write --loss NAME"]
    )


def _one_hot(targets: Any, width: int) -> bool:
    few = targets[:1000]
    return targets.ndim > 1 and few.shape[-1] == width and width > 1 and bool((few.sum(axis=-1) == 1).all() and (few >= 0).all())
