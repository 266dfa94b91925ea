"""The Keras engine's optimizers: as a config says, or as a model was compiled; and twins of them that record what they apply."""

from __future__ import annotations

import keras
import tensorflow as tf

from gradclip_cli.config.own import COMPILED
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ConfigError
from gradclip_cli.gradients.clipping_rule import ClippingRule

CLIPPING_ARGUMENTS = ("clipnorm", "clipvalue", "global_clipnorm")
UNSUPPORTED = {"use_ema": False, "gradient_accumulation_steps": None, "loss_scale_factor": None}
"""Arguments of Keras's optimizers that change what a step is, with their usual values."""


def build_optimizer(config: Config, model: keras.Model | None = None) -> keras.optimizers.Optimizer:
    """The Keras optimizer that a config describes, with its clipping argument where Keras does the clipping.

    It may be the one that a model was compiled with. Raises ConfigError where that one is not there, or does what can't be
    taken apart here.
    """
    if config.optimizer.name == COMPILED:
        return _compiled_optimizer(config, model)
    arguments = {**config.optimizer.parameters(), "learning_rate": config.optimizer.learning_rate}
    return _optimizer_class(config.optimizer.name)(**arguments, **keras_clipping(config.clipping))


def _compiled_optimizer(config: Config, model: keras.Model | None) -> keras.optimizers.Optimizer:
    compiled = model.optimizer if model is not None and model.compiled else None
    if compiled is None:
        raise ConfigError(["optimizer: the model was not compiled with one; write optimizer: {name: adam, learning_rate: 0.001}"])
    arguments = compiled.get_config()
    if isinstance(compiled, keras.optimizers.LossScaleOptimizer):
        message = "the compiled one scales the loss, as mixed_float16 asks for, which gradclip does not train with"
        raise ConfigError([f"optimizer: {message}; compile in float32"])
    if changed := [name for name, usual in UNSUPPORTED.items() if arguments.get(name, usual) != usual]:
        raise ConfigError([f"optimizer: the compiled one has {', '.join(changed)}, which gradclip does not train with"])
    arguments |= dict.fromkeys(CLIPPING_ARGUMENTS) | keras_clipping(config.clipping)
    if config.optimizer.learning_rate is not None:
        arguments["learning_rate"] = config.optimizer.learning_rate
    optimizer: keras.optimizers.Optimizer = type(compiled).from_config(arguments)
    return optimizer


def keras_clipping(rule: ClippingRule) -> dict[str, float | None]:
    """The argument by which the Keras optimizer clips by itself: it knows some rules, each with one threshold for all layers."""
    if rule.keras_argument is None or rule.layer_thresholds:
        return {}
    return {rule.keras_argument: rule.threshold_of_all}


def _optimizer_class(name: str) -> type[keras.optimizers.Optimizer]:
    classes = {key.lower(): value for key, value in vars(keras.optimizers).items() if isinstance(value, type)}
    return classes[name]


def recording(optimizer: keras.optimizers.Optimizer, applied: list[tf.Tensor], xla: bool) -> keras.optimizers.Optimizer:
    """A twin of an optimizer that appends each gradient its `update_step` receives to `applied`.

    Without XLA it gives a weight a new tensor in place of changing the old one, which the records still need: TensorFlow would
    copy it first.
    """

    updated: list[tf.Variable] = []

    class Recording(type(optimizer)):  # type: ignore[misc]  # a base that is known only at run time
        def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
            applied.append(gradient)
            updated[:] = [variable]
            super().update_step(gradient, variable, learning_rate)

        def assign_sub(self, variable: tf.Variable, value: tf.Tensor) -> None:
            if xla or not any(variable is weight for weight in updated):
                super().assign_sub(variable, value)
            else:
                self.assign(variable, tf.convert_to_tensor(variable) - tf.cast(value, variable.dtype))

    twin: keras.optimizers.Optimizer = Recording.from_config(optimizer.get_config())
    return twin
