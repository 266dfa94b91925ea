"""What the PyTorch engine keeps of some steps on the device, and how it is measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gradclip_cli.arrays import BoolArray, FloatArray

PIECE = 1_000_000  # elements of a variable that are measured at a time: what float64 makes of them is not small


class Block:
    """What is kept of some steps on the device, until all of it is measured at once: a step has no time for it."""

    def __init__(self, steps: int, outputs: tuple[int, ...], parameters: Sequence[torch.nn.Parameter]) -> None:
        self._parameters = [parameter.detach().view(-1) for parameter in parameters]
        kind = {"device": parameters[0].device, "dtype": parameters[0].dtype}
        values = sum(parameter.numel() for parameter in parameters)
        self.gradients, self.applied = (torch.empty(steps, values, **kind) for _ in range(2))
        self.weights = torch.empty(steps + 1, values, **kind)  # before the first step, then after each
        self.outputs = torch.empty(steps, *outputs, **kind)
        self.loss, self.penalty, self.excess = (torch.zeros(steps, **kind) for _ in range(3))

    def keep_weights(self, steps: int) -> None:
        """Keep the parameters as they are now, after so many steps of the block."""
        torch.cat(self._parameters, out=self.weights[steps])


def shared_gradient(parameters: Sequence[torch.nn.Parameter]) -> Tensor:
    """Let the parameters' gradients be parts of one tensor, (elements of all,): one copy then keeps all of them."""
    sizes = [parameter.numel() for parameter in parameters]
    gradient = torch.zeros(sum(sizes), device=parameters[0].device, dtype=parameters[0].dtype)
    for parameter, part in zip(parameters, gradient.split(sizes), strict=True):
        parameter.grad = part.view_as(parameter)
    return gradient


def norms(rows: Tensor, sizes: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Norm and largest absolute element of each variable, both (steps, variables), from (steps, elements of all)."""
    parts = rows.split(list(sizes), 1)
    squares = [sum(piece.double().square_().sum(1) for piece in part.split(PIECE, 1)) for part in parts]
    return torch.stack(squares, 1).sqrt().cpu().numpy(), np.array(_largest(parts).cpu().numpy(), np.float64)


def finite(rows: Tensor, sizes: Sequence[int]) -> BoolArray:
    """Whether each variable holds only finite values, (steps, variables), from (steps, elements of all)."""
    return np.asarray(_largest(rows.split(list(sizes), 1)).isfinite().cpu().numpy())


def _largest(parts: Sequence[Tensor]) -> Tensor:
    """The largest absolute element of each variable, NaN where one is; without a copy of all of them."""
    return torch.stack([torch.maximum(part.amax(1), -part.amin(1)).abs() for part in parts], 1)


def update_norms(weights: Tensor) -> FloatArray:
    """Norm of what each step added, (steps,), from the weights before the first and after each, (steps + 1, elements of all)."""
    pieces = [torch.linalg.vector_norm(piece[1:].double().sub_(piece[:-1]), dim=1) for piece in weights.split(PIECE, 1)]
    norm = pieces[0] if len(pieces) == 1 else torch.linalg.vector_norm(torch.stack(pieces), dim=0)
    return np.asarray(norm.cpu().numpy())
