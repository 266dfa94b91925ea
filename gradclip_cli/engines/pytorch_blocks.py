"""What the PyTorch engine keeps of some steps on the device, and how it is measured."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradclip_cli.arrays import FloatArray

PIECE = 1_000_000  # elements of a variable that are measured at a time: what float64 makes of them is not small


class Block:
    """What is kept of some steps on the device, until all of it is measured at once: a step has no time for it."""

    def __init__(self, steps: int, outputs: tuple[int, ...], parameters: Sequence[torch.nn.Parameter]) -> None:
        self._parameters = [parameter.detach().view(-1) for parameter in parameters]
        kind = {"device": parameters[0].device, "dtype": parameters[0].dtype}
        values = sum(parameter.numel() for parameter in parameters)
        self.gradients, self.applied, self.weights = (torch.empty(steps, values, **kind) for _ in range(3))
        self.outputs = torch.empty(steps, *outputs, **kind)
        self.loss, self.penalty, self.excess = (torch.zeros(steps, **kind) for _ in range(3))

    def keep_weights(self, step: int) -> None:
        """Keep the parameters as they are now."""
        torch.cat(self._parameters, out=self.weights[step])


def shared_gradient(parameters: Sequence[torch.nn.Parameter]) -> Tensor:
    """Let the parameters' gradients be parts of one tensor, (elements of all,): one copy then keeps all of them."""
    sizes = [parameter.numel() for parameter in parameters]
    gradient = torch.zeros(sum(sizes), device=parameters[0].device, dtype=parameters[0].dtype)
    for parameter, part in zip(parameters, gradient.split(sizes), strict=True):
        parameter.grad = part.view_as(parameter)
    return gradient


def norms(rows: Tensor, sizes: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Norm and largest absolute element of each variable, both (steps, variables), from (steps, elements of all)."""
    parts = [part.split(PIECE, 1) for part in rows.split(list(sizes), 1)]
    norm = torch.stack([sum(piece.double().square().sum(1) for piece in pieces).sqrt() for pieces in parts], 1)
    max_abs = torch.stack([torch.stack([piece.abs().amax(1) for piece in pieces]).amax(0) for pieces in parts], 1)
    return norm.cpu().numpy(), max_abs.cpu().double().numpy()
