"""What a Keras model says of itself when it is recorded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from gradclip_cli.config.recorded import RecordedLoss, RecordedModel, RecordedOptimizer, UnknownRule
from gradclip_cli.gradients.clipping_rule import ClippingRule
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.gradients.rules.none import Unclipped
from gradclip_cli.recorder.recording import Seen
from gradclip_cli.texts import snake_case

PACKAGES = {"tensorflow": ("keras", "tensorflow"), "jax": ("keras", "jax"), "torch": ("keras", "torch")}
CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")
"""Arguments of Keras's optimizers that clip, in the order in which they are asked; gradclip's rules are called as they are."""


def seen(model: keras.Model, optimizer: Any) -> Seen:
    """What is known of a compiled model, whose steps this optimizer takes."""
    backend = keras.backend.backend()
    return Seen(
        framework=backend,
        packages=PACKAGES[backend],
        variables=tuple(_names(model, optimizer._trainable_variables)),
        model=RecordedModel(name=model.name, parameters=sum(int(np.prod(v.shape)) for v in model.trainable_variables)),
        loss=RecordedLoss(name=_loss_name(model.loss)),
        optimizer=_optimizer_section(optimizer),
        clipping=_rule(model, optimizer),
        facts={"initial_weights_sha256": _weights_sha256(model)},
    )


def _names(model: keras.Model, variables: Sequence[Any]) -> list[str]:
    """The variables by their paths in the model, each once, without what a CSV can't hold."""
    names: list[str] = []
    for variable in variables:
        path = re.sub(r"[^\w./-]", "_", variable.path.removeprefix(f"{model.name}/"))
        count = sum(1 for name in names if name == path or re.fullmatch(rf"{re.escape(path)}_\d+", name))
        names.append(f"{path}_{count}" if count else path)
    return names


def _loss_name(loss: Any) -> str | None:
    """A loss by its Keras name, where it is one."""
    if loss is None or isinstance(loss, str):
        return loss
    return snake_case(getattr(loss, "__name__", type(loss).__name__))


def _optimizer_section(optimizer: Any) -> RecordedOptimizer:
    settings = {name: value for name, value in optimizer.get_config().items() if isinstance(value, bool | int | float | str)}
    for said in ("name", *CLIPPING):
        settings.pop(said, None)
    rate = settings.pop("learning_rate", None)
    rate = rate if isinstance(rate, float) and rate > 0 else None
    return RecordedOptimizer(name=type(optimizer).__name__, learning_rate=rate, settings=settings)


def _rule(model: keras.Model, optimizer: Any) -> ClippingRule:
    """How the optimizer clips. Where it does not, a training step of the user's own may."""
    for name in CLIPPING:
        if threshold := getattr(optimizer, name, None):
            return RULES[name].model_validate({"mode": name, "threshold": float(threshold)})
    own = type(model).train_step is not keras.Model.train_step
    return UnknownRule() if own else Unclipped()


def _weights_sha256(model: keras.Model) -> str:
    digest = hashlib.sha256()
    for name, variable in zip(_names(model, model.variables), model.variables, strict=True):
        value = np.ascontiguousarray(ops.convert_to_numpy(variable))
        digest.update(f"{name} {value.dtype} {value.shape}\n".encode() + value.tobytes())
    return digest.hexdigest()


def directions(model: keras.Model) -> dict[str, bool]:
    """Which metrics say that they are better where they are higher, or lower, by name."""
    metrics = [metric for each in model.metrics for metric in (getattr(each, "metrics", None) or [each])]
    directions = {metric.name: getattr(metric, "_direction", None) for metric in metrics}
    return {name: direction == "up" for name, direction in directions.items() if direction in ("up", "down")}
