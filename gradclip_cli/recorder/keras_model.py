"""What a Keras model says of itself when it is recorded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from gradclip_cli.arrays import Array
from gradclip_cli.config.recorded import RecordedLoss, RecordedModel, RecordedOptimizer, UnknownRule
from gradclip_cli.gradients.clipping_rule import ClippingRule
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.gradients.rules.none import Unclipped
from gradclip_cli.recorder.seen import Seen
from gradclip_cli.runs.provenance import weights_sha256
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
        model=RecordedModel(name=_model_name(model), parameters=sum(int(np.prod(v.shape)) for v in model.trainable_variables)),
        loss=RecordedLoss(name=_loss_name(model.loss)),
        optimizer=_optimizer_section(optimizer),
        clipping=_rule(model, optimizer),
        facts={"initial_weights_sha256": weights_sha256(_values(model))},
    )


def _names(model: keras.Model, variables: Sequence[Any]) -> list[str]:
    """The variables by their paths in the model, each once, without what a CSV can't hold.

    Layers that Keras named are numbered anew, or models that are made one after another would have other variables.
    """
    names: list[str] = []
    called = _layer_names(model)
    for variable in variables:
        path = "/".join(called.get(part, part) for part in variable.path.removeprefix(f"{model.name}/").split("/"))
        path = re.sub(r"[^\w./-]", "_", path)
        count = sum(1 for name in names if name == path or re.fullmatch(rf"{re.escape(path)}_\d+", name))
        names.append(f"{path}_{count}" if count else path)
    return names


def _values(model: keras.Model) -> Iterator[tuple[str, Array]]:
    for name, variable in zip(_names(model, model.weights), model.weights, strict=True):
        yield name, ops.convert_to_numpy(variable)


def _model_name(model: keras.Model) -> str:
    """Its own name; its class where Keras named it."""
    kind = type(model).__name__
    return kind if re.fullmatch(rf"{snake_case(kind)}(_\d+)?", model.name) else str(model.name)


def _layer_names(model: keras.Model) -> dict[str, str]:
    """What layers whose names Keras made would be called in the first model of a process."""
    called: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for layer in _layers(model):
        usual = snake_case(type(layer).__name__)
        if layer.name not in called and re.fullmatch(rf"{usual}(_\d+)?", layer.name):
            number = numbers[usual] = numbers.get(usual, -1) + 1
            called[layer.name] = f"{usual}_{number}" if number else usual
    return called


def _layers(model: Any) -> Iterator[Any]:
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from _layers(layer)


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


def directions(model: keras.Model) -> dict[str, bool]:
    """Which metrics say that they are better where they are higher, or lower, by name."""
    metrics = [metric for each in model.metrics for metric in (getattr(each, "metrics", None) or [each])]
    directions = {metric.name: getattr(metric, "_direction", None) for metric in metrics}
    return {name: direction == "up" for name, direction in directions.items() if direction in ("up", "down")}
