"""Labels against what a model gives: a class that it has no output for makes a loss of NaN, of nothing, or an error late on."""

from __future__ import annotations

import numpy as np

from gradclip_cli.errors import DatasetError
from gradclip_cli.problems.contract import Dataset


def require_classes(dataset: Dataset, classes: int, model: str, ignored: int | None = None) -> None:
    """Raises DatasetError where a label is none of the classes that a `model` (what it is called) tells apart.

    Labels that the loss leaves out, `ignored`, may be any.
    """
    for split, targets in (("train", dataset.train_targets), ("evaluation", dataset.evaluation_targets)):
        labels = np.ravel(targets) if isinstance(targets, np.ndarray) else np.empty(0)
        labels = labels if ignored is None else labels[labels != ignored]
        if not labels.size:
            continue
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            hint = f"the {model} has {classes} outputs, for classes from 0 to {classes - 1}"
            raise DatasetError(f"{split} targets go from {low} to {high}, but {hint}")
