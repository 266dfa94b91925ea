"""The names that frameworks give to scores, as the columns of `metrics.csv` are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, SupportsFloat

from gradclip_cli.runs.csv_files import EVALUATED

OF_EVALUATION = re.compile(r"(val|valid|validation|eval|test)[_/]", re.IGNORECASE)
OF_TRAINING = re.compile(r"(train|training)[_/]", re.IGNORECASE)
NO_SCORES = re.compile(r"(_step|_runtime|_per_second|_time|^epoch|^step)$")
"""What is no epoch's score: values of single steps, and clocks."""


def scores_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among metrics, by the names of columns: `eval_f1` and `val/f1` are `val_f1`, `train_f1_epoch` is `f1`."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if not NO_SCORES.search(name) and (number := _number(value)) is not None:
            found.setdefault(column(name), number)
    return found


def column(name: str) -> str:
    """A score's column."""
    plain = OF_EVALUATION.sub(EVALUATED, name, count=1) if OF_EVALUATION.match(name) else OF_TRAINING.sub("", name, count=1)
    return re.sub(r'[,"\s]', "_", plain.removesuffix("_epoch"))


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, SupportsFloat) else None
    except (TypeError, ValueError, RuntimeError):  # tensors of several elements
        return None
