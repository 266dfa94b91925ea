"""Initial weights from model and seed, in NumPy, by Keras's default formulas, under canonical names.

Kernels are Glorot uniform (Glorot and Bengio 2010), recurrent kernels orthogonal (Saxe et al. 2014) times the
recurrent gain, biases zero, and an LSTM's forget gate bias one unless told otherwise (Jozefowicz et al. 2015). Layouts are
Keras's: gates side by side along the last axis, in Keras's order (LSTM: input, forget, cell, output).
"""

from __future__ import annotations

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.config.article import Model

GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}


def initial_weights(model: Model, *, features: int, classes: int, seed: int) -> dict[str, FloatArray]:
    """Draw a model's initial weights as float32 arrays, named `layer/variable`, in the model's order.

    `features` is the width of a time step, `classes` of the output. Each variable draws from a seed of its own, spawned
    from `seed`, so that neither a variable's shape nor further layers shift another's draw. All are scaled by one plus the
    model's perturbation.
    """
    gates, widths = GATES[model.cell], list(model.layers.values())
    first, first_recurrent, output, *others = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed, spawn_key=(0,)).spawn(1 + 2 * len(widths))
    )
    generators = [first, first_recurrent, *others]
    weights: dict[str, FloatArray] = {}
    for index, (layer, units) in enumerate(model.layers.items()):
        kernel, recurrent = generators[2 * index : 2 * index + 2]
        weights[f"{layer}/kernel"] = _glorot_uniform(kernel, (widths[index - 1] if index else features, gates * units))
        weights[f"{layer}/recurrent_kernel"] = model.recurrent_gain * _orthogonal(recurrent, (units, gates * units))
        weights[f"{layer}/bias"] = _recurrent_bias(model, units)
    weights["dense/kernel"] = _glorot_uniform(output, (widths[-1], classes))
    weights["dense/bias"] = np.zeros(classes)
    return {name: (value * (1 + model.perturbation)).astype(np.float32) for name, value in weights.items()}


def _glorot_uniform(generator: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    limit = np.sqrt(6 / sum(shape))
    return generator.uniform(-limit, limit, shape)


def _orthogonal(generator: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    orthonormal, triangle = np.linalg.qr(generator.normal(size=(max(shape), min(shape))))
    orthonormal *= np.sign(np.diag(triangle))  # Without this the draw is not uniform over the orthogonal matrices.
    return orthonormal.T if shape[0] < shape[1] else orthonormal


def _recurrent_bias(model: Model, units: int) -> FloatArray:
    if model.cell == "gru":
        return np.zeros((2, 3 * units))  # Input and recurrent biases apart (Keras's reset_after).
    bias = np.zeros(GATES[model.cell] * units)
    if model.cell == "lstm":
        bias[units : 2 * units] = model.forget_bias
    return bias
