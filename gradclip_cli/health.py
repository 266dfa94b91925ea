"""The gradients' health: spikes, explosion, vanishing. One detector reads steps in order, live or from `steps.csv`.

A spike is a step whose joint gradient norm, before clipping, is above ten times the median of up to a hundred steps before it; an
explosion one above a thousand times, or not finite. Both are relative, so that they mean the same for any model and rate. The
gradients vanish where their norm sinks below a hundredth of what it was, or where what reaches the first layer is below a
thousandth of what reaches the last, while the loss stands still (Bengio, Simard and Frasconi 1994, "Learning long-term
dependencies with gradient descent is difficult"; Pascanu, Mikolov and Bengio 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gradclip_cli.clipping import joint_norm

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]

SPIKE = 10.0
EXPLOSION = 1000.0
WINDOW = 100
FEWEST = 3
"""Steps that must have been seen before one can stand out."""
SUNK = 0.01
UNREACHED = 0.001
STANDSTILL = 0.05
"""Share of its first value that the loss must have lost, or it stands still."""

DIVERGED, EXPLODING, VANISHING, SPIKING, HEALTHY = "diverged", "exploding", "vanishing", "spiking", "healthy"


@dataclass(frozen=True)
class Spike:
    """A step (from 1) far above its running median: its norm, the multiple (infinite if not finite), the largest variable."""

    step: int
    norm: float
    multiple: float
    variable: str

    @property
    def explosive(self) -> bool:
        """Whether it is an explosion."""
        return self.multiple > EXPLOSION

    @property
    def told(self) -> str:
        """The spike in words."""
        if not np.isfinite(self.norm):
            return f"gradient not finite at step {self.step}, in {self.variable}"
        multiple = f"{self.multiple:,.0f}" if self.multiple < 1e6 else f"{self.multiple:.1g}"
        return f"gradient spike at step {self.step}: norm {self.norm:.3g}, {multiple} times its median, most in {self.variable}"


@dataclass(frozen=True)
class Overflow:
    """The first step (from 1) with gradients that were not finite, and the variables they belonged to."""

    step: int
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What the gradients of a run say, in one word and in figures. Norms are joint L2 norms before clipping."""

    word: str
    """diverged, exploding, vanishing, spiking or healthy."""
    steps: int
    median: float
    percentile_99: float
    largest: float
    """The largest finite norm; these three are NaN without a finite one."""
    largest_step: int
    spikes: tuple[Spike, ...]
    last_sane: tuple[int, float] | None
    """The last step that was no spike, with its norm."""
    overflow: Overflow | None
    clipped_share: float
    cut_share: float
    """Mean share of the norm that clipping took off the clipped steps; NaN without one."""
    leading_variable: str
    leading_share: float
    """The variable that contributes most, and its mean share of the squared norm."""
    sinking: float
    """Median norm of the last tenth of the steps over that of the first."""
    reach: float
    """Median ratio of the first layer's norm to the last layer's, over the last tenth of the steps."""
    loss_change: float
    """Median loss of the last tenth of the steps over that of the first, less one."""

    @property
    def first_spike(self) -> Spike | None:
        """The first spike of the run."""
        return self.spikes[0] if self.spikes else None

    @property
    def first_explosion(self) -> Spike | None:
        """The first explosion of the run."""
        return next((spike for spike in self.spikes if spike.explosive), None)

    @property
    def told(self) -> str:
        """The word with what it rests on, such as `spiking, 3 spikes from step 212 (lstm/kernel)`."""
        if not self.first_spike or self.word in (VANISHING, HEALTHY):
            return self.word
        first = self.first_explosion if self.word == EXPLODING and self.first_explosion else self.first_spike
        count = f"{len(self.spikes)} spikes from" if len(self.spikes) > 1 else "a spike at"
        return f"{self.word}, {count} step {first.step} ({first.variable})"


class Detector:
    """Reads a run's steps in order, in pieces of any size: what it finds does not depend on the pieces."""

    def __init__(self, variables: Sequence[str]) -> None:
        layers = [variable.split("/")[0] for variable in variables]
        self._variables = tuple(variables)
        self._first = np.array([layer == layers[0] for layer in layers])
        self._last = np.array([layer == layers[-1] for layer in layers])
        self._recent = np.empty(0)
        self._norms: list[FloatArray] = []
        self._losses: list[FloatArray] = []
        self._reaches: list[FloatArray] = []
        self._spikes: list[Spike] = []
        self._last_sane: tuple[int, float] | None = None
        self._overflow: Overflow | None = None
        self._steps, self._clipped, self._cut, self._finite = 0, 0, 0.0, 0
        self._shares = np.zeros(len(self._variables))

    def update(self, loss: FloatArray, norm: FloatArray, applied_norm: FloatArray, clipped: BoolArray) -> list[Spike]:
        """Read S more steps and return their spikes.

        `loss` is (S,), `norm` (S, V) each variable's before clipping, `applied_norm` (S,) all variables' together as the
        optimizer used them, `clipped` (S,).
        """
        joint = joint_norm(norm)[:, 0]
        spikes = self._find_spikes(norm, joint)
        finite = np.isfinite(joint)
        broken = np.flatnonzero(~finite)
        if len(broken) and not self._overflow:
            names = np.array(self._variables)[~np.isfinite(norm[broken[0]])]
            self._overflow = Overflow(self._steps + int(broken[0]) + 1, tuple(names.tolist()))
        counted = finite & (joint > 0)
        self._shares += np.square(norm[counted] / joint[counted, None]).sum(axis=0)
        self._finite += int(counted.sum())
        self._clipped += int(clipped.sum())
        cut = clipped & counted & np.isfinite(applied_norm)
        self._cut += float((1 - applied_norm[cut] / joint[cut]).sum())
        with np.errstate(all="ignore"):
            self._reaches.append(joint_norm(norm[:, self._first])[:, 0] / joint_norm(norm[:, self._last])[:, 0])
        self._norms.append(joint)
        self._losses.append(np.asarray(loss))
        self._steps += len(joint)
        return spikes

    def _find_spikes(self, norm: FloatArray, joint: FloatArray) -> list[Spike]:
        known = np.where(np.isfinite(joint), joint, np.inf)
        history = np.concatenate([self._recent, known])
        before = _running_median(history)[len(self._recent) : len(history)]
        with np.errstate(all="ignore"):
            multiples = np.where(np.isinf(known), np.inf, np.where(before > 0, known / before, 0))
        standing_out = multiples > SPIKE
        spikes = [
            Spike(self._steps + int(index) + 1, float(joint[index]), float(multiples[index]), self._largest(norm[index]))
            for index in np.flatnonzero(standing_out)
        ]
        if not standing_out.all():
            sane = int(np.flatnonzero(~standing_out)[-1])
            self._last_sane = (self._steps + sane + 1, float(joint[sane]))
        self._recent = history[-WINDOW:]
        self._spikes += spikes
        return spikes

    def _largest(self, norms: FloatArray) -> str:
        """The variable with the largest norm; one that is not finite is larger than any that is."""
        return self._variables[int(np.argmax(np.where(np.isfinite(norms), norms, np.inf)))]

    def diagnosis(self, *, diverged: bool = False) -> Diagnosis:
        """What was found so far. `diverged` says that the run ended with a loss or weight that was not finite."""
        norms, losses = _joined(self._norms), _joined(self._losses)
        finite = norms[np.isfinite(norms)]
        median, percentile, largest = (
            (*np.percentile(finite, [50, 99]).tolist(), float(finite.max())) if len(finite) else [np.nan] * 3
        )
        first, last = _tenths(norms)
        loss_first, loss_last = _tenths(losses)
        reach = _median(_tenths(_joined(self._reaches))[1])
        shares = self._shares / max(1, self._finite)
        sinking = _ratio(_median(first), _median(last))
        loss_change = _ratio(_median(loss_first), _median(loss_last)) - 1
        return Diagnosis(
            word=self._word(diverged, sinking, reach, loss_change),
            steps=self._steps,
            median=median,
            percentile_99=percentile,
            largest=largest,
            largest_step=int(np.nanargmax(np.where(np.isfinite(norms), norms, -1))) + 1 if len(finite) else 0,
            spikes=tuple(self._spikes),
            last_sane=self._last_sane,
            overflow=self._overflow,
            clipped_share=self._clipped / max(1, self._steps),
            cut_share=self._cut / self._clipped if self._clipped else np.nan,
            leading_variable=self._variables[int(shares.argmax())],
            leading_share=float(shares.max()),
            sinking=sinking,
            reach=reach,
            loss_change=loss_change,
        )

    def _word(self, diverged: bool, sinking: float, reach: float, loss_change: float) -> str:
        if diverged:
            return DIVERGED
        if any(spike.explosive for spike in self._spikes):
            return EXPLODING
        if loss_change > -STANDSTILL and (sinking < SUNK or reach < UNREACHED):
            return VANISHING
        return SPIKING if self._spikes else HEALTHY


def _running_median(history: FloatArray) -> FloatArray:
    """Median of up to WINDOW values before each, NaN where there are fewer than FEWEST: as many as given."""
    padded = np.concatenate([np.full(WINDOW, np.nan), history])
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: len(history)]
    full = min(WINDOW, len(history))
    medians = np.full(len(history), np.nan)
    for index in range(FEWEST, full):
        medians[index] = np.median(history[:index])
    medians[full:] = np.median(windows[full:], axis=1)
    return medians


def _joined(parts: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate(parts) if parts else np.empty(0)


def _tenths(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The finite values of the first and of the last tenth of the steps (at least one step each)."""
    size = max(1, len(values) // 10)
    first, last = values[:size], values[-size:]
    return first[np.isfinite(first)], last[np.isfinite(last)]


def _median(values: FloatArray) -> float:
    return float(np.median(values)) if len(values) else np.nan


def _ratio(first: float, last: float) -> float:
    return last / first if first else np.nan
