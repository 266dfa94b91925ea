"""Fits that are watched: nothing changes, and each of Keras's backends tells the same. The fits are in `keras_loops.py`."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gradclip_cli.runs.store import RunDirectory

PAGE = Path(__file__).parents[2] / "docs" / "recording.md"
LOOPS = Path(__file__).with_name("keras_loops.py")
QUICK = ("plain", "measured", "saved")
NEEDS = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
JAX = Path(sys.prefix) / "jax"
"""Where `make install-all` puts it: Keras would import it into all other tests too."""
ROUNDED_OTHERWISE = {
    ("tensorflow", "unclipped"),  # momentum in a graph, of which TensorFlow joins operations whose results nothing else reads
    ("tensorflow", "recurrent"),
    ("torch", "compiled"),  # what is measured is left out of what is compiled, which makes it two parts
}
"""Where a compiler rounds otherwise since more is computed: up to 1e-6 apart, not the same bytes."""
STEPS = {
    "one_step_in_three": 12,
    "accumulated": 4,
    "without_a_length": 3,
    "two_fits": 16,
}
"""All others take 8 steps."""
RULES = {
    "unclipped": "none",
    "two_outputs": "none",
    "diverging": "none",
    "measured_where_squares_overflow": "none",
    "measured_of_many_where_squares_overflow": "none",
    "measured_where_squares_vanish": "none",
    "by_value": "clipvalue",
    "by_global_norm": "global_clipnorm",
    "recurrent": "global_clipnorm",
    "on_two_replicas": "global_clipnorm",
    "with_a_step_of_its_own": "unknown",
}
"""All others clip each variable's norm."""


def environment(backend: str) -> dict[str, str]:
    """Of a process in which Keras has this backend; skips the test where it is not installed."""
    beside = [str(JAX)] if backend == "jax" and JAX.is_dir() else []
    if not beside and importlib.util.find_spec(NEEDS[backend]) is None:
        pytest.skip(f"{NEEDS[backend]} is not installed")
    path = os.pathsep.join([*beside, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": path}


@functools.cache
def recorded(backend: str, folder: Path, *cases: str) -> dict[str, Any]:
    """What became of some fits on a backend, or of all."""
    command = [sys.executable, str(LOOPS), str(folder / backend), *cases]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment(backend))
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    broken = {name: case["error"] for name, case in found.items() if "error" in case}
    assert not broken, "\n".join(f"{name}: {error}" for name, error in broken.items())
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recorded")


@pytest.fixture(
    params=[
        pytest.param(("tensorflow", *QUICK), marks=pytest.mark.trains, id="tensorflow-quick"),
        *(pytest.param((backend,), marks=[pytest.mark.trains, pytest.mark.slow], id=backend) for backend in NEEDS),
    ]
)
def fits(request: pytest.FixtureRequest, folder: Path) -> tuple[str, dict[str, Any]]:
    """A backend, and the fits on it."""
    backend, *cases = request.param
    return backend, recorded(backend, folder / str(len(cases)), *cases)


def test_weights_and_optimizer_are_the_same_bytes(fits: tuple[str, dict[str, Any]]) -> None:
    backend, found = fits
    apart = {name: case["apart"] for name, case in found.items() if case["apart"]}
    assert {(backend, name) for name in apart} <= ROUNDED_OTHERWISE
    assert max(apart.values(), default=0.0) <= 1e-6


def test_a_row_is_a_step_of_the_optimizer(fits: tuple[str, dict[str, Any]]) -> None:
    _, found = fits
    for name, case in found.items():
        steps = STEPS.get(name, 8) - (case["skipped_steps"] or 0)
        assert case["steps"] == steps, name
        assert case["rows"]["step"] == list(range(case["every"], steps + 1, case["every"])), name
        assert case["status"] == ("diverged" if name == "diverging" or "overflow" in name else "complete"), name


def test_what_is_known_of_optimizer_and_clipping_is_said(fits: tuple[str, dict[str, Any]]) -> None:
    backend, found = fits
    for name, case in found.items():
        assert case["clipping"]["mode"] == RULES.get(name, "clipnorm"), name
        assert case["framework"] == backend
        assert all(value is not None for value in case["clipped_steps"].values())
    assert found["plain"]["optimizer"]["name"] == "Adam"
    assert found["plain"]["optimizer"]["learning_rate"] == pytest.approx(0.01)
    assert found["plain"]["loss"] == "sparse_categorical_crossentropy"
    assert found["plain"]["variables"] == [
        *("conv/kernel", "conv/bias"),
        *("batch_normalization/gamma", "batch_normalization/beta"),
        *("dense/kernel", "dense/bias"),
    ]


def test_norms_losses_and_updates_are_those_of_numpy(fits: tuple[str, dict[str, Any]]) -> None:
    _, found = fits
    for name, case in found.items():
        if "wrong" in case:
            wrong = {what: by for what, by in case["wrong"].items() if what != "loss" or "where" not in name}
            assert max(wrong.values()) < 1e-5, name  # float32 rounds the training itself


def test_clipped_norms_are_no_larger_than_the_threshold(fits: tuple[str, dict[str, Any]]) -> None:
    _, found = fits
    for name in ("plain", "measured"):
        rows, limit = found[name]["rows"], found[name]["clipping"]["threshold"]
        joint = limit * len(found[name]["variables"]) ** 0.5
        assert max(rows["applied_norm"]) <= joint * (1 + 1e-5)
        assert max(rows["grad_norm"]) > joint
        acted = [before > after * (1 + 1e-5) for before, after in zip(rows["grad_norm"], rows["applied_norm"], strict=True)]
        assert acted == [bool(clipped) for clipped in rows["clipped"]]


def test_epochs_have_the_logs_of_fit(fits: tuple[str, dict[str, Any]]) -> None:
    _, found = fits
    plain = found["plain"]
    assert plain["columns"][:5] == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert plain["metrics"] == {"accuracy": {"higher_is_better": True}}
    for epoch, loss in enumerate(plain["table"]["loss"]):  # a mean over the epoch's steps, whose losses are told one by one
        assert sum(plain["rows"]["loss"][4 * epoch : 4 * epoch + 4]) / 4 == pytest.approx(loss, rel=1e-5)


def test_checkpoints_know_nothing_of_it(fits: tuple[str, dict[str, Any]]) -> None:
    """That they load with the same bytes is asked of all."""
    assert fits[1]["saved"]["optimizer_steps"] == [8, 6]


def test_cases_that_are_special(fits: tuple[str, dict[str, Any]]) -> None:
    backend, found = fits
    if len(found) == len(QUICK):
        pytest.skip("they are among the slow ones")
    assert 1 <= found["scaled"]["skipped_steps"] <= 7
    assert found["in_half_precision"]["skipped_steps"] is not None
    assert found["two_fits"]["epochs"] == 4
    assert found["stopped_early"]["epochs"] == 2
    assert found["later_epochs"]["epochs"] == 2
    assert found["restored"]["epochs"] == 2
    assert set(found["two_outputs"]["columns"]) >= {"kind_accuracy", "kind_loss", "size_mae", "size_loss"}
    if backend == "tensorflow":
        assert found["on_two_replicas"]["replicas"] == 2


MODEL = """
import keras
import numpy as np

keras.utils.set_random_seed(0)
x = np.random.default_rng(0).random((64, 8, 2), "float32")
y = x.sum((1, 2))[:, None]
model = keras.Sequential([keras.Input((8, 2)), keras.layers.LSTM(4), keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.02, clipnorm=1.0), "mean_squared_error")
"""


@pytest.mark.trains
@pytest.mark.slow
@pytest.mark.parametrize("backend", NEEDS)
def test_the_lines_that_the_page_gives_to_paste_record_a_fit_on_each_backend(backend: str, tmp_path: Path) -> None:
    """docs/recording.md shows them on TensorFlow."""
    lines = re.findall(r"```python\n(from gradclip_cli import Recorder\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    script = tmp_path / "train.py"
    script.write_text(MODEL + lines[0])
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment(backend), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "RuntimeWarning" not in done.stderr  # which is how a recorder gives up
    run = RunDirectory.at(tmp_path / "results" / "keras" / "seed-0")
    metadata, steps = run.metadata(), run.steps(["grad_norm", "applied_norm", "clipped"])
    assert (metadata["status"], metadata["epochs"], metadata["steps"]) == ("complete", 8, 16)
    assert backend in metadata["versions"]
    assert run.config().clipping.mode == "clipnorm"
    assert (steps["clipped"] == 1).any()
    assert (steps["applied_norm"][steps["clipped"] == 1] < steps["grad_norm"][steps["clipped"] == 1]).all()
