"""A user's own module is found fit to be trained, or refused with what to do; losses and metrics are Keras's by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import import_pytorch
from own_modules import LABELS, dataset, own_config, vectors, words

from gradclip_cli.config.own import OwnConfig
from gradclip_cli.errors import ConfigError, DatasetError, GradclipError, OwnCodeError
from gradclip_cli.problems.contract import GENERATOR_SEED, Dataset

torch = import_pytorch()

LOSSES = ["mean_squared_error", "MeanAbsoluteError", "huber", "kl_divergence", "poisson", "mse", "binary_crossentropy"]


def network(config: OwnConfig, data: Dataset) -> Any:
    from gradclip_cli.problems.own.pytorch import Network

    return Network(config, data)


def refused(config: OwnConfig, data: Dataset, error: type[GradclipError]) -> str:
    with pytest.raises(error) as caught:
        network(config, data).initial_weights(config)
    return str(caught.value)


# Weights.


def test_initial_weights_are_all_parameters_and_buffers_as_the_seed_says(tmp_path: Path) -> None:
    config = own_config(tmp_path, "small", args={"frozen": True})
    built = network(config, words())
    weights, again, other = (built.initial_weights(config.with_seed(seed)) for seed in (3, 3, 4))
    assert {"embedding/weight", "norm/running_mean", "norm/num_batches_tracked", "unused/bias", "out/bias"} <= set(weights)
    assert all(values.tobytes() == again[name].tobytes() for name, values in weights.items())
    assert not np.array_equal(weights["hidden/weight"], other["hidden/weight"])
    assert {variable.name for variable in built.variables} == set(weights) - set(built.others) - {GENERATOR_SEED}
    assert set(built.others) == {"unused/bias", "norm/running_mean", "norm/running_var", "norm/num_batches_tracked"}


def test_perturbation_scales_what_is_trained(tmp_path: Path) -> None:
    plain = own_config(tmp_path, "small", args={"frozen": True})
    perturbed = own_config(tmp_path, "small", args={"frozen": True}, model={"perturbation": 0.5})
    built = network(plain, words())
    before, after = built.initial_weights(plain), built.initial_weights(perturbed)
    trained = {variable.name for variable in built.variables}
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values * (1.5 if name in trained else 1), rtol=1e-6)
        assert after[name].dtype == values.dtype


def test_a_factory_gets_the_seed_it_asks_for(tmp_path: Path) -> None:
    config = own_config(tmp_path, "seeded")
    built = network(config, vectors())
    assert (built.initial_weights(config.with_seed(7))["weight"] == 7).all()


def test_lazy_layers_get_the_weights_of_their_seed(tmp_path: Path) -> None:
    config = own_config(tmp_path, "lazy")
    built = network(config, vectors())
    first, again = (built.initial_weights(config.with_seed(2)) for _ in range(2))
    assert first["0/weight"].shape == (6, 4)
    assert first["0/weight"].tobytes() == again["0/weight"].tobytes()


def test_shared_parameters_are_one_variable(tmp_path: Path) -> None:
    built = network(own_config(tmp_path, "tied"), dataset(words().train_inputs, words().train_inputs))
    assert [variable.name for variable in built.variables] == ["embedding/weight"]


@pytest.mark.parametrize(
    ("factory", "error", "told"),
    [
        ("nothing", OwnCodeError, "returned None"),
        ("two", OwnCodeError, "returned a tuple of 2 where a torch.nn.Module"),
        ("a_class", OwnCodeError, "did you forget to call it?"),
        ("keras", ConfigError, "it returned a Keras model, which engine: {framework: tensorflow} trains"),
        ("frozen", OwnCodeError, "no parameter of the module requires a gradient"),
        ("mixed", OwnCodeError, "float32, float64; gradclip trains float32, or float64 throughout"),
        ("half", OwnCodeError, "trained parameters of bfloat16"),
        ("growing", OwnCodeError, "built twice, it has other parameters: 0/bias (3,), then (4,)"),
        ("raising", OwnCodeError, "calling its module raised KeyError"),
        ("careless", OwnCodeError, "has no gradient; was it, or the module's output, detached?"),
    ],
)
def test_what_is_no_module_to_train(factory: str, error: type[GradclipError], told: str, tmp_path: Path) -> None:
    message = refused(own_config(tmp_path, factory), vectors(), error)
    assert "model.py" in message or error is OwnCodeError
    assert told in message


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"optimizer": {"name": "compiled"}}, "optimizer: a PyTorch module is not compiled with one"),
        ({"loss": {"name": "compiled"}}, "write loss: {name: sparse_categorical_crossentropy, from_logits: true}"),
        ({"loss": "tversky"}, "no loss tversky for a PyTorch module; known: sparse_categorical_crossentropy"),
        ({"loss": {**LABELS, "axis": 1}}, "loss.axis: sparse_categorical_crossentropy has no such argument here; it takes from"),
        ({"loss": {**LABELS, "label_smoothing": 2}}, "loss.label_smoothing: must be a number from 0 to 1, not 2"),
        ({"loss": {**LABELS, "from_logits": "yes"}}, "loss.from_logits: must be true or false, not 'yes'"),
        ({"metrics": ["f_score"]}, "no metric f_score for a PyTorch module; known: accuracy"),
        ({"metrics": ["mse", "mse"]}, "two have the same name"),
    ],
)
def test_what_a_config_can_not_ask_for(sections: dict[str, Any], told: str, tmp_path: Path) -> None:
    assert told in refused(own_config(tmp_path, "dense", **sections), vectors(), ConfigError)


def test_a_keras_file_is_no_module(tmp_path: Path) -> None:
    config = own_config(tmp_path, "dense").model_copy(deep=True)
    config = config.model_copy(update={"model": config.model.model_copy(update={"factory": None, "file": "saved.keras"})})
    assert "only a Keras model is read from a file" in refused(config, vectors(), ConfigError)


# Losses.


def keras_loss(name: str, arguments: dict[str, Any], targets: Any, outputs: Any) -> float:
    from gradclip_cli.engines.tensorflow import keras, set_up

    set_up()
    loss = keras.losses.get({"class_name": name, "config": arguments}) if arguments else keras.losses.get(name)
    return float(np.mean(loss(targets, outputs)))


@pytest.mark.trains
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, {}) for name in LOSSES),
        ("Huber", {"delta": 0.3}),
        ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.2}),
        ("CategoricalCrossentropy", {"from_logits": False}),
        ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}),
        ("SparseCategoricalCrossentropy", {"from_logits": False}),
        ("SparseCategoricalCrossentropy", {"from_logits": True}),
        ("SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": 1}),
    ],
)
def test_losses_are_those_of_keras(name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    from gradclip_cli.problems.own.pytorch_losses import choose_loss

    generator = np.random.default_rng(1)
    logits, targets = generator.normal(size=(6, 5, 3)).astype(np.float32), generator.dirichlet(np.ones(3), (6, 5))
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    outputs = logits if arguments.get("from_logits") else shares
    chosen = targets.argmax(-1) if "Sparse" in name else targets.astype(np.float32)
    given = {"from_logits": False} if name == "binary_crossentropy" else arguments
    config = own_config(tmp_path, "dense", loss={"name": name, **given})
    loss = choose_loss(config, torch.nn.Identity(), *map(torch.from_numpy, (chosen, outputs)))
    ours = loss.measure(torch.from_numpy(chosen), torch.from_numpy(outputs)).item()
    assert ours == pytest.approx(keras_loss(name, arguments, chosen, outputs), rel=1e-4)


def test_targets_and_outputs_that_differ_by_an_axis_of_one_are_not_spread_over_each_other(tmp_path: Path) -> None:
    built = network(own_config(tmp_path, "dense", args={"outputs": 1}, loss="mse", metrics=["mae"]), vectors())
    targets, outputs = torch.arange(4.0), torch.arange(4.0)[:, None]
    assert built.loss(targets, outputs).item() == built.loss(targets[:, None], outputs[:, 0]).item() == 0
    assert built.sums(targets, outputs).tolist() == [0]


@pytest.mark.parametrize(
    ("last", "name", "told"),
    [
        (None, LABELS["name"], "logits (the last layer is Linear"),
        ("Softmax", LABELS["name"], "probabilities (the last layer is Softmax)"),
        ("LogSoftmax", LABELS["name"], "logits (the last layer is LogSoftmax)"),
        ("Sigmoid", "binary_crossentropy", "probabilities (the last layer is Sigmoid)"),
    ],
)
def test_whether_outputs_are_logits_is_seen_and_said(last: str | None, name: str, told: str, tmp_path: Path) -> None:
    data = vectors() if name == LABELS["name"] else dataset(vectors().train_inputs, np.ones((64, 3), np.float32))
    built = network(own_config(tmp_path, "dense", args={"last": last}, loss=name), data)
    assert built.remarks[0].startswith(f"outputs are taken as {told}")
    assert network(own_config(tmp_path, "dense", loss=LABELS), vectors()).remarks == ()


def test_classes_along_the_second_axis_are_taken_where_only_that_fits() -> None:
    from gradclip_cli.problems.own.pytorch_losses import by_class

    outputs, targets = torch.randn(2, 3, 5), torch.randint(3, (2, 5))
    labels, by = by_class(targets, outputs)
    assert torch.equal(by.reshape(2, 5, 3), outputs.movedim(1, -1))
    assert torch.equal(labels, targets.flatten())


def test_a_module_that_gives_several_tensors_takes_a_loss_of_ones_own(tmp_path: Path) -> None:
    data = dataset(np.zeros((8, 2, 4), np.float32), np.zeros(8, np.int32))
    assert "gave a tuple of 2, which loss: sparse" in refused(own_config(tmp_path, "several"), data, OwnCodeError)
    built = network(own_config(tmp_path, "several", loss="model.py:of_last_state"), data)
    outputs = built.outputs(torch.zeros(8, 2, 4))
    assert built.loss(torch.zeros(8, dtype=torch.long), outputs).ndim == 0
    assert (built.metrics, built.chance, built.counts_correct) == ({}, {}, False)


def test_functions_of_ones_own_get_targets_first(tmp_path: Path) -> None:
    config = own_config(tmp_path, "dense", args={"outputs": 1}, loss="model.py:squares", metrics=["model.py:largest_error"])
    built = network(config, vectors())
    assert built.metrics == {"largest_error": False}
    assert built.loss(torch.tensor([1.0, 2.0]), torch.tensor([[0.0], [0.0]])).item() == 2.5
    wrong = own_config(tmp_path, "dense", loss="model.py:no_tensor")
    assert "it returned 1.0, a float where a tensor was needed" in refused(wrong, vectors(), OwnCodeError)


def test_what_does_not_fit_together(tmp_path: Path) -> None:
    one = own_config(tmp_path, "dense", loss="mse")
    assert "doesn't fit the module's outputs (2, 3), targets (2,)" in refused(one, vectors(), DatasetError)
    labels = own_config(tmp_path, "dense")
    message = refused(labels, vectors(classes=5), DatasetError)
    assert "train targets go from 0 to 4, but the module has 3 outputs, for classes from 0 to 2" in message


# Metrics.


def test_metrics_by_name(tmp_path: Path) -> None:
    names = ["accuracy", "SparseTopKCategoricalAccuracy", "model.py:no_tensor"]
    assert "a tensor was needed" in refused(own_config(tmp_path, "dense", metrics=names), vectors(), OwnCodeError)
    built = network(own_config(tmp_path, "dense", args={"outputs": 9}, metrics=names[:2]), vectors())
    outputs = torch.tensor([[9.0, 8, 7, 6, 5, 4, 3, 2, 1]] * 3)
    means = (built.sums(torch.tensor([0, 4, 5]), outputs) / 3).tolist()
    expected = {"accuracy": pytest.approx(1 / 3), "sparse_top_k_categorical_accuracy": pytest.approx(2 / 3)}
    assert built.results(means) == expected
    assert built.metrics == dict.fromkeys(expected, True)


def test_errors_are_lower_where_they_are_better(tmp_path: Path) -> None:
    names = ["mse", "mean_absolute_error", "RootMeanSquaredError"]
    data = dataset(vectors().train_inputs, np.arange(64, dtype=np.float32))
    built = network(own_config(tmp_path, "dense", args={"outputs": 1}, loss="huber", metrics=names), data)
    means = (built.sums(torch.tensor([1.0, 5.0]), torch.tensor([[0.0], [0.0]])) / 2).tolist()
    results = built.results(means)
    assert results == {"mse": 13, "mean_absolute_error": 3, "root_mean_squared_error": pytest.approx(13**0.5)}
    assert not any(built.metrics.values())
    assert built.chance["root_mean_squared_error"] == pytest.approx(np.arange(64).std())
    assert "loss" not in built.chance


@pytest.mark.parametrize(("from_logits", "right"), [(True, 3), (False, 2)])
def test_the_threshold_of_two_classes_is_that_of_the_outputs(from_logits: bool, right: int, tmp_path: Path) -> None:
    loss = {"name": "binary_crossentropy", "from_logits": from_logits}
    args = {"outputs": 1, "last": None if from_logits else "Sigmoid"}
    built = network(own_config(tmp_path, "dense", args=args, loss=loss), vectors(classes=2))
    targets, outputs = torch.tensor([1, 1, 0]), torch.tensor([[0.6], [0.2], [-0.3]])
    assert built.counts_correct
    assert built.sums(targets, outputs).item() == pytest.approx(right)
    assert built.correct(targets[None], outputs[None]).sum().item() == right


def test_correct_is_counted_where_each_sample_has_one_class(tmp_path: Path) -> None:
    built = network(own_config(tmp_path, "dense"), vectors())
    assert built.counts_correct
    assert built.output_shape == (3,)
    assert built.chance["accuracy"] == pytest.approx(np.bincount(vectors().train_targets).max() / 64)  # type: ignore[arg-type]
    texts = words().train_inputs
    assert not network(own_config(tmp_path, "tied"), dataset(texts, texts)).counts_correct
    assert not network(own_config(tmp_path, "dense", metrics=["sparse_categorical_accuracy"]), vectors()).counts_correct


def test_accuracy_of_each_time_step(tmp_path: Path) -> None:
    texts = words().train_inputs
    built = network(own_config(tmp_path, "tied"), dataset(texts, texts))
    outputs = torch.nn.functional.one_hot(torch.tensor([[1, 2, 3], [4, 5, 6]]), 11).float()
    assert built.sums(torch.tensor([[1, 2, 3], [0, 0, 6]]), outputs).item() == pytest.approx(2 * 4 / 6)


# Inputs.


def test_integers_become_floats_where_a_module_takes_only_those(tmp_path: Path) -> None:
    pixels = np.arange(64 * 4, dtype=np.uint8).reshape(64, 4)
    built = network(own_config(tmp_path, "dense"), dataset(pixels, vectors().train_targets))
    assert built.remarks == ("the module gets integer inputs as floats",)
    assert built.inputs(torch.from_numpy(pixels)).dtype is torch.float32
    assert network(own_config(tmp_path, "small"), words()).inputs(torch.zeros(2, 3, dtype=torch.int32)).dtype is torch.int64


@pytest.mark.parametrize("kind", [tuple, dict])
def test_several_inputs(kind: type, tmp_path: Path) -> None:
    left, right = np.ones((8, 4), np.float32), np.zeros((8, 4), np.float32)
    inputs = (left, right) if kind is tuple else {"right": right, "left": left}
    config = own_config(tmp_path, "pair", loss="mse")
    built = network(config, dataset(inputs, np.ones(8, np.float32)))
    tensors = tuple(map(torch.from_numpy, inputs)) if kind is tuple else {k: torch.from_numpy(v) for k, v in inputs.items()}  # type: ignore[attr-defined]
    layer = built.module.layer
    assert torch.allclose(built.outputs(tensors), layer(torch.ones(8, 4)) + layer(torch.zeros(8, 4)))
