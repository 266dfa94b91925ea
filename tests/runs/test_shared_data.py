"""What a function of the user's own makes is made once for all workers of a command, and mapped by each."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICKEST, gradclip

from gradclip_cli.arrays import Array
from gradclip_cli.config import loading
from gradclip_cli.problems import problem_of
from gradclip_cli.problems.contract import Dataset
from gradclip_cli.runs.shared_data import SharedData

PROBLEM = problem_of(loading.load("none"))


def dataset() -> Dataset:
    """Arrays of all layouts: alone, named, in order, and not in one piece."""
    random = np.random.default_rng(0)
    images = random.normal(size=(40, 3, 5)).astype(np.float32)
    inputs = {"images": images[:, :, ::2], "sizes": np.asfortranarray(images[:, 0])}
    return Dataset(inputs, np.arange(40), (images[:7], images[7:14]), np.arange(7, dtype=np.uint8), "test", "abc", ("told",))


def arrays(of: Dataset) -> list[Array]:
    assert isinstance(of.train_inputs, dict)
    assert isinstance(of.evaluation_inputs, tuple)
    return [*of.train_inputs.values(), of.train_targets, *of.evaluation_inputs, of.evaluation_targets]


def test_one_makes_them_and_all_map_the_same(tmp_path: Path) -> None:
    made: list[int] = []

    def load() -> Dataset:
        made.append(1)
        return dataset()

    with ThreadPoolExecutor(4) as workers:
        found = list(workers.map(lambda _: SharedData(tmp_path).loaded(PROBLEM, load), range(8)))
    assert made == [1]
    for each in found:
        assert (each.evaluation_split, each.sha256, each.remarks) == ("test", "abc", ("told",))
        for one, other in zip(arrays(each), arrays(dataset()), strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            assert one.tobytes() == other.tobytes()
    whole = found[0].train_targets
    assert isinstance(whole, np.ndarray)
    assert whole.ctypes.data % 64 == 0  # as TensorFlow asks for, not to copy it
    whole[0] = 99  # a process of its own would not be seen either
    assert isinstance(found[1].train_targets, np.ndarray)
    assert found[1].train_targets[0] == 0
    assert {path.suffix for path in tmp_path.iterdir()} == {"", ".lock"}


def test_without_room_each_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    own = dataset()
    assert SharedData(tmp_path).loaded(PROBLEM, lambda: own) is own
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_what_can_t_be_made_is_tried_by_the_next(tmp_path: Path) -> None:
    def fail() -> Dataset:
        raise ValueError("no such sensor")

    shared = SharedData(tmp_path)
    with pytest.raises(ValueError, match="no such sensor"):
        shared.loaded(PROBLEM, fail)
    assert shared.loaded(PROBLEM, dataset).sha256 == "abc"


MODEL = {
    "tensorflow": "import keras\ndef build():\n    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])\n",
    "pytorch": "import torch\ndef build():\n    return torch.nn.Sequential(torch.nn.Linear(3, 1))\n",
}
LOAD = """
import numpy
def load():
    with open("calls", "a") as calls:
        calls.write("called\\n")
    return numpy.random.default_rng().normal(size=(40, 3)), numpy.zeros((40, 1))
"""


@pytest.mark.trains
@pytest.mark.slow
def test_workers_call_a_function_once_and_leave_nothing(tmp_path: Path) -> None:
    """Two arms in two processes; the function draws without a seed, and all runs have the same data."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "own.py").write_text(MODEL[QUICKEST] + LOAD)
    own = "data: {factory: 'own.py:load', batch_size: 8}\nmodel: {factory: 'own.py:build'}\nloss: mean_squared_error\n"
    for name, rate in (("slow", 0.01), ("quick", 0.1)):
        others = f"engine: {{framework: {QUICKEST}}}\noptimizer: {{name: sgd, learning_rate: {rate}}}\n"
        (tmp_path / f"{name}.yaml").write_text(f"{own}{others}training: {{epochs: 1, steps_per_epoch: 5}}\n")
    done = gradclip("run", "slow.yaml", "quick.yaml", "--seeds", "2", "--jobs", "2", cwd=tmp_path, TMPDIR=str(scratch))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text() == "called\n"
    assert list(scratch.glob("gradclip-*")) == []
    told = [json.loads(path.read_text()) for path in (tmp_path / "results").rglob("run.json")]
    assert len(told) == 4
    assert len({each["dataset_sha256"] for each in told}) == 1
