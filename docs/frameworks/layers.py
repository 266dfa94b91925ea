"""The recurrent layers of Keras and PyTorch: orders of gates, found by trial, and biases."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from frameworks.tables import table
from gradclip_cli.arrays import FloatArray
from gradclip_cli.config.frameworks import pytorch as pytorch_words
from gradclip_cli.problems.article_tensorflow import RECURRENT_LAYERS
from gradclip_cli.problems.article_weights import GATES

UNITS, FEATURES, TIME_STEPS = 3, 2, 4
KERAS_GATES = {"lstm": "i f c o", "gru": "z r h", "simple_rnn": "h"}
PYTORCH_LAYERS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "simple_rnn": torch.nn.RNN}


def keras_layer(cell: str) -> Any:
    """A layer with weights drawn at random, biases too."""
    layer = RECURRENT_LAYERS[cell](UNITS, return_sequences=True)
    layer.build((None, TIME_STEPS, FEATURES))
    generator = np.random.default_rng(0)
    layer.set_weights([generator.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer


def pytorch_layer(cell: str, weights: list[FloatArray], order: Sequence[int]) -> Any:
    """A PyTorch layer that takes Keras's weights: kernels transposed, gates in this order."""
    layer = PYTORCH_LAYERS[cell](FEATURES, UNITS, batch_first=True)
    kernel, recurrent, bias = (
        np.concatenate([np.split(weight, len(order), axis=-1)[gate] for gate in order], axis=-1) for weight in weights
    )
    first, second = bias if bias.ndim > 1 else (bias, np.zeros_like(bias))
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), (kernel.T, recurrent.T, first, second), strict=True):
            parameter.copy_(torch.tensor(value))
    return layer


@functools.cache
def gate_order(cell: str) -> tuple[int, ...]:
    """The one order of Keras's gates in which PyTorch computes what Keras does."""
    inputs = np.random.default_rng(1).normal(size=(2, TIME_STEPS, FEATURES)).astype(np.float32)
    ours = keras_layer(cell)
    expected, weights = np.array(ours(inputs)), ours.get_weights()

    def agrees(order: tuple[int, ...]) -> bool:
        outputs, _ = pytorch_layer(cell, weights, order)(torch.tensor(inputs))
        return np.allclose(outputs.detach().numpy(), expected, atol=1e-5)

    (found,) = filter(agrees, itertools.permutations(range(GATES[cell])))
    return found


def told_shape(shape: Sequence[int]) -> str:
    """A bias's shape, where u is the number of units."""
    *leading, width = shape
    return f"({', '.join([*map(str, leading), f'{width // UNITS}u' if width > UNITS else 'u'])})"


def model_table() -> str:
    rows = []
    for cell, letters in KERAS_GATES.items():
        order, layer = gate_order(cell), PYTORCH_LAYERS[cell](FEATURES, UNITS)
        weights, names = keras_layer(cell).get_weights(), letters.split()
        biases = (
            f"{name.removesuffix('_l0')} {told_shape(value.shape)}" for name, value in layer.named_parameters() if "bias" in name
        )
        rows.append(
            (
                f"`{cell}`",
                f"`torch.nn.{type(layer).__name__}`",
                letters,
                " ".join(names[gate] for gate in order),
                f"bias {told_shape(weights[-1].shape)}",
                ", ".join(biases),
                ", ".join(pytorch_words.ACTIVATIONS[cell]),
            )
        )
    header = (
        "cell",
        "PyTorch",
        "Keras's gates",
        "PyTorch's gates",
        "Keras's bias",
        "PyTorch's biases",
        "activation with PyTorch",
    )
    return table(header, rows)
