"""Metrics of a user's own PyTorch module, by Keras's names, or functions of his own."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from gradclip_cli.config.own import OwnConfig
from gradclip_cli.errors import ConfigError
from gradclip_cli.problems.own.pytorch_losses import (
    BINARY,
    CATEGORICAL,
    LOSSES,
    SPARSE,
    ChosenLoss,
    Measure,
    aligned,
    by_class,
    own_measure,
    require_tensor,
)
from gradclip_cli.texts import LOWER_IS_BETTER, snake_case

"""Metrics of the user's own, by their names, that are better where they are lower."""
TOP = 5
"""Classes among which the right one must be, as in Keras."""
Classes = Callable[[Tensor], Tensor]
"""The class that outputs predict of each sample, (..., ) from (..., C), or from (..., 1) and (...)."""


@dataclass(frozen=True)
class Metric:
    """What is measured besides the loss."""

    name: str
    measure: Measure
    function: str = ""
    """The name of Keras's function; empty for the user's own."""
    higher_is_better: bool = True
    finish: Callable[[float], float] = float
    """What becomes of the mean over all samples."""
    classes: Classes | None = None
    """Where it is an accuracy of integer classes."""


def _most_likely(outputs: Tensor) -> Tensor:
    return outputs.argmax(-1)


def _of_two(outputs: Tensor, threshold: float) -> Tensor:
    return (outputs > threshold).long()


def _binary(targets: Tensor, outputs: Tensor, *, threshold: float) -> Tensor:
    targets, outputs = aligned(targets, outputs)
    return (_of_two(outputs, threshold) == targets).double().mean()


def _sparse(targets: Tensor, outputs: Tensor) -> Tensor:
    targets, outputs = by_class(targets, outputs)
    return (_most_likely(outputs) == targets).double().mean()


def _categorical(targets: Tensor, outputs: Tensor) -> Tensor:
    targets, outputs = aligned(targets, outputs)
    return (_most_likely(outputs) == _most_likely(targets)).double().mean()


def _sparse_top(targets: Tensor, outputs: Tensor) -> Tensor:
    targets, outputs = by_class(targets, outputs)
    best = outputs.topk(min(TOP, outputs.shape[-1])).indices
    return (best == targets[:, None]).any(-1).double().mean()


def _top(targets: Tensor, outputs: Tensor) -> Tensor:
    targets, outputs = aligned(targets, outputs)
    return _sparse_top(_most_likely(targets), outputs)


ACCURACIES = {BINARY: "binary_accuracy", CATEGORICAL: "categorical_accuracy", SPARSE: "sparse_categorical_accuracy"}
ERRORS = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "root_mean_squared_error": "mean_squared_error"}
"""Metrics that are means of losses, but for a root."""
MEASURES: Mapping[str, Measure] = {
    "sparse_categorical_accuracy": _sparse,
    "categorical_accuracy": _categorical,
    "top_k_categorical_accuracy": _top,
    "sparse_top_k_categorical_accuracy": _sparse_top,
    "mean_squared_error": LOSSES["mean_squared_error"][0],
    "mean_absolute_error": LOSSES["mean_absolute_error"][0],
}
KNOWN = ("accuracy", "binary_accuracy", *MEASURES, *ERRORS)


def choose_metrics(config: OwnConfig, loss: ChosenLoss, targets: Any, outputs: Any) -> tuple[Metric, ...]:
    """The metrics that a config says, else accuracy where targets are classes; targets and outputs are those of some samples.

    Raises ConfigError for one that is not known, or said twice.
    """
    names = config.metrics
    if names is None:
        integers = isinstance(targets, Tensor) and not targets.is_floating_point()
        names = ["accuracy"] if isinstance(outputs, Tensor) and (integers or loss.name in ACCURACIES) else []
    metrics = tuple(_metric(name, config, loss, targets, outputs) for name in names)
    if len({metric.name for metric in metrics}) < len(metrics):
        raise ConfigError([f"metrics: {', '.join(names)}: two have the same name"])
    return metrics


def _metric(name: str, config: OwnConfig, loss: ChosenLoss, targets: Any, outputs: Any) -> Metric:
    if ":" in name:
        own = re.sub(r"\W", "_", name.rpartition(":")[2])
        return Metric(own, own_measure(name, config), higher_is_better=not LOWER_IS_BETTER.search(own.lower()))
    called = snake_case(name)
    if called not in (*KNOWN, "acc"):
        raise ConfigError([f"metrics: no metric {name} for a PyTorch module; known: {', '.join(KNOWN)}, or FILE.py:function"])
    require_tensor(outputs, config, f"metrics: {name}")
    function = _accuracy(loss, targets, outputs) if called in ("accuracy", "acc") else ERRORS.get(called, called)
    if function == "binary_accuracy":
        threshold = 0.0 if loss.from_logits else 0.5
        return Metric(called, partial(_binary, threshold=threshold), function, classes=partial(_of_two, threshold=threshold))
    classes = _most_likely if function == "sparse_categorical_accuracy" else None
    if called == "root_mean_squared_error":
        return Metric(called, MEASURES[function], called, higher_is_better=False, finish=math.sqrt)
    return Metric(called, MEASURES[function], function, "accuracy" in function, classes=classes)


def _accuracy(loss: ChosenLoss, targets: Any, outputs: Tensor) -> str:
    """Which accuracy is meant: the loss says it, else the shapes do."""
    if loss.name in ACCURACIES:
        return ACCURACIES[loss.name]
    if outputs.shape[-1] == 1 or (targets.shape == outputs.shape and not targets.is_floating_point()):
        return "binary_accuracy"
    return "categorical_accuracy" if targets.shape == outputs.shape else "sparse_categorical_accuracy"
