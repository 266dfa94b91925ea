"""Initial weights follow Keras's formulas, from the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gradclip_cli.config.article import Model
from gradclip_cli.engines.tensorflow import set_up
from gradclip_cli.problems.article_tensorflow import build_model
from gradclip_cli.problems.article_weights import initial_weights

set_up()


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
def test_names_shapes_and_constants_are_those_of_keras(cell: str) -> None:
    model = Model(cell=cell, units=7)
    ours = initial_weights(model, features=28, classes=10, seed=0)
    layers = build_model(model, 28, 28, 10).layers
    theirs = {
        f"{layer.name}/{variable.name}": np.array(variable.numpy()) for layer in layers for variable in layer.trainable_variables
    }
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        assert ours[name].shape == value.shape
        assert ours[name].dtype == np.float32
        if name.endswith("bias"):
            np.testing.assert_array_equal(ours[name], value)


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
def test_kernels_have_the_distribution_of_keras(cell: str) -> None:
    model = Model(cell=cell, units=40)
    ours = initial_weights(model, features=28, classes=10, seed=0)
    layers = build_model(model, 28, 28, 10).layers
    for layer in layers:
        for variable in layer.trainable_variables:
            name = f"{layer.name}/{variable.name}"
            if not name.endswith("bias"):
                assert stats.ks_2samp(ours[name].ravel(), variable.numpy().ravel()).pvalue > 1e-3, name


def test_recurrent_kernel_is_orthogonal_times_gain() -> None:
    for gain in (1.0, 3.0):
        kernel = initial_weights(Model(recurrent_gain=gain), features=28, classes=10, seed=5)["lstm/recurrent_kernel"]
        np.testing.assert_allclose(kernel @ kernel.T, gain**2 * np.eye(10), atol=1e-5)


def test_perturbation_scales_all_weights() -> None:
    plain, perturbed = (initial_weights(Model(perturbation=size), features=28, classes=10, seed=5) for size in (0.0, 1e-6))
    for name, value in plain.items():
        np.testing.assert_allclose(perturbed[name], value * (1 + 1e-6), rtol=2e-7)
    assert (perturbed["lstm/kernel"] != plain["lstm/kernel"]).mean() > 0.9


def test_depends_on_the_seed_and_a_variable_on_its_own_shape_only() -> None:
    one, again, other = (initial_weights(Model(), features=28, classes=10, seed=seed) for seed in (1, 1, 2))
    wider = initial_weights(Model(), features=14, classes=10, seed=1)
    np.testing.assert_array_equal(one["lstm/kernel"], again["lstm/kernel"])
    assert (one["lstm/kernel"] != other["lstm/kernel"]).any()
    np.testing.assert_array_equal(one["dense/kernel"], wider["dense/kernel"])
