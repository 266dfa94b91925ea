"""The examples: data that is the same each time, in the shapes that are told, and models that can be trained on it."""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from gradclip_cli.config import loading
from gradclip_cli.problems import identified
from gradclip_cli.runs import loop
from gradclip_cli.runs.one import Workshop
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.trainers import Task

pytestmark = pytest.mark.trains  # each of them imports Keras
EXAMPLES = Path(__file__).parents[2] / "examples"
BATCH = 8


@dataclass(frozen=True)
class Example:
    """What an example's `load` and `build` are called with, and the shapes that must come out, without the samples."""

    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    outputs: tuple[int, ...]
    samples: tuple[int, int]
    load: dict[str, Any] = field(default_factory=dict)
    build: dict[str, Any] = field(default_factory=dict)


FEW = {"length": 10, "train": 20, "test": 12}
EXPECTED = {
    "temporal_order": Example((10,), (), (4,), (20, 12), FEW, {"length": 10, "units": 3}),
    "adding": Example((10, 2), (1,), (1,), (20, 12), FEW, {"length": 10, "units": 3}),
    "characters": Example((9,), (9,), (9, 128), (99, 11), {"length": 9, "characters": 1_000}, {"length": 9, "units": 3}),
    "convolutions": Example((28, 28, 1), (), (10,), (5_000, 1_000), {}, {"filters": 2}),
    "transformer": Example((10,), (10,), (10, 10), (20, 12), FEW, {"length": 10, "width": 8, "heads": 2, "depth": 1}),
    "table": Example((10,), (1,), (1,), (352, 90), {}, {"units": 3}),
}
each_example = pytest.mark.parametrize("name", EXPECTED)


def module(name: str) -> ModuleType:
    """An example's model.py, as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / name / "model.py")
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_each_example_is_tested() -> None:
    assert {path.parent.name for path in EXAMPLES.glob("*/model.py")} == set(EXPECTED)


@each_example
def test_data_has_the_shapes_that_are_told_and_is_the_same_each_time(name: str) -> None:
    expected, example = EXPECTED[name], module(name)
    loaded, again = example.load(**expected.load), example.load(**expected.load)
    for (inputs, targets), repeated, samples in zip(loaded, again, expected.samples, strict=True):
        assert inputs.shape == (samples, *expected.inputs)
        assert targets.shape == (samples, *expected.targets)
        np.testing.assert_array_equal(inputs, repeated[0])
        np.testing.assert_array_equal(targets, repeated[1])
    assert not np.array_equal(loaded[0][0][:12], loaded[1][0][:12]), "the test set is another one"


@each_example
def test_a_model_has_a_finite_loss_that_one_seed_gives_again(name: str) -> None:
    import keras

    expected, example = EXPECTED[name], module(name)
    inputs, targets = (values[:BATCH] for values in example.load(**expected.load)[0])
    settings = dict(yaml.safe_load((EXAMPLES / name / "config.yaml").read_text())["loss"])
    settings["class_name"] = {"mean_squared_error": "MeanSquaredError"}.get(settings["name"], "SparseCategoricalCrossentropy")
    loss = keras.losses.get({"class_name": settings.pop("class_name"), "config": settings})
    losses = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        outputs = example.build(**expected.build)(inputs, training=True)
        assert outputs.shape == (BATCH, *expected.outputs)
        losses.append(float(loss(targets, outputs)))
    assert math.isfinite(losses[0])
    assert losses[0] == losses[1]


def test_the_two_relevant_symbols_make_the_class() -> None:
    symbols, classes = module("temporal_order").load(train=500, test=1)[0]
    relevant = [row[row < 2] for row in symbols]
    assert [2 * first + second for first, second in relevant] == classes.tolist()
    assert set(classes.tolist()) == {0, 1, 2, 3}


def test_a_sequence_has_a_mark_in_each_half_and_their_numbers_sum() -> None:
    inputs, sums = module("adding").load(train=500, test=1)[0]
    numbers, marks = inputs[..., 0], inputs[..., 1]
    assert (marks[:, :15].sum(axis=1) == 1).all()
    assert (marks[:, 15:].sum(axis=1) == 1).all()
    np.testing.assert_allclose(sums[:, 0], (numbers * marks).sum(axis=1), rtol=1e-6)


def test_targets_are_the_characters_that_follow() -> None:
    inputs, targets = module("characters").load(characters=10_000)[0]
    np.testing.assert_array_equal(inputs.ravel()[1:], targets.ravel()[:-1])


def test_each_patient_is_in_one_of_the_two_parts_with_what_was_measured() -> None:
    (features, targets), (tested, tested_targets) = module("table").load()
    rows = np.concatenate([np.hstack([features, targets]), np.hstack([tested, tested_targets])])
    expected = np.hstack(module("table").table())
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])
    assert (rows[:, -1].min(), rows[:, -1].max()) == (25, 346)


def test_features_are_scaled_as_the_training_patients_are() -> None:
    example = module("table")
    features = example.load()[0][0]
    scaled = np.asarray(example.build(units=3).layers[0](features))
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-4)


def test_the_table_comes_compiled_with_its_clipping() -> None:
    optimizer = module("table").build(units=3).optimizer
    assert (type(optimizer).__name__, optimizer.clipnorm) == ("Adam", 1.0)


def test_without_scikit_learn_the_table_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match="is missing: pip install scikit-learn"):
        module("table").load()


def test_a_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train-images.* is missing; name a folder .* dataset-fashion-mnist"):
        module("convolutions").load(str(tmp_path))


def test_the_sample_is_what_a_folder_gives() -> None:
    """Read as gradclip itself reads them."""
    from gradclip_cli.config import loading
    from gradclip_cli.problems import idx_files

    (images, labels), (test_images, _) = module("convolutions").load()
    shipped = idx_files.load(loading.load("none", ["data.subset=sample"]).data)
    np.testing.assert_array_equal(images[..., 0], shipped.train_inputs)
    np.testing.assert_array_equal(labels, shipped.train_targets)
    np.testing.assert_array_equal(test_images[..., 0], shipped.evaluation_inputs)


MANY = 100  # more chunks than there are
CUT = ("training={epochs: 2, steps_per_epoch: 6}", "data.batch_size=8", "clipping={mode: autoclip}")


def trained(name: str, folder: Path, stops: tuple[int, ...]) -> dict[str, bytes]:
    """A short run of an example, stopped after so many chunks, each time by another worker; what it left."""
    expected = EXPECTED[name]
    settings = [f"{section}.args={json.dumps(given)}" for section, given in (("data", expected.load), ("model", expected.build))]
    chosen = identified(loading.load(str(EXAMPLES / name / "config.yaml"), [*CUT, *settings, "name=short"]))
    run = RunDirectory(folder / "short" / "seed-0")
    for chunks in (*stops, MANY):
        asked = iter([False] * chunks)
        ending = Workshop().train(Task.of(chosen, run), lambda event: None, functools.partial(next, asked, True))
        assert ending.status == ("complete" if chunks == MANY else "interrupted"), ending.message
    return {file: (run.path / file).read_bytes() for file in ("metrics.csv", "steps.csv")}


@pytest.mark.slow
@each_example
def test_stopped_in_an_epoch_it_goes_on_to_the_byte(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout, batch norm and a rule with a memory."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "CHUNK", 2)
    assert trained(name, tmp_path / "stopped", (2,)) == trained(name, tmp_path / "whole", ())
