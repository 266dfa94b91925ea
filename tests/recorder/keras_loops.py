"""Fits of many kinds, each without and with a recorder, on the backend that KERAS_BACKEND names: prints what became of them.

`python keras_loops.py FOLDER [CASE...]`
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from gradclip_cli import Recorder
from gradclip_cli.runs.store import RunDirectory

if keras.backend.backend() == "tensorflow":
    import tensorflow

    [device] = tensorflow.config.list_physical_devices("CPU")
    tensorflow.config.set_logical_device_configuration(device, [tensorflow.config.LogicalDeviceConfiguration()] * 2)

SAMPLES, BATCH = 64, 16
STEPS = SAMPLES // BATCH  # an epoch
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(SAMPLES, 6, 3)).astype("float32")
Y = RANDOM.integers(0, 4, SAMPLES)
FIT = {"x": X, "y": Y, "batch_size": BATCH, "epochs": 2, "verbose": 0, "shuffle": False}
LOSS = "sparse_categorical_crossentropy"


def small(optimizer: Any = None, *, kind: type[keras.Model] = keras.Model, **compiled: Any) -> keras.Model:
    """A model with dropout and batch norm, whose gradients are clipped on some of the steps."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 3))
    hidden = layers.Conv1D(5, 3, activation="tanh", name="conv")(inputs)
    hidden = layers.Dropout(0.2)(layers.BatchNormalization()(hidden))
    outputs = layers.Dense(4, activation="softmax", name="dense")(layers.Flatten()(hidden))
    model = kind(inputs, outputs)
    optimizer = optimizer or keras.optimizers.Adam(0.01, clipnorm=0.3)
    model.compile(optimizer, **{"loss": LOSS, "metrics": ["accuracy"], **compiled})
    return model


Made = Callable[[], keras.Model]
Case = Callable[[Path], dict[str, Any]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """One of those that are run."""
    CASES[function.__name__] = function
    return function


def case_on(*backends: str) -> Callable[[Case], Case]:
    """One that only some backends can run."""
    return case if keras.backend.backend() in backends else lambda function: function


def with_and_without(
    folder: Path, made: Made, fit: Mapping[str, Any] = FIT, recorder: Mapping[str, Any] | None = None, fits: int = 1
) -> dict[str, Any]:
    """Fit a model twice, once recorded: how far its variables and its optimizer's are apart, and what was recorded."""
    found = []
    for recorded in (False, True):
        model = made()
        given = list(fit.get("callbacks", []))
        callback = Recorder(str(folder / "seed-0"), **(recorder or {})) if recorded else None
        for _ in range(fits):
            model.fit(**{**fit, "callbacks": [*given, *([callback] if callback else [])]})
        found.append([ops.convert_to_numpy(v).astype("float64") for v in (*model.variables, *model.optimizer.variables)])
    without, with_it = found
    apart = max((float(np.abs(one - other).max(initial=0)) for one, other in zip(without, with_it, strict=True)), default=0.0)
    return {"apart": apart, "variables": len(without), **stored(folder)}


def stored(folder: Path) -> dict[str, Any]:
    """What stands in a run's directory."""
    run = RunDirectory.at(folder / "seed-0")
    metadata, config = run.stored()
    steps = run.steps()
    facts = (
        "status",
        "steps",
        "epochs",
        "every",
        "metrics",
        "evaluated",
        "variables",
        "clipped_steps",
        "replicas",
        "skipped_steps",
    )
    return {
        **{name: metadata.get(name) for name in facts},
        "clipping": config.clipping.model_dump(),
        "optimizer": config.optimizer.model_dump(),
        "framework": config.engine.framework,
        "loss": config.loss.name,
        "columns": list(run.metrics()),
        "table": run.metrics().to_dict("list"),
        "rows": {name: steps[name].tolist() for name in steps},
        "updates": run.steps(["step", "update_norm"])["update_norm"].tolist(),
    }


@case
def plain(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, small, {**FIT, "validation_data": (X[:16], Y[:16])})


@case
def unclipped(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, lambda: small(keras.optimizers.SGD(0.1, momentum=0.9)))


@case
def by_value(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, lambda: small(keras.optimizers.RMSprop(0.001, clipvalue=0.01)))


@case
def by_global_norm(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, lambda: small(keras.optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=0.4)))


@case
def eager(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, lambda: small(run_eagerly=True))


@case
def compiled(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, lambda: small(jit_compile=True))


@case
def as_a_graph(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, lambda: small(jit_compile=False))


@case_on("tensorflow", "jax")
def several_steps_a_call(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, lambda: small(steps_per_execution=3))


@case
def one_step_in_three(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, small, {**FIT, "epochs": 3}, {"every": 3})


@case
def accumulated(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, lambda: small(keras.optimizers.Adam(0.01, clipnorm=0.3, gradient_accumulation_steps=2)))


@case
def averaged(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, lambda: small(keras.optimizers.Adam(0.01, clipnorm=0.3, use_ema=True)))


@case
def scaled(folder: Path) -> dict[str, Any]:
    """A loss scale that is far too high at first: steps are skipped until it has come down."""

    def made() -> keras.Model:
        inner = keras.optimizers.Adam(0.01, clipnorm=0.3)
        scale = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**127, dynamic_growth_steps=100)
        return small(scale, loss_weights=[8.0])

    return with_and_without(folder, made)


@case
def with_a_schedule(folder: Path) -> dict[str, Any]:
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 8)
    return with_and_without(folder, lambda: small(keras.optimizers.SGD(schedule, clipnorm=0.3)))


@case
def recurrent(folder: Path) -> dict[str, Any]:
    def made() -> keras.Model:
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((6, 3)), layers.LSTM(5, name="lstm"), layers.Dense(4, activation="softmax")])
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.1), loss=LOSS)
        return model

    return with_and_without(folder, made)


class OwnStep(keras.Model):  # type: ignore[misc]  # Keras is not typed
    """A training step that hands the optimizer gradients of its own making."""

    def train_step(self, *given: Any) -> Any:
        return super().train_step(*given)


@case
def with_a_step_of_its_own(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, lambda: small(keras.optimizers.SGD(0.1), kind=OwnStep))


@case
def without_a_length(folder: Path) -> dict[str, Any]:
    """Batches from a generator."""

    def batches() -> Any:
        for start in (0, 16, 32):
            yield X[start : start + 16], Y[start : start + 16]

    ends = []
    for recorded in (False, True):
        model = small()
        model.fit(batches(), verbose=0, callbacks=[Recorder(str(folder / "seed-0"))] if recorded else [])
        ends.append([ops.convert_to_numpy(v) for v in model.trainable_variables])
    return {"apart": max(float(np.abs(a - b).max()) for a, b in zip(*ends, strict=True)), **stored(folder)}


@case_on("tensorflow")
def on_two_replicas(folder: Path) -> dict[str, Any]:
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        return with_and_without(folder, lambda: small(keras.optimizers.SGD(0.1, global_clipnorm=0.1)))


@case
def two_fits(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, small, fits=2)


@case
def later_epochs(folder: Path) -> dict[str, Any]:
    return with_and_without(folder, small, {**FIT, "initial_epoch": 1, "epochs": 3})


@case
def stopped_early(folder: Path) -> dict[str, Any]:
    stop = keras.callbacks.EarlyStopping("loss", patience=0, min_delta=10.0)
    return with_and_without(folder, small, {**FIT, "epochs": 9, "callbacks": [stop]})


@case
def two_outputs(folder: Path) -> dict[str, Any]:
    def made() -> keras.Model:
        keras.utils.set_random_seed(3)
        inputs = keras.Input((6, 3))
        hidden = layers.Flatten()(inputs)
        outputs = {
            "kind": layers.Dense(4, activation="softmax", name="kind")(hidden),
            "size": layers.Dense(1, name="size")(hidden),
        }
        model = keras.Model(inputs, outputs)
        model.compile("sgd", loss={"kind": LOSS, "size": "mse"}, metrics={"kind": ["accuracy"], "size": ["mae"]})
        return model

    return with_and_without(folder, made, {**FIT, "y": {"kind": Y, "size": X[:, 0, :1]}})


@case
def embedded(folder: Path) -> dict[str, Any]:
    """Gradients that are slices, and a layer that no output needs."""

    def made() -> keras.Model:
        keras.utils.set_random_seed(3)
        inputs = keras.Input((5,), dtype="int32")
        hidden = layers.GlobalAveragePooling1D()(layers.Embedding(20, 4, name="words")(inputs))
        model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="dense")(hidden))
        model.compile(keras.optimizers.Adam(0.01, clipnorm=0.01), loss=LOSS)
        return model

    return with_and_without(folder, made, {**FIT, "x": RANDOM.integers(0, 20, (SAMPLES, 5))})


@case
def in_half_precision(folder: Path) -> dict[str, Any]:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return with_and_without(folder, small)
    finally:
        keras.config.set_dtype_policy("float32")


@case
def diverging(folder: Path) -> dict[str, Any]:
    found = with_and_without(folder, lambda: small(keras.optimizers.SGD(1e30), loss="mse", metrics=[]), {**FIT, "y": X[:, 0, :1]})
    return {**found, "apart": 0.0 if math.isnan(found["apart"]) else found["apart"]}


@case
def saved(folder: Path) -> dict[str, Any]:
    """Checkpoints and a saved model, from within a recorded fit, beside BackupAndRestore: each loads as if nobody watched."""
    with tempfile.TemporaryDirectory() as there:
        ends = []
        for recorded in (False, True):
            path, kept = Path(there, f"{recorded}.keras"), Path(there, f"{recorded}.weights.h5")
            model = small()
            callbacks: list[Any] = [Recorder(str(folder / "seed-0"))] if recorded else []
            callbacks += [
                keras.callbacks.ModelCheckpoint(str(path)),
                keras.callbacks.BackupAndRestore(str(Path(there, "backup"))),
            ]
            callbacks += [keras.callbacks.ModelCheckpoint(str(kept), save_weights_only=True, save_freq=3)]
            model.fit(**{**FIT, "callbacks": callbacks})
            loaded, other = keras.models.load_model(path), small()
            other.optimizer.build(other.trainable_variables)
            other.load_weights(kept)
            ends.append([ops.convert_to_numpy(v) for m in (loaded, other) for v in (*m.variables, *m.optimizer.variables)])
        apart = max(float(np.abs(a - b).max()) for a, b in zip(*ends, strict=True))
        return {"apart": apart, "optimizer_steps": [int(m.optimizer.iterations) for m in (loaded, other)], **stored(folder)}


def regressed(
    folder: Path, scale: float, clipnorm: float | None, outputs: int = 2, *, constrained: bool = False
) -> dict[str, Any]:
    """Linear regression on targets of some size, and the same in NumPy: how far apart, relatively, what both say of a step is.

    Constrained, no weight of the kernel is negative.
    """
    keras.utils.set_random_seed(3)
    flat, targets = X.reshape(SAMPLES, -1), (scale * np.tile(X[:, 0, :2], outputs // 2)).astype("float32")
    dense = layers.Dense(outputs, kernel_initializer="zeros", kernel_constraint="non_neg" if constrained else None, name="dense")
    model = keras.Sequential([keras.Input((flat.shape[1],)), dense])
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9, clipnorm=clipnorm), loss="mse")
    model.fit(**{**FIT, "x": flat, "y": targets, "callbacks": [Recorder(str(folder / "seed-0"))]})
    weights, speed = ([np.zeros((flat.shape[1], outputs)), np.zeros(outputs)] for _ in range(2))
    expected = []
    for start in [*range(0, SAMPLES, BATCH)] * 2:
        x, y = flat[start : start + BATCH].astype(float), targets[start : start + BATCH].astype(float)
        error = x @ weights[0] + weights[1] - y
        gradients = [2 / outputs * x.T @ error / BATCH, 2 / outputs * error.mean(axis=0)]
        norms = [np.linalg.norm(gradient) for gradient in gradients]
        applied = [g * min(1, clipnorm / norm) if clipnorm else g for g, norm in zip(gradients, norms, strict=True)]
        speed = [0.9 * old - 0.5 * gradient for old, gradient in zip(speed, applied, strict=True)]
        before, weights = weights, [weight + change for weight, change in zip(weights, speed, strict=True)]
        weights[0] = np.maximum(weights[0], 0) if constrained else weights[0]
        moved = [new - old for new, old in zip(weights, before, strict=True)]
        joint = [np.hypot(*map(np.linalg.norm, parts)) for parts in (gradients, applied, moved)]
        expected.append([(error**2).mean(), *joint, *norms, *(np.abs(gradient).max() for gradient in gradients)])
    names = ["loss", "grad_norm", "applied_norm", "update_norm"]
    names += [f"{quantity}/dense/{name}" for quantity in ("norm", "max_abs") for name in ("kernel", "bias")]
    steps = RunDirectory.at(folder / "seed-0").steps(["step", *names])
    wrong = np.abs(steps[names].to_numpy() / np.array(expected) - 1)
    return {"apart": 0.0, "wrong": dict(zip(names, wrong.max(axis=0).tolist(), strict=True)), **stored(folder)}


@case
def measured(folder: Path) -> dict[str, Any]:
    return regressed(folder, 1.0, 0.4)


@case
def measured_where_weights_are_constrained(folder: Path) -> dict[str, Any]:
    return regressed(folder, 1.0, 0.4, constrained=True)


@case
def measured_of_many(folder: Path) -> dict[str, Any]:
    """More weights than are summed in float64 on each backend."""
    return regressed(folder, 1.0, 0.01, outputs=1000)


@case
def measured_of_many_where_squares_overflow(folder: Path) -> dict[str, Any]:
    return regressed(folder, 1e25, None, outputs=1000)


@case
def measured_where_squares_overflow(folder: Path) -> dict[str, Any]:
    return regressed(folder, 1e25, None)


@case
def measured_where_squares_vanish(folder: Path) -> dict[str, Any]:
    return regressed(folder, 1e-28, None)


@case
def restored(folder: Path) -> dict[str, Any]:
    """A fit that is interrupted, and its model's next one, which goes on from BackupAndRestore under a new recorder."""

    class Interrupting(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    ends = []
    for recorded in (False, True):
        with tempfile.TemporaryDirectory() as backup:
            model = small()
            for others in ([Interrupting()], []):
                callbacks: list[Any] = [keras.callbacks.BackupAndRestore(backup), *others]
                callbacks += [Recorder(str(folder / "seed-0"))] if recorded else []
                with contextlib.suppress(KeyboardInterrupt):
                    model.fit(**{**FIT, "epochs": 4, "callbacks": callbacks})
            ends.append([ops.convert_to_numpy(v) for v in (*model.variables, *model.optimizer.variables)])
    return {"apart": max(float(np.abs(a - b).max()) for a, b in zip(*ends, strict=True)), **stored(folder)}


def main(folder: str, *names: str) -> None:
    found: dict[str, Any] = {}
    for name in names or CASES:
        try:
            found[name] = CASES[name](Path(folder, name))
        except Exception:
            found[name] = {"error": traceback.format_exc()}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
