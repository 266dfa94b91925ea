"""What a user may give wrongly: each is told so that he can mend it, with its exit code, and nothing that was stored is lost."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from conftest import call, contents, needs_pytorch
from own_models import write_problem

from gradclip_cli.errors import ExitCode

Array = np.ndarray[Any, Any]
trains = pytest.mark.trains


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCLIP_CACHE", str(tmp_path / "cache"))


def run(path: Path, *arguments: str) -> Result:
    return call("run", str(path), "--results", str(path.parent / "results"), *arguments)


def failed(path: Path, *told: str) -> str:
    """What is told of a config whose run fails; no run is left complete."""
    ended = run(path)
    assert ended.exit_code == ExitCode.FAILED, ended.stdout + ended.stderr
    for text in told:
        assert text in ended.stderr
    assert "fault in gradclip" not in ended.stderr
    assert not [file for file in path.parent.glob("results/*/*/run.json") if json.loads(file.read_text())["status"] == "complete"]
    return ended.stderr


# Known before anything is imported.


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"model": {"factory": "modle.py:build"}}, ["no file", "modle.py; did you mean 'model.py'?"]),
        ({"model": {"file": "mine.keras"}}, ["model.file: ", "mine.keras: no such file"]),
        ({"data": {"factory": "data.load"}}, ["data.factory: 'data.load' is neither FILE.py:function nor", "write data:load"]),
        ({"model": {"factory": "model.py:build", "file": "a.keras"}}, ["give one of factory and file, not 2"]),
        ({"data": {"npz": "a.npz", "args": {"samples": 3}}}, ["args are a factory's; an npz file takes none"]),
    ],
)
def test_what_the_config_alone_shows_is_a_mistake(keys: dict[str, Any], told: list[str], tmp_path: Path) -> None:
    ended = run(write_problem(tmp_path, **keys), "--dry-run")
    assert ended.exit_code == ExitCode.MISTAKEN
    for text in told:
        assert text in ended.stderr
    assert not (tmp_path / "results").exists()


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return write_problem(folder, data={"npz": "data.npz", "batch_size": 4})


X, Y = np.zeros((6, 4), np.float32), np.arange(6) % 3


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"a": X, "b": Y}, "lacks x_train and y_train (it holds a, b)"),
        ({"x_train": X}, "lacks y_train"),
        ({"x_train": np.array([[1], [1, 2]], dtype=object), "y_train": Y[:2]}, "x_train holds Python objects"),
        ({"x_train": X, "y_train": Y[:5]}, "x_train has 6 samples but y_train 5"),
        (
            {"x_train": X, "y_train": Y, "x_test": X[:, :3], "y_test": Y},
            "x_train has samples of the shape (4,) but x_test of (3,)",
        ),
        ({"x_train": X, "y_train": np.array(list("abcabc"))}, "y_train holds texts; encode them as numbers"),
        ({"x_train": X, "y_train": np.full(6, np.nan)}, "y_train holds 6 values that are NaN or infinite"),
    ],
)
def test_an_npz_that_cannot_be_trained_on_is_told_before_a_framework_is_imported(
    arrays: dict[str, Array], told: str, tmp_path: Path
) -> None:
    failed(saved(tmp_path, **arrays), "data.npz: ", told)


def test_an_npz_that_is_none_or_missing(tmp_path: Path) -> None:
    path = write_problem(tmp_path, data={"npz": "data.npz"})
    (tmp_path / "data.npy").write_text("")
    failed(path, "data.npz: no such file; did you mean 'data.npy'?")
    (tmp_path / "data.npz").write_text("no")
    failed(path, "data.npz: is not an npz file; make one with np.savez")


def test_two_configs_of_one_name_are_two_arms(tmp_path: Path) -> None:
    other = "\n\ndef other():\n    return build(7)\n"
    first = write_problem(tmp_path, other)
    second = tmp_path / "sub" / "mine.yaml"
    second.parent.mkdir()
    second.write_text(first.read_text().replace("model.py:", "../model.py:").replace(":build", ":other"))
    ended = run(first, str(second), "--dry-run")
    assert ended.exit_code == ExitCode.MISTAKEN
    assert "its name 'mine' is taken by another config" in ended.stderr
    assert "model.py:build and ../model.py:other" in ended.stderr


def test_paths_begin_where_they_are_said_wherever_the_command_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_problem(tmp_path / "problem")
    (tmp_path / "elsewhere").mkdir()
    extending = tmp_path / "elsewhere" / "longer.yaml"
    extending.write_text("extends: ../problem/mine.yaml\ntraining: {epochs: 2, steps_per_epoch: 3}\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    for given in (os.path.relpath(path), str(extending), "longer.yaml"):
        ended = call("run", given, "--dry-run", "--results", str(tmp_path / "results"))
        assert ended.exit_code == ExitCode.DONE, ended.stderr
    (tmp_path / "problem" / "model.py").unlink()
    assert f"no file {tmp_path}/problem/model.py" in call("run", "longer.yaml", "--dry-run").stderr


# A factory's.


def model(body: str) -> str:
    """A factory with a body, each line indented once."""
    return f"\n\ndef build():\n{body}"


@trains
@pytest.mark.parametrize(
    ("code", "told"),
    [
        (model("    raise ValueError('bad')\n"), ["model.py:build: it raised ValueError", "raise ValueError('bad')"]),
        (model("    pass\n"), ["it returned None (is a `return` missing?) where a keras.Model was needed"]),
        (model("    return 1, 2\n"), ["it returned a tuple of 2 where a keras.Model was needed"]),
        (model("    return keras.Sequential\n"), ["it returned the class Sequential (did you forget to call it?)"]),
        (
            "\n\nbuilt = [3]\n"
            + model("    built[0] += 1\n    return keras.Sequential([layers.Dense(built[0]), layers.Dense(3)])\n"),
            ["built twice, it has other variables: dense/kernel (4, 4), then (4, 5)"],
        ),
        (
            model("    frozen = keras.Sequential([layers.Dense(3)])\n    frozen.trainable = False\n    return frozen\n"),
            ["no variable of the model is trainable"],
        ),
        (model("    return keras.Sequential([layers.Flatten()])\n"), ["no variable of the model is trainable"]),
        (
            "\n\nclass Mine(keras.Sequential):\n    def train_step(self, data):\n        return {}\n"
            + model("    return Mine([layers.Dense(3)])\n"),
            ["its class has a train_step of its own"],
        ),
        (
            "\n\ndef load():\n    return (np.zeros((6, 4)), np.arange(6) + 1), (np.zeros((6, 4)), np.arange(6))\n",
            ["train targets go from 1 to 6, but the model has 3 outputs, for classes from 0 to 2"],
        ),
        (
            "\n\ndef load():\n    return (np.zeros((6, 4)), np.arange(6) % 3), (np.zeros((6, 4)), np.arange(6) - 1)\n",
            ["evaluation targets go from -1 to 4, but the model has 3 outputs"],
        ),
        (
            "\n\ndef load():\n    import tensorflow as tf\n\n"
            "    return tf.data.Dataset.from_tensor_slices((np.zeros((6, 4)), np.arange(6))).repeat()\n",
            ["its train dataset has no end; leave out .repeat(), or give it .take(n)"],
        ),
        ("\n\ndef load():\n    return 3\n", ["model.py:load: returned ", "it must return ((x_train, y_train)"]),
    ],
)
def test_what_a_factory_does_wrongly_is_told(code: str, told: list[str], tmp_path: Path) -> None:
    shown = failed(write_problem(tmp_path, code), *told)
    assert "/gradclip_cli/" not in shown, "the traceback is the user's"


@trains
@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            {"model": {"factory": "model.py:biuld"}},
            ["no function biuld in", "did you mean 'build'? Functions there: load, build"],
        ),
        ({"model": {"factory": "model.py:build", "args": {"unit": 3}}}, ["unknown argument 'unit'; did you mean 'units'?"]),
        ({"loss": {"name": "mean_squared_errors"}}, ["loss.name: Keras has no loss mean_squared_errors. Known: "]),
        ({"loss": {"name": "huber", "delat": 2}}, ["loss.delat: huber has no such argument; it takes delta"]),
        ({"loss": None}, ["loss: the model was not compiled with one; write loss: {name: mean_squared_error}"]),
        ({"optimizer": None}, ["optimizer: the model was not compiled with one; write optimizer: {name: adam"]),
        ({"metrics": ["acuracy"]}, ["metrics: Keras has no metric acuracy; or write FILE.py:function"]),
        (
            {"loss": {"name": "categorical_crossentropy"}},
            ["categorical_crossentropy doesn't fit the model's outputs (2, 3), targets (2,)"],
        ),
    ],
)
def test_what_a_config_says_wrongly_of_its_functions_is_told(keys: dict[str, Any], told: list[str], tmp_path: Path) -> None:
    failed(write_problem(tmp_path, **keys), *told)


@trains
def test_labels_that_the_loss_leaves_out_may_be_any(tmp_path: Path) -> None:
    load = "\n\ndef load():\n    return (np.zeros((9, 4)), np.arange(9) % 4 - 1), (np.zeros((6, 4)), np.arange(6) % 3)\n"
    loss = {"name": "sparse_categorical_crossentropy", "from_logits": True, "ignore_class": -1}
    ended = run(write_problem(tmp_path, load, loss=loss))
    assert ended.exit_code == ExitCode.DONE, ended.stderr
    failed(write_problem(tmp_path / "all", load), "train targets go from -1 to 2")


@trains
def test_a_saved_model_that_is_none_or_has_code_of_its_own(tmp_path: Path) -> None:
    path = write_problem(tmp_path, model={"file": "mine.keras"})
    (tmp_path / "mine.keras").write_text("no")
    failed(path, "mine.keras: is no saved Keras model; write one with model.save('mine.keras')")

    import keras

    twice = keras.layers.Lambda(lambda values: 2 * values)
    keras.Sequential([keras.Input((4,)), twice, keras.layers.Dense(3)]).save(tmp_path / "mine.keras")
    failed(path, "mine.keras: Keras can't load it: it has a Lambda layer, whose code only a factory can give")


PRINTING = """

class Printing(keras.Model):
    def __init__(self):
        super().__init__()
        self.out = layers.Dense(3)

    def call(self, inputs):
        print("CALLED")
        return self.out(inputs)


def build():
    print("BUILT")
    return Printing()
"""


@trains
def test_what_a_model_prints_stays_off_stdout(tmp_path: Path) -> None:
    ended = run(write_problem(tmp_path, PRINTING), "--json")
    assert ended.exit_code == ExitCode.DONE, ended.stderr
    assert [each["status"] for each in json.loads(ended.stdout)["runs"]] == ["complete"]
    assert "BUILT" in ended.stderr
    assert "CALLED" in ended.stderr


@trains
def test_an_import_that_takes_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradclip_cli.problems.own import code

    monkeypatch.setattr(code, "SLOW_IMPORT", 0.1)
    path = write_problem(tmp_path, "\n\nimport time\n\ntime.sleep(0.5)\n" + model("    return None\n"))
    failed(path, "model.py is still being imported after 0 s: does it train on import?")


@needs_pytorch
@pytest.mark.slow
@trains
def test_a_network_of_the_other_framework_is_told_where_it_trains(tmp_path: Path) -> None:
    torch = model("    import torch\n\n    return torch.nn.Linear(4, 3)\n")
    failed(write_problem(tmp_path / "torch", torch), "a PyTorch module, which engine: {framework: pytorch} trains")
    path = write_problem(tmp_path / "keras", engine={"framework": "pytorch"})
    failed(path, "a Keras model, which engine: {framework: tensorflow} trains")


# What was stored.


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config that was trained with one seed."""
    path = saved(tmp_path_factory.mktemp("stored"), x_train=X, y_train=Y, x_test=X, y_test=Y)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GRADCLIP_CACHE", str(path.parent / "cache"))
        ended = run(path)
    assert ended.exit_code == ExitCode.DONE, ended.stderr
    return path


def altered(file: Path, change: Callable[[], object], *arguments: str, path: Path) -> Result:
    """What a run says after a change of a file, which is then put back."""
    before = file.read_bytes()
    change()
    try:
        return run(path, *arguments)
    finally:
        file.write_bytes(before)
        os.utime(file, ns=(time.time_ns(), time.time_ns()))


@trains
def test_changed_code_is_another_config(stored: Path) -> None:
    there = contents(stored.parent / "results")
    code = stored.parent / "model.py"
    for arguments in ((), ("--dry-run",), ("--seeds", "2")):
        ended = altered(code, lambda: code.write_text(code.read_text().replace("units=4", "units=5")), *arguments, path=stored)
        assert ended.exit_code == ExitCode.FAILED
        assert "the code behind its model has changed" in ended.stderr
        assert "give yours another name, or replace the run with --force" in ended.stderr
    assert contents(stored.parent / "results") == there


@trains
def test_changed_data_are_another_arm_s(stored: Path) -> None:
    """One arm's seeds must have seen the same data."""
    there = contents(stored.parent / "results" / "mine" / "seed-0")
    data = stored.parent / "data.npz"
    ended = altered(data, lambda: np.savez(data, x_train=X + 1, y_train=Y, x_test=X, y_test=Y), "--seeds", "2", path=stored)
    assert ended.exit_code == ExitCode.FAILED
    assert "seed-0: was trained on other data (their SHA-256 differs); put the data back" in ended.stderr
    assert not (stored.parent / "results" / "mine" / "seed-1" / "metrics.csv").exists()
    assert contents(stored.parent / "results" / "mine" / "seed-0") == there
    assert run(stored, "--seeds", "2").exit_code == ExitCode.DONE, "put back, they are the arm's"
