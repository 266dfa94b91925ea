"""What is recorded of each step and each variable, whoever trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from gradclip_cli.arrays import BoolArray, FloatArray, IntArray
from gradclip_cli.gradients.scopes import joint_norm

OF_STEP = ("loss", "penalty", "correct", "excess", "update_norm")
OF_VARIABLES = ("norm", "max_abs", "applied_norm", "applied_max_abs", "weights_finite")
"""What is recorded of a step, and of each of its variables, as a row of numbers holds it: one after another."""


def row_width(variables: int) -> int:
    """Numbers in the row of a step with so many variables."""
    return len(OF_STEP) + len(OF_VARIABLES) * variables


@dataclass(frozen=True)
class StepLosses:
    """What each of S steps tells, be it measured or not."""

    loss: FloatArray
    """(S,) mean data loss of the batch, before the update."""
    penalty: FloatArray
    """(S,) what regularizers add to it."""
    correct: IntArray
    """(S,) samples of the batch that were classified correctly."""

    def __len__(self) -> int:
        return len(self.loss)

    @classmethod
    def joined(cls, pieces: Sequence[Self]) -> Self:
        """Those of several pieces, in order."""
        return cls(**{field.name: np.concatenate([getattr(piece, field.name) for piece in pieces]) for field in fields(cls)})

    def first(self, steps: int) -> Self:
        """Those of the first `steps` steps."""
        return self._of(slice(steps))

    def of_one_in(self, every: int) -> Self:
        """Those of the last of each so many steps."""
        return self._of(slice(every - 1, None, every))

    def _of(self, steps: slice) -> Self:
        return type(self)(**{field.name: getattr(self, field.name)[steps] for field in fields(self)})


@dataclass(frozen=True)
class StepRecords(StepLosses):
    """What S steps did, for V variables. Norms are L2 and never overflow where the elements are finite (float64)."""

    norm: FloatArray
    """(S, V) norm of each variable's gradient before clipping."""
    max_abs: FloatArray
    """(S, V) largest absolute element of the same."""
    applied_norm: FloatArray
    """(S, V) norm of the gradient that the optimizer used."""
    applied_max_abs: FloatArray
    """(S, V) largest absolute element of the same."""
    excess: FloatArray
    """(S,) how many times its bound the gradient was at most, as the rule measures it; 0 without a bound."""
    update_norm: FloatArray
    """(S,) norm of what the optimizer added to all variables together: the weights after the step minus those before it."""
    weights_finite: BoolArray
    """(S, V) whether each variable held only finite values after the update."""

    @property
    def clipped(self) -> BoolArray:
        """(S,) whether the rule's threshold was exceeded."""
        return np.asarray(self.excess > 1)

    @property
    def global_norm(self) -> FloatArray:
        """(S,) norm of all gradients together, before clipping."""
        return joint_norm(self.norm)[:, 0]

    @property
    def applied_global_norm(self) -> FloatArray:
        """(S,) norm of all gradients together, as the optimizer used them."""
        return joint_norm(self.applied_norm)[:, 0]

    @classmethod
    def from_rows(cls, rows: FloatArray, variables: int) -> StepRecords:
        """Records from rows (S, `row_width`) of float64, in the order of OF_STEP and OF_VARIABLES."""
        scalars = dict(zip(OF_STEP, rows[:, : len(OF_STEP)].T, strict=True))
        each = dict(zip(OF_VARIABLES, np.split(rows[:, len(OF_STEP) :], len(OF_VARIABLES), axis=1), strict=True))
        kinds = {"correct": scalars["correct"].astype(np.int64), "weights_finite": each["weights_finite"].astype(bool)}
        return cls(**{**scalars, **each, **kinds})


@dataclass(frozen=True)
class Stretch:
    """Steps that were taken one after another, of which one in `every` was measured: the last of each so many."""

    losses: StepLosses
    """Of all steps."""
    records: StepRecords
    """Of those that were measured."""
    every: int

    @classmethod
    def measured(cls, records: StepRecords) -> Stretch:
        """Steps of which each was measured."""
        return cls(records, records, 1)

    @classmethod
    def joined(cls, pieces: Sequence[Stretch]) -> Stretch:
        """Several pieces that follow each other; one in as many steps was measured in all of them."""
        losses = StepLosses.joined([piece.losses for piece in pieces])
        return cls(losses, StepRecords.joined([piece.records for piece in pieces]), pieces[0].every)

    def __len__(self) -> int:
        return len(self.losses)

    def first(self, steps: int) -> Stretch:
        """The first `steps` steps."""
        return Stretch(self.losses.first(steps), self.records.first(steps // self.every), self.every)
