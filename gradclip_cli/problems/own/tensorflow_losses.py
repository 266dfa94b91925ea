"""Losses and metrics of a user's own Keras model: by Keras's names, his own functions, or those that it was compiled with."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np

from gradclip_cli.config.own import COMPILED, OwnConfig
from gradclip_cli.errors import ConfigError
from gradclip_cli.problems.contract import Dataset
from gradclip_cli.problems.own.models import own_function
from gradclip_cli.texts import snake_case

SUMS_TO_ONE = 1e-3


def compiled(model: keras.Model, config: OwnConfig, dataset: Dataset, outputs: Any) -> tuple[str, ...]:
    """Compile a model with the loss and the metrics that a config says, where it says any; returns what was assumed.

    Raises ConfigError where neither the config nor the model says what to minimize, or by which optimizer.
    """
    said = config.loss.name != COMPILED or config.loss.factory is not None
    if not said and not model.compiled:
        raise ConfigError(["loss: the model was not compiled with one; write loss: {name: mean_squared_error}, or the like"])
    if config.optimizer.name == COMPILED and not model.compiled:  # before a stand-in for one is compiled below
        raise ConfigError(["optimizer: the model was not compiled with one; write optimizer: {name: adam, learning_rate: 0.001}"])
    if not said and config.metrics is None:
        return ()
    loss, remarks = _loss(config, model, outputs) if said else (model.loss, ())
    model.compile(optimizer=model.optimizer if model.compiled else "sgd", loss=loss, metrics=_metrics(config, model, dataset))
    return remarks


def function_name(thing: Any) -> str:
    """The name of the Keras function that a loss or metric is, such as `mean_squared_error`; empty for another's."""
    if isinstance(thing, str):
        thing = keras.losses.get(thing)
    if isinstance(thing, type | keras.losses.Loss | keras.metrics.Metric):
        return snake_case(thing.__name__ if isinstance(thing, type) else type(thing).__name__)
    return str(getattr(thing, "__name__", ""))


def _loss(config: OwnConfig, model: keras.Model, outputs: Any) -> tuple[Any, tuple[str, ...]]:
    if config.loss.factory:
        return own_function(config.loss.factory, config), ()
    arguments = config.loss.arguments
    kind = _loss_class(config.loss.name)
    parameters = inspect.signature(kind).parameters
    if unknown := [name for name in arguments if name not in parameters]:
        known = ", ".join(name for name in parameters if name not in ("reduction", "name", "dtype"))
        raise ConfigError([f"loss.{unknown[0]}: {config.loss.name} has no such argument; it takes {known or 'none'}"])
    remarks: tuple[str, ...] = ()
    if "from_logits" in parameters and "from_logits" not in arguments:
        logits, why = are_logits(model, outputs)
        arguments["from_logits"] = logits
        remarks = (f"outputs are taken as {'logits' if logits else 'probabilities'} ({why}); loss: {{from_logits: ...}} says it",)
    return kind(**arguments), remarks


def _loss_class(name: str) -> type[keras.losses.Loss]:
    try:
        wanted = function_name(name)
    except ValueError:
        wanted = name
    classes = {snake_case(key): value for key, value in vars(keras.losses).items() if inspect.isclass(value)}
    if wanted not in classes:
        known = ", ".join(sorted(key for key in classes if key != "loss"))
        raise ConfigError([f"loss.name: Keras has no loss {name}. Known: {known}"])
    found: type[keras.losses.Loss] = classes[wanted]
    return found


def are_logits(model: keras.Model, outputs: Any) -> tuple[bool, str]:
    """Whether a model's outputs are logits, asked of its last layer, else of some outputs; and what said so."""
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    activation = getattr(getattr(layers[-1], "activation", None), "__name__", None) if layers else None
    if activation in ("softmax", "sigmoid"):
        return False, f"the last layer's activation is {activation}"
    if activation == "linear":
        return True, "the last layer has no activation"
    values = np.asarray(keras.ops.convert_to_numpy(keras.tree.flatten(outputs)[0]))
    within = bool((values >= 0).all() and (values <= 1).all())
    sums = values.shape[-1] == 1 or np.allclose(values.sum(axis=-1), 1, atol=SUMS_TO_ONE)
    return not (within and sums), "two samples' outputs " + ("lie between 0 and 1" if within and sums else "do not sum to 1")


def _metrics(config: OwnConfig, model: keras.Model, dataset: Dataset) -> list[Any]:
    if config.metrics is not None:
        return [_metric(name, config) for name in config.metrics]
    if model.compiled:
        given = (model.get_compile_config() or {}).get("metrics") or []
        return [keras.saving.deserialize_keras_object(each) if isinstance(each, dict) else each for each in given]
    targets = dataset.train_targets
    if not isinstance(targets, np.ndarray) or targets.dtype.kind not in "iub":
        return []
    several_labels = config.loss.name == "binary_crossentropy" and targets.shape[1:] not in ((), (1,))
    return ["binary_accuracy" if several_labels else "accuracy"]


def _metric(name: str, config: OwnConfig) -> Any:
    if ":" in name:
        return own_function(name, config)
    if name not in ("accuracy", "acc", "crossentropy", "ce"):
        try:
            keras.metrics.get(name)
        except ValueError:
            raise ConfigError([f"metrics: Keras has no metric {name}; or write FILE.py:function"]) from None
    return name
