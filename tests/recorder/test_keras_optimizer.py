"""What a recorder holds on to in Keras, which is private there: that it is there, and what is said where it is not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradclip_cli.runs.store import RunDirectory

pytestmark = pytest.mark.trains

CALLED = {
    "apply": "takes a whole step, constraints and averages included",
    "_backend_apply_gradients": "is given the gradients and their variables",
    "_clip_gradients": "is given the gradients before clipping, and returns them after it",
    "_backend_update_step": "is given the gradients after clipping, and changes the variables",
}


def model(**methods: Any) -> Any:
    """A linear model, compiled with an optimizer of which some methods are others."""
    import keras

    kind = type("Other", (keras.optimizers.SGD,), methods)
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    made.compile(kind(0.1, clipnorm=0.1), loss="mse")
    return made


def fit(made: Any, *callbacks: Any) -> None:
    made.fit(np.ones((4, 2)), np.ones((4, 1)), batch_size=2, verbose=0, callbacks=list(callbacks))


@pytest.mark.parametrize("hook", CALLED)
def test_each_hook_is_called_once_a_step(hook: str) -> None:
    import keras

    def counted(self: Any, *args: Any) -> Any:
        calls.append(hook)
        return getattr(keras.optimizers.SGD, hook)(self, *args)

    calls: list[str] = []
    made = model(**{hook: counted})
    made.run_eagerly = True
    fit(made)
    broke = (
        f"Keras {keras.__version__} no longer calls {hook}, which {CALLED[hook]}: gradclip's Recorder can't see gradients there"
    )
    assert len(calls) == 2, broke


def test_the_hooks_are_those_that_a_recorder_needs() -> None:
    from gradclip_cli.recorder.keras_optimizer import HOOKS

    assert tuple(CALLED) == HOOKS


@pytest.mark.parametrize("hook", CALLED)
def test_without_a_hook_a_recorder_refuses(hook: str, tmp_path: Path) -> None:
    from gradclip_cli import Recorder

    made, recorder = model(), Recorder(str(tmp_path / "mine" / "seed-0"))
    made.optimizer.__dict__[hook] = None  # as a method of another release that has another name
    recorder.set_model(made)
    with pytest.warns(RuntimeWarning, match=f"Other of Keras .* has no {hook}, which a recorder watches"):
        recorder.on_train_begin()
    assert not (tmp_path / "mine").exists()


def test_what_can_t_be_measured_ends_the_recording_and_not_the_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradclip_cli import Recorder
    from gradclip_cli.recorder.keras_backends import OnTensorFlow

    def broken(self: Any, *args: Any) -> Any:
        raise ZeroDivisionError("mine")

    monkeypatch.setattr(OnTensorFlow, "changes", broken)
    made, recorder = model(), Recorder(str(tmp_path / "mine" / "seed-0"))
    with pytest.warns(RuntimeWarning, match="records nothing more of this training, which goes on: mine"):
        fit(made, recorder)
    assert int(made.optimizer.iterations) == 2
    run = RunDirectory.at(tmp_path / "mine" / "seed-0")
    assert (run.metadata()["status"], run.metadata()["reason"]) == ("failed", "recording stopped: mine")
    assert not set(made.optimizer.__dict__) & {*CALLED, "_gradclip_watch"}
    fit(made)  # with nothing attached any more
    assert int(made.optimizer.iterations) == 4


@pytest.mark.parametrize("given", [{"every": 0}, {"folder": "a b/seed-0"}, {"folder": None}])
def test_mistakes_are_told_before_anything_is_trained(given: dict[str, Any]) -> None:
    from gradclip_cli import Recorder

    with pytest.raises(ValueError, match=r"every is a number of steps|can't be an arm's name|say where to record"):
        Recorder(**{"folder": "mine/seed-0", **given})


def test_a_step_that_takes_no_optimizer_is_told(tmp_path: Path) -> None:
    import keras

    from gradclip_cli import Recorder

    class Idle(keras.Model):  # type: ignore[misc]  # Keras is not typed
        def train_step(self, data: Any) -> dict[str, float]:
            return {"loss": 1.0}

    inputs = keras.Input((2,))
    made = Idle(inputs, keras.layers.Dense(1)(inputs))
    made.compile("sgd", loss="mse")
    with pytest.warns(RuntimeWarning, match="the model's own optimizer took no step"):
        fit(made, Recorder(str(tmp_path / "mine" / "seed-0")))
    assert RunDirectory.at(tmp_path / "mine" / "seed-0").metadata()["status"] == "failed"


def _own_optimizer() -> Any:
    """One that changes a variable twice, once without saying so."""
    import keras

    class Twice(keras.optimizers.SGD):  # type: ignore[misc]  # Keras is not typed
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate)
            variable.assign(variable * 0.5)

    return Twice(0.1)


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda keras: keras.optimizers.SGD(0.1),
    "momentum": lambda keras: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda keras: keras.optimizers.Adam(0.1),
    "decay": lambda keras: keras.optimizers.AdamW(0.1, weight_decay=0.1),
    "a new value": lambda keras: keras.optimizers.Ftrl(0.1),
    "accumulated": lambda keras: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
    "own": lambda keras: _own_optimizer(),
    "averaged": lambda keras: keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2),
    "constrained": lambda keras: keras.optimizers.SGD(0.1),
}
OTHERS = ("RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Adafactor", "Lion", "Lamb", "Muon", "ScheduleFreeAdamW")


@pytest.mark.parametrize("kind", [*OPTIMIZERS, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_the_recorded_update_is_what_the_weights_changed_by(kind: str, tmp_path: Path) -> None:
    """Whatever an optimizer does to change them; rows of an embedding are looked up twice."""
    import keras

    from gradclip_cli import Recorder

    keras.utils.set_random_seed(0)
    short = keras.constraints.MaxNorm(0.3) if kind == "constrained" else None
    layers = [keras.layers.Embedding(5, 3), keras.layers.Flatten(), keras.layers.Dense(4, kernel_constraint=short)]
    made = keras.Sequential([keras.Input((4,), dtype="int32"), *layers, keras.layers.Dense(1)])
    make = OPTIMIZERS.get(kind)
    made.compile(make(keras) if make else getattr(keras.optimizers, kind)(0.1), loss="mse")
    weights: list[list[Any]] = []
    seen = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: weights.append(made.get_weights()))
    weights.append(made.get_weights())
    inputs = np.array([[0, 1, 1, 2], [3, 3, 3, 0], [1, 2, 0, 1], [4, 4, 2, 2]], np.int32)
    made.fit(inputs, np.ones((4, 1)), batch_size=1, verbose=0, callbacks=[seen, Recorder(str(tmp_path / "mine" / "seed-0"))])
    moved = [np.sqrt(sum(np.square(new - old).sum() for new, old in zip(*pair, strict=True))) for pair in pairwise(weights)]
    expected = [each for each in moved if each]  # a step may take several batches
    recorded = RunDirectory.at(tmp_path / "mine" / "seed-0").steps(["update_norm"])["update_norm"]
    assert len(expected) == (2 if kind == "accumulated" else 4)
    np.testing.assert_allclose(recorded, expected, rtol=1e-5)


def test_an_optimizer_may_be_applied_as_its_own_code_says(tmp_path: Path) -> None:
    """Here with an argument that Keras's have not, and twice a step, of which each is recorded."""
    import keras

    from gradclip_cli import Recorder

    class Scaled(keras.optimizers.SGD):  # type: ignore[misc]  # Keras is not typed
        def apply(self, grads: Any, trainable_variables: Any = None, *, scale: float = 1.0) -> Any:
            return super().apply([scale * gradient for gradient in grads], trainable_variables)

        def apply_gradients(self, grads_and_vars: Any) -> Any:
            gradients, variables = zip(*grads_and_vars, strict=True)
            self.apply(gradients, variables, scale=0.5)
            return self.apply(grads=gradients, trainable_variables=variables)

    made = model()
    made.compile(Scaled(0.1), loss="mse")
    fit(made, Recorder(str(tmp_path / "mine" / "seed-0")))
    norms = RunDirectory.at(tmp_path / "mine" / "seed-0").steps(["grad_norm"])["grad_norm"]
    np.testing.assert_allclose(norms[1::2], 2 * norms[::2], rtol=1e-5)
    assert (len(norms), int(made.optimizer.iterations)) == (4, 4)


def test_models_that_begin_alike_say_so_whatever_keras_calls_their_layers(tmp_path: Path) -> None:
    """One after another in one process, with layers that draw."""
    import keras

    from gradclip_cli import Recorder

    def made(seed: int) -> Any:
        keras.utils.set_random_seed(seed)
        layers = [keras.layers.SimpleRNN(3, dropout=0.1), keras.layers.Dropout(0.1), keras.layers.Dense(1)]
        found = keras.Sequential([keras.Input((2, 1)), *layers])
        found.compile("sgd", loss="mse")
        return found

    for name, seed in {"one": 0, "other": 0, "another": 1}.items():
        made(seed).fit(np.ones((4, 2, 1)), np.ones((4, 1)), verbose=0, callbacks=[Recorder(str(tmp_path / name / "seed-0"))])
    runs = [RunDirectory.at(tmp_path / name / "seed-0") for name in ("one", "other", "another")]
    one, other, another = (run.metadata()["initial_weights_sha256"] for run in runs)
    assert one == other
    assert one != another
    assert runs[0].metadata()["variables"] == runs[1].metadata()["variables"]
    assert runs[0].config().model == runs[1].config().model
