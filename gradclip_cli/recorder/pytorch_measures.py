"""Norms and largest elements of PyTorch's tensors, such as gradients: exact enough to be told apart, cheap enough for each step.

On a GPU they stay there, so that nothing waits for it; on a CPU as few operations as possible are called. No square of a finite
element over- or underflows (in float64: none below 1e154).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from gradclip_cli.arrays import FloatArray

SHORT = 32_768
"""Elements up to which tensors on a CPU are measured together, in float64."""
FEW = 150_000
"""Elements of all parameters up to which they are copied, to be measured later."""
EXACT = {torch.float32, torch.float64}
ROW = 2048  # float32 elements that are summed at a time: their norm is right to some 1e-7
PLAIN = 1e-12, 1e15
"""Norms between which a sum of squares in float32 tells the norm: elements whose squares vanish count for nothing in it."""


def measured(tensors: Sequence[Tensor | None], known: Tensor | None = None) -> Tensor:
    """Norm and largest absolute element of each of V tensors, (2, V) of float64: NaN where an element is, 0 where there is none.

    `known` is what was measured of them before, and returned on a CPU if no norm has changed since.
    """
    there = _there(tensors)
    if not _on_cpu(there):
        return torch.stack([_norms_of(there, len(tensors)), _largest_of(there, len(tensors))])
    values = OnCpu(list(there.values()))
    norm = _filled(values.norms(), there, len(tensors))
    if known is not None and torch.equal(norm, known[0]):
        return known
    return torch.stack([norm, _filled(values.largest(), there, len(tensors))])


def norms(tensors: Sequence[Tensor | None]) -> Tensor:
    """The L2 norm of each of V tensors, (V,) of float64; 0 where there is none."""
    there = _there(tensors)
    if _on_cpu(there):
        return _filled(OnCpu(list(there.values())).norms(), there, len(tensors))
    return _norms_of(there, len(tensors))


def _norms_of(there: dict[int, Tensor], count: int) -> Tensor:
    return _gathered(torch._foreach_norm(list(there.values()), 2, widest(_device(there))), there, count)


def _largest_of(there: dict[int, Tensor], count: int) -> Tensor:
    return _gathered(torch._foreach_norm(list(there.values()), math.inf), there, count)


class Watched:
    """The parameters that are watched: what is kept of them and of their gradients on a step.

    Of many elements, or on a GPU, that is what was measured at once, (2, V) or (V,) of the widest float. A few float32 on a CPU
    are copied, (elements of all,), and measured later, many steps in a row: after a step no cache holds what measuring takes.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = parameters
        self._sizes = [each.numel() for each in parameters]
        self._zeros = torch.zeros(max(self._sizes, default=0), device="cpu") if sum(self._sizes) <= FEW else None
        self._room: list[Tensor] | None = None
        self._copy: Tensor | None = None

    @property
    def gradients(self) -> list[Tensor | None]:
        return [parameter.grad for parameter in self.parameters]

    def take(self, known: Tensor | None = None) -> Tensor:
        """The gradients as they are now; `known` is what was taken of them last."""
        gradients = self.gradients
        if self._are_copied(gradients):
            return self._copied(gradients)
        return measured(gradients, known if known is not None and known.ndim == 2 else None)

    def step_begins(self) -> None:
        """Keep the weights."""
        self._copy = self._copied(self.parameters) if self._are_copied(self.parameters) else None
        if self._copy is None:
            self._room = _kept(self.parameters, self._room)

    def step_ends(self) -> Tensor:
        """What was added to the weights: the norm of each, or a copy; not finite where a weight isn't."""
        if self._copy is not None:
            return self._copied(self.parameters).sub_(self._copy)
        assert self._room is not None
        torch._foreach_sub_(self._room, self.parameters)
        return norms(self._room)

    def measured_later(self, before: Tensor, after: Tensor, update: Tensor) -> Tensor:
        """Of a step (5, V): norm and largest element before clipping, both after it, and the update's norm."""
        same = _is_copy(before) and torch.equal(before, after)
        first = self._measured(before)
        second = first if same else self._measured(after)
        return torch.cat([first, second, (norms(update.split(self._sizes)) if _is_copy(update) else update).unsqueeze(0)])

    def _measured(self, taken: Tensor) -> Tensor:
        return measured(taken.split(self._sizes)) if _is_copy(taken) else taken

    def _are_copied(self, tensors: Sequence[Tensor | None]) -> bool:
        return self._zeros is not None and all(
            each is None or (each.is_cpu and each.dtype == torch.float32 and each.layout == torch.strided) for each in tensors
        )

    def _copied(self, tensors: Sequence[Tensor | None]) -> Tensor:
        assert self._zeros is not None
        parts = [
            self._zeros[:size] if each is None else each.reshape(-1) for each, size in zip(tensors, self._sizes, strict=True)
        ]
        return torch.cat(parts)


def _is_copy(taken: Tensor) -> bool:
    return bool(taken.is_cpu and taken.dtype == torch.float32)


def _kept(weights: Sequence[Tensor], room: list[Tensor] | None) -> list[Tensor]:
    """A copy of weights, in the room of an earlier one; what is not float64 as float32."""
    if room is None or room[0].device != weights[0].device:
        room = [torch.empty_like(each, dtype=_wide(each.dtype), requires_grad=False) for each in weights]
    torch._foreach_copy_(room, weights)
    return room


def widest(device: torch.device) -> torch.dtype:
    """The float that a device counts in best: float64, but on Apple's GPUs, which have none."""
    return torch.float32 if device.type == "mps" else torch.float64


def _wide(kind: torch.dtype) -> torch.dtype:
    return kind if kind.is_complex or kind == torch.float64 else torch.float32


def _there(tensors: Sequence[Tensor | None]) -> dict[int, Tensor]:
    """Those that have elements, by their places: dense, of real numbers."""
    plain = {place: _plain(each) for place, each in enumerate(tensors) if each is not None}
    return {place: each for place, each in plain.items() if each.numel()}


def _plain(tensor: Tensor) -> Tensor:
    """A tensor as a dense one of real numbers; of a sparse one the elements that are there."""
    if tensor.layout != torch.strided:
        tensor = (tensor.coalesce() if tensor.layout == torch.sparse_coo else tensor).values()
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _on_cpu(there: dict[int, Tensor]) -> bool:
    return all(each.is_cpu for each in there.values())


def _device(there: dict[int, Tensor]) -> torch.device:
    return next(iter(there.values())).device


def _filled(values: FloatArray, there: dict[int, Tensor], count: int) -> Tensor:
    """What was measured of those that are there, (count,)."""
    found = np.zeros(count)
    found[list(there)] = values
    return torch.from_numpy(found)


def _gathered(values: Sequence[Tensor], there: dict[int, Tensor], count: int) -> Tensor:
    """The same on the device of the first."""
    device = _device(there)
    found = torch.stack([each.to(device) for each in values]).to(widest(device))
    if len(there) == count:
        return found
    return found.new_zeros(count).index_copy_(0, torch.tensor(list(there), device=device), found)


class OnCpu:
    """Tensors on a CPU: the short ones measured together, by their squares in float64, so that many take as long as one."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self._long = {place: each for place, each in enumerate(tensors) if each.numel() > SHORT}
        self._short = [place for place in range(len(tensors)) if place not in self._long]
        self._found = np.empty(len(tensors))
        if self._short:
            joined = torch.cat([tensors[place].reshape(-1) for place in self._short])
            joined = joined if joined.dtype in EXACT else joined.double()
            self._squares = np.square(joined.numpy(), dtype=np.float64)
            self._starts = [0, *itertools.accumulate(tensors[place].numel() for place in self._short[:-1])]

    def norms(self) -> FloatArray:
        """The norm of each, in an array that is used again."""
        return self._of_each(np.add, _norm)

    def largest(self) -> FloatArray:
        """The largest absolute element of each, in an array that is used again."""
        return self._of_each(np.maximum, _largest)

    def _of_each(self, function: np.ufunc, of_long: Callable[[Tensor], float]) -> FloatArray:
        if self._short:
            self._found[self._short] = np.sqrt(function.reduceat(self._squares, self._starts))
        for place, tensor in self._long.items():
            self._found[place] = of_long(tensor)
        return self._found


def _largest(tensor: Tensor) -> float:
    low, high = torch.aminmax(tensor)
    return float(np.maximum(-low.item(), high.item()))


def _norm(tensor: Tensor) -> float:
    if tensor.dtype == torch.float32:
        norm = _norm_by_rows(tensor.reshape(-1))
        if PLAIN[0] < norm < PLAIN[1]:
            return norm
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64).item())


def _norm_by_rows(flat: Tensor) -> float:
    whole = flat.numel() // ROW * ROW
    rows = torch.linalg.vector_norm(flat[:whole].view(-1, ROW), dim=1)
    parts = [torch.linalg.vector_norm(part).item() for part in (rows, flat[whole:]) if part.numel()]
    return math.hypot(*parts)
