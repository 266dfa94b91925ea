"""A user's own Keras model, as the Keras engine asks for it. Loss and metrics are what Keras makes of them, as in `fit`."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gradclip_cli.arrays import Array, Weights
from gradclip_cli.config.optimizers import OPTIMIZERS
from gradclip_cli.config.own import COMPILED, OwnConfig
from gradclip_cli.errors import ConfigError, DatasetError, OwnCodeError
from gradclip_cli.problems.chance import ACCURACY, chance_scores
from gradclip_cli.problems.contract import Dataset
from gradclip_cli.problems.own import tensorflow_losses
from gradclip_cli.problems.own.brought import Brought
from gradclip_cli.problems.own.calls import own_code_runs, returned
from gradclip_cli.problems.own.draws import draws_of_this_thread
from gradclip_cli.problems.own.labels import require_classes
from gradclip_cli.problems.own.models import built
from gradclip_cli.problems.own.references import absolute
from gradclip_cli.texts import LOWER_IS_BETTER, snake_case

EVALUATION_BATCH = 256
"""Samples that are evaluated at a time."""
PROBE = 2
"""Samples on which a model is called once, so that all of it is built."""
CLIPPING_ARGUMENTS = ("clipnorm", "clipvalue", "global_clipnorm")
SPARSE = "sparse_categorical_crossentropy"


def build_model(config: OwnConfig, seed: int, *, again: bool = False) -> keras.Model:
    """The user's model with the initial weights of a seed. Layers are named as in a fresh process.

    Raises ConfigError and OwnCodeError, each with what to do.
    """
    policy = keras.config.dtype_policy()
    keras.backend.clear_session(free_memory=False)
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(seed)
    return _from_file(config) if config.model.file else _from_factory(config, seed, again)


def _from_factory(config: OwnConfig, seed: int, again: bool) -> keras.Model:
    what, model = str(config.model.factory), built(config, seed, again=again)
    if isinstance(model, keras.Model):
        return model
    if any(base.__module__.startswith("torch.") for base in type(model).__mro__):
        raise ConfigError([f"{what}: it returned a PyTorch module, which engine: {{framework: pytorch}} trains"])
    raise returned(what, model, "a keras.Model")


def _from_file(config: OwnConfig) -> keras.Model:
    path = absolute(Path(config.folder) / str(config.model.file))
    if not path.is_file():
        raise ConfigError([f"model.file: {path}: no such file"])
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise OwnCodeError(f"{config.model.file}: is no saved Keras model; write one with model.save('{path.name}')")
    try:
        saved = keras.models.load_model(path)
    except Exception as error:  # whatever a file that is no model, or one with code of its own, makes Keras raise
        raise OwnCodeError(f"{config.model.file}: Keras can't load it: {_why_not_loaded(error)}") from None
    if config.model.initial == "saved":
        return saved
    fresh: keras.Model = type(saved).from_config(saved.get_config())
    if not fresh.built and saved.get_build_config():
        fresh.build_from_config(saved.get_build_config())
    if saved.compiled:
        fresh.compile_from_config(saved.get_compile_config())
    return fresh


def _why_not_loaded(error: Exception) -> str:
    """Why a saved model can't be loaded; of code that it brings, what to do instead of what Keras proposes."""
    if "Lambda" in str(error):
        return "it has a Lambda layer, whose code only a factory can give: write model: {factory: FILE.py:function}"
    return str(error).splitlines()[0]


def _weights(model: keras.Model, perturbation: float) -> Weights:
    """All variables of a model by name; trained ones times one plus the perturbation."""
    trained = {id(variable) for variable in model.trainable_variables}
    values = {name: (variable, np.array(variable.value.numpy())) for name, variable in named_variables(model).items()}
    return {
        name: (value * (1 + perturbation)).astype(value.dtype) if perturbation and id(variable) in trained else value
        for name, (variable, value) in values.items()
    }


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """A model's variables by their paths in it, `layer/variable`; equal paths get numbers, and what a CSV can't hold is `_`."""
    named: dict[str, keras.Variable] = {}
    for variable in model.variables:
        path = re.sub(r"[^\w./-]", "_", variable.path.removeprefix(f"{model.name}/"))
        count = sum(1 for name in named if name == path or re.fullmatch(rf"{re.escape(path)}_\d+", name))
        named[f"{path}_{count}" if count else path] = variable
    return named


class Network:
    """`gradclip_cli.engines.tensorflow.Network` of a user's own model."""

    def __init__(self, config: OwnConfig, dataset: Dataset) -> None:
        self.model = build_model(config, config.training.seed)
        require_trainable(self.model, str(config.model.factory or config.model.file))
        inputs, targets = (_first(arrays, PROBE) for arrays in (dataset.train_inputs, dataset.train_targets))
        self._probe, self._masked = inputs, False
        with own_code_runs(str(config.model.factory or config.model.file), "calling the model on two samples"):
            outputs = self.model(inputs, training=False)
        self._masked = any(getattr(each, "_keras_mask", None) is not None for each in keras.tree.flatten(outputs))
        with own_code_runs(str(config.model.factory or config.model.file), "calling the model with training=True"):
            self.model(inputs, training=True)
        require_trainable(self.model, str(config.model.factory or config.model.file))
        self.remarks = tensorflow_losses.compiled(self.model, config, dataset, outputs)
        self._require_classes(dataset, outputs)
        self._build_metrics(inputs, targets, outputs, config)
        named, trained = named_variables(self.model), {id(variable) for variable in self.model.trainable_variables}
        self.variables = {name: variable for name, variable in named.items() if id(variable) in trained}
        self.others = {name: variable for name, variable in named.items() if id(variable) not in trained}
        directions = {name: higher_is_better(name, self.model) for name in self._results()}
        self.metrics = {name: higher for name, (higher, _) in directions.items()}
        self.remarks += _guessed(directions)
        self.recurrent = any(isinstance(layer, keras.layers.RNN) for layer in all_layers(self.model))
        self.chance = self._chance(dataset)
        self._whole_labels = _is_label_a_sample(dataset.train_targets)
        self.counts_correct = self._counts_correct(outputs)

    @property
    def sums(self) -> Sequence[keras.Variable]:
        return [variable for metric in self.model.metrics for variable in metric.variables]

    def initial_weights(self, config: OwnConfig) -> Weights:
        """Built anew, as the config's seed says. Raises OwnCodeError where that gives other variables than before."""
        with draws_of_this_thread():
            model = build_model(config, config.training.seed, again=True)
            model(self._probe, training=False)
        weights = _weights(model, config.model.perturbation)
        shapes = {name: tuple(variable.shape) for name, variable in {**self.variables, **self.others}.items()}
        if (again := {name: value.shape for name, value in weights.items()}) != shapes:
            name = next(name for name in {**shapes, **again} if shapes.get(name) != again.get(name))
            what = str(config.model.factory or config.model.file)
            raise OwnCodeError(f"{what}: built twice, it has other variables: {name} {shapes.get(name)}, then {again.get(name)}")
        return weights

    def inputs(self, samples: Any) -> Any:
        return samples

    def loss_and_penalty(self, inputs: Any, targets: Any, outputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        total = self.model.compute_loss(x=inputs, y=targets, y_pred=outputs, training=True)
        penalty = self._penalty()
        return (total, tf.constant(0.0)) if penalty is None else (total - penalty, penalty)

    def observe(self, inputs: Any, targets: Any, outputs: Any) -> None:
        self.model.compute_metrics(inputs, targets, outputs)

    def correct(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        if outputs.shape[-1] > 1:
            return tf.argmax(outputs, axis=-1, output_type=tf.int32) == tf.reshape(targets, (-1,))
        return tf.cast(tf.reshape(outputs, (-1,)) > 0.5, tf.int32) == tf.reshape(targets, (-1,))

    def evaluate(self, inputs: Any, targets: Any) -> tf.Tensor:
        """Loss, penalty, metrics; then the metrics of what was trained on since the last evaluation."""
        trained = list(self._results().values())
        self._forget()
        samples = len(keras.tree.flatten(inputs)[0])
        whole = samples // EVALUATION_BATCH

        def add(index: tf.Tensor, loss: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            chosen = index * EVALUATION_BATCH + tf.range(EVALUATION_BATCH)
            return index + 1, loss + EVALUATION_BATCH * self._evaluated(inputs, targets, chosen)

        loss = tf.constant(0.0, tf.float64)
        if whole:
            start = (tf.constant(0), loss)
            _, loss = tf.while_loop(lambda index, _: index < whole, add, start, maximum_iterations=whole)
        if rest := samples - whole * EVALUATION_BATCH:
            loss += rest * self._evaluated(inputs, targets, tf.range(samples - rest, samples))
        evaluated, penalty = list(self._results().values()), self._penalty()
        self._forget()
        values = [loss / samples, tf.zeros(()) if penalty is None else penalty, *evaluated, *trained]
        return tf.stack([tf.cast(value, tf.float64) for value in values])

    def _evaluated(self, inputs: Any, targets: Any, chosen: tf.Tensor) -> tf.Tensor:
        """The mean data loss of some samples; the metrics see them."""
        here, aims = (keras.tree.map_structure(lambda values: tf.gather(values, chosen), each) for each in (inputs, targets))
        outputs = self.model(here, training=False)
        total, penalty = self.model.compute_loss(x=here, y=aims, y_pred=outputs, training=False), self._penalty()
        self.model.compute_metrics(here, aims, outputs)
        return tf.cast(total if penalty is None else total - penalty, tf.float64)

    def _penalty(self) -> tf.Tensor | None:
        losses = self.model.losses
        return tf.add_n([tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in losses]) if losses else None

    def _results(self) -> dict[str, Any]:
        """The metrics' results by name, without the loss, which is measured here."""
        results = {name: value for name, value in self.model.get_metrics_result().items() if name != "loss"}
        return {re.sub(r"[^\w./-]", "_", name): value for name, value in results.items()}

    def _forget(self) -> None:
        for metric in self.model.metrics:
            metric.reset_state()

    def _require_classes(self, dataset: Dataset, outputs: Any) -> None:
        """Raises DatasetError where a label is beyond the outputs: the loss of such is NaN, or an error only once it is met."""
        if tensorflow_losses.function_name(self.model.loss) == SPARSE and not keras.tree.is_nested(outputs):
            require_classes(dataset, outputs.shape[-1], "model", getattr(self.model.loss, "ignore_class", None))

    def _build_metrics(self, inputs: Any, targets: Any, outputs: Any, config: OwnConfig) -> None:
        """Let loss and metrics see two samples once. Raises DatasetError where loss and targets don't fit."""
        try:
            self.model.compute_loss(x=inputs, y=targets, y_pred=outputs, training=False)
            self.model.compute_metrics(inputs, targets, outputs)
        except Exception as error:  # whatever Keras raises where shapes or kinds don't fit
            shapes = f"outputs {_shapes(outputs)}, targets {_shapes(targets)}"
            loss = config.loss.label if config.loss.name != COMPILED or config.loss.factory else "the compiled loss"
            raise DatasetError(f"{loss} doesn't fit the model's {shapes}: {str(error).splitlines()[0]}") from None
        self._forget()

    def _chance(self, dataset: Dataset) -> dict[str, float]:
        if self._masked:
            return {}  # what is masked counts for nothing, and only the model knows what
        trained, evaluated = dataset.train_targets, dataset.evaluation_targets
        if not isinstance(trained, np.ndarray) or not isinstance(evaluated, np.ndarray):
            return {}
        loss = tensorflow_losses.function_name(self.model.loss)
        functions = {name: _function_of(name) for name in self.metrics}
        if loss == "binary_crossentropy" and trained.shape[1:] not in ((), (1,)):  # Keras's plain accuracy is another thing there
            functions = {name: function for name, function in functions.items() if name not in ("accuracy", "acc")}
        return chance_scores(loss, functions, trained, evaluated)

    def _counts_correct(self, outputs: Any) -> bool:
        return self._whole_labels and "accuracy" in self.metrics and getattr(outputs, "ndim", 0) == 2


def require_trainable(model: keras.Model, what: str) -> None:
    """Raises OwnCodeError where a model can't be trained step by step as `fit` does it."""
    if type(model).train_step is not keras.Model.train_step:
        raise OwnCodeError(f"{what}: its class has a train_step of its own, whose gradients gradclip can't take apart")
    if model.built and not model.trainable_variables:
        raise OwnCodeError(f"{what}: no variable of the model is trainable; is every layer frozen (trainable=False)?")


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """A model's layers, those inside others too."""
    yield from model._flatten_layers(include_self=False)


def higher_is_better(name: str, model: keras.Model) -> tuple[bool, bool]:
    """Whether a metric is better where it is higher, and whether Keras says so: else what it is called does."""
    words = [name]
    for metric in _compiled_metrics(model):
        if name == metric.name or name.endswith(f"_{metric.name}"):
            direction = getattr(metric, "_direction", None)
            if direction in ("up", "down"):
                return direction == "up", True
            words += [snake_case(type(metric).__name__), getattr(getattr(metric, "_fn", None), "__name__", "")]
    return not LOWER_IS_BETTER.search(" ".join(words).lower()), False


def _guessed(directions: Mapping[str, tuple[bool, bool]]) -> tuple[str, ...]:
    """A remark on metrics of which only the name tells which way is better."""
    told = [
        f"{name} ({'higher' if higher else 'lower'} is better)"
        for name, (higher, said) in directions.items()
        if not said and not name.endswith("_loss")
    ]
    return (f"which way is better is guessed from the name: {', '.join(told)}",) if told else ()


def _compiled_metrics(model: keras.Model) -> list[keras.metrics.Metric]:
    return [metric for each in model.metrics for metric in (getattr(each, "metrics", None) or [each])]


def _function_of(metric: str) -> str:
    """The Keras function of a metric called so."""
    if metric in ACCURACY:
        return metric
    try:
        return tensorflow_losses.function_name(keras.metrics.get(metric))
    except ValueError:
        return metric


def _is_label_a_sample(targets: Any) -> bool:
    return isinstance(targets, np.ndarray) and targets.dtype.kind in "iu" and targets.size == len(targets)


def _first(arrays: Any, samples: int) -> Any:
    return keras.tree.map_structure(lambda array: tf.constant(_as_targets(array[:samples])), arrays)


def _as_targets(array: Array) -> Array:
    return array.astype(np.int32) if array.dtype.kind in "iu" and array.dtype != np.uint8 else array


def _shapes(values: Any) -> str:
    return ", ".join(str(tuple(value.shape)) for value in keras.tree.flatten(values))


def brought(config: OwnConfig, dataset: Dataset) -> Brought:
    """What the model was compiled with. Raises ConfigError and OwnCodeError as `build_model`."""
    model = build_model(config, config.training.seed)
    with own_code_runs(str(config.model.factory or config.model.file), "calling the model on two samples"):
        outputs = keras.tree.flatten(model(_first(dataset.train_inputs, PROBE), training=False))
    shape = (None, *outputs[0].shape[1:])
    if not model.compiled or model.optimizer is None:
        return Brought(shape)
    arguments = model.optimizer.get_config()
    clipping = {name: arguments[name] for name in CLIPPING_ARGUMENTS if arguments.get(name) is not None}
    rule = [{"mode": name, "threshold": float(threshold)} for name, threshold in clipping.items()]
    loss = tensorflow_losses.function_name(model.loss)
    return Brought(shape, _optimizer_keys(model.optimizer, arguments), rule[0] if rule else None, has_loss=True, loss=loss)


def _optimizer_keys(optimizer: keras.optimizers.Optimizer, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer as a config says it; `compiled` where it has a schedule or something else that no key is for."""
    name = type(optimizer).__name__.lower()
    if type(optimizer).__module__.startswith("keras.") and name in OPTIMIZERS and isinstance(arguments["learning_rate"], float):
        usual, said = type(optimizer)().get_config(), {"name", *CLIPPING_ARGUMENTS, *OPTIMIZERS[name]}
        if all(arguments[key] == value for key, value in usual.items() if key not in said):
            return {"name": name, **{key: _plain(arguments[key]) for key in OPTIMIZERS[name] if key in arguments}}
    return {"name": COMPILED}


def _plain(value: Any) -> Any:
    """A number in the fewest digits that are the same float32: what Keras keeps of a learning rate."""
    return float(str(np.float32(value))) if isinstance(value, float) else value
