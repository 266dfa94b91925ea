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

    def __init__(self, steps: int, every: int, outputs: tuple[int, ...], parameters: Sequence[torch.nn.Parameter]) -> None:
        """Of so many steps, of which one in `every` is measured."""
        self.every, measured = every, steps // every
        self._parameters = [parameter.detach().view(-1) for parameter in parameters]
        kind = {"device": parameters[0].device, "dtype": parameters[0].dtype}
        values = sum(parameter.numel() for parameter in parameters)
        self.gradients, self.applied = (torch.empty(measured, values, **kind) for _ in range(2))
        # Of each measured step those before and after it; where all are, what one leaves is what the next begins with.
        self._weights = torch.empty(measured + 1 if every == 1 else 2 * measured, values, **kind)
        stride = 1 if every == 1 else 2
        self.before, self.after = self._weights[:-1:stride], self._weights[1::stride]
        self.outputs = torch.empty(steps, *outputs, **kind)
        self.loss, self.penalty = (torch.zeros(steps, **kind) for _ in range(2))
        self.excess = torch.zeros(measured, **kind)

    def row(self, step: int) -> int | None:
        """Where one of the steps is kept; None where it is not measured."""
        row, left = divmod(step + 1, self.every)
        return None if left else row - 1

    def keep_before(self, row: int) -> None:
        """Keep the parameters as they are before the measured step of this row."""
        if row == 0 or self.every > 1:
            torch.cat(self._parameters, out=self.before[row])

    def keep_after(self, row: int) -> None:
        """Keep them as that step left them."""
        torch.cat(self._parameters, out=self.after[row])


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


def update_norms(before: Tensor, after: Tensor) -> FloatArray:
    """Norm of what each step added, (steps,), from the weights before and after each, both (steps, elements of all)."""
    both = zip(before.split(PIECE, 1), after.split(PIECE, 1), strict=True)
    pieces = [torch.linalg.vector_norm(new.double().sub_(old), dim=1) for old, new in both]
    norm = pieces[0] if len(pieces) == 1 else torch.linalg.vector_norm(torch.stack(pieces), dim=0)
    return np.asarray(norm.cpu().numpy())
