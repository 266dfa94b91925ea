"""The gradients' health: spikes, explosion, vanishing. One detector reads steps in order, live or from `steps.csv`.

A spike is a step whose joint gradient norm, before clipping, is above ten times the median of up to a hundred steps before it; an
explosion one above a thousand times. A norm that is not finite is both; a median of zero has no multiples. All is relative, so
that it means the same for any model and rate, and compared with the run's beginning: the gradients explode too where they end
above a thousand times what they began with, and they vanish where they end below a hundredth of it, or where what reaches the
first layer is below a thousandth of what reaches the last, while the loss has not fallen (Bengio, Simard and Frasconi 1994,
"Learning long-term dependencies with gradient descent is difficult"; Pascanu, Mikolov and Bengio 2013, "On the difficulty of
training recurrent neural networks").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from gradclip_cli.arrays import BoolArray, FloatArray
from gradclip_cli.gradients.running import RunningMean, RunningMedian
from gradclip_cli.gradients.scopes import joint_norm

if TYPE_CHECKING:
    import pandas as pd

SPIKE = 10.0
EXPLOSION = 1000.0
WINDOW = 100
BEGINNING = 10
"""Steps whose medians are what a run began with."""
SUNK = 0.01
UNREACHED = 0.001
STANDSTILL = 0.05
"""Share of what it began with that the loss must have lost, or it stands still."""


class Health(StrEnum):
    """A run's gradients in one word, the worst first."""

    DIVERGED = "diverged"
    EXPLODING = "exploding"
    VANISHING = "vanishing"
    SPIKING = "spiking"
    HEALTHY = "healthy"


@dataclass(frozen=True, slots=True)
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
    def shown_multiple(self) -> str:
        """The multiple, rounded; its power of ten where it is huge."""
        return f"{self.multiple:,.0f}" if self.multiple < 1e6 else f"{self.multiple:.1g}"

    @property
    def brief(self) -> str:
        """The spike in so few words that they fit into a progress line."""
        if not np.isfinite(self.norm):
            return f"not finite at step {self.step}: {self.variable}"
        return f"{self.shown_multiple}x at step {self.step}: {self.variable}"

    @property
    def message(self) -> str:
        """The spike in words."""
        if not np.isfinite(self.norm):
            return f"gradient not finite at step {self.step}, in {self.variable}"
        times = f"{self.shown_multiple} times the running median"
        return f"gradient spike at step {self.step}: norm {self.norm:.3g}, {times}, most in {self.variable}"


@dataclass(frozen=True)
class Overflow:
    """The first step (from 1) with gradients that were not finite, and the variables they belonged to."""

    step: int
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What the gradients of a run say, in one word and in figures. Norms are joint L2 norms before clipping.

    A run begins with its first ten steps and ends with its last tenth (ten steps at least). Where the two overlap, and where
    nothing finite was recorded, a figure that needs them is NaN.
    """

    word: Health
    steps: int
    median: float
    percentile_99: float
    largest: float
    """The largest finite norm; these three are NaN without a finite one."""
    largest_step: int
    """Its step; 0 without one."""
    spikes: tuple[Spike, ...]
    last_sane: tuple[int, float] | None
    """The last step that was no spike, with its norm."""
    overflow: Overflow | None
    clipped_share: float
    cut_share: float
    """Mean share of the norm that clipping took off the clipped steps of finite norm; NaN without one."""
    cut_quartiles: tuple[float, float, float]
    """Quartiles of the same shares; NaN without one."""
    steps_not_finite: int
    """Steps with a gradient that was not finite."""
    leading_variable: str | None
    leading_share: float
    """The variable that contributes most, and its mean share of the squared norm; None and NaN where no norm is above zero."""
    norm_ratio: float
    """Median norm at the end over that at the beginning."""
    reach: float
    """Median ratio of the first layer's norm to the last layer's, at the end."""
    loss_change: float
    """Median loss at the end over that at the beginning, less one."""
    vanishing: bool
    """Whether there are signs of vanishing, whatever else the word says."""

    @property
    def first_spike(self) -> Spike | None:
        """The first spike of the run."""
        return self.spikes[0] if self.spikes else None

    @property
    def first_explosion(self) -> Spike | None:
        """The first explosion of the run."""
        return next((spike for spike in self.spikes if spike.explosive), None)

    @property
    def message(self) -> str:
        """The word with what it rests on, such as `spiking, 3 spikes from step 212 (lstm/kernel)`."""
        name = "explosion" if self.word == Health.EXPLODING else "spike"
        found = [spike for spike in self.spikes if spike.explosive or self.word != Health.EXPLODING]
        if not found or self.word in (Health.VANISHING, Health.HEALTHY):
            return self.word
        count = f"{len(found)} {name}s from" if len(found) > 1 else f"{'an' if name == 'explosion' else 'a'} {name} at"
        return f"{self.word}, {count} step {found[0].step} ({found[0].variable})"


class Detector:
    """Reads a run's steps in order, in pieces of any size: what it finds does not depend on the pieces.

    It keeps three numbers a step, and a fourth of a clipped one.
    """

    def __init__(self, variables: Sequence[str], every: int = 1) -> None:
        """Of steps of which one in `every` is read."""
        layers = [variable.split("/")[0] for variable in variables]
        self._variables, self._every = tuple(variables), every
        self._first = np.array([layer == layers[0] for layer in layers])
        self._last = np.array([layer == layers[-1] for layer in layers])
        self._running = RunningMedian(WINDOW)
        self._norms: list[FloatArray] = []
        self._losses: list[FloatArray] = []
        self._reaches: list[FloatArray] = []
        self._cut_of_steps: list[FloatArray] = []
        self._spikes: list[Spike] = []
        self._last_sane: tuple[int, float] | None = None
        self._overflow: Overflow | None = None
        self._steps, self._clipped = 0, 0
        self._cuts, self._shares = RunningMean(1), RunningMean(len(self._variables))

    def update(self, loss: FloatArray, norm: FloatArray, applied_norm: FloatArray, clipped: BoolArray) -> list[Spike]:
        """Read S more steps and return their spikes.

        `loss` is (S,), `norm` (S, V) each variable's before clipping, `applied_norm` (S,) all variables' together as the
        optimizer used them, `clipped` (S,).
        """
        norm = np.ascontiguousarray(norm, np.float64)
        joint = joint_norm(norm)[:, 0]
        spikes = self._find_spikes(norm, joint)
        self._note_overflow(norm, joint)
        counted = np.isfinite(joint) & (joint > 0)
        self._shares.add(np.square(norm[counted] / joint[counted, None]))
        cuts = cut_shares(joint, applied_norm, clipped)
        cuts = cuts[np.isfinite(cuts)]
        self._cuts.add(cuts[:, None])
        self._cut_of_steps.append(cuts)
        self._clipped += int(clipped.sum())
        with np.errstate(all="ignore"):
            first, last = (joint_norm(norm.compress(layer, axis=1))[:, 0] for layer in (self._first, self._last))
            self._reaches.append(first / last)
        self._norms.append(joint)
        self._losses.append(np.array(loss, np.float64))  # a copy: a view would keep all that was read
        self._steps += len(joint)
        return spikes

    def read(self, rows: pd.DataFrame) -> list[Spike]:
        """Read S more rows of `steps.csv` and return their spikes."""
        norm = rows[[f"norm/{name}" for name in self._variables]].to_numpy(float)
        loss, applied_norm = rows["loss"].to_numpy(float), rows["applied_norm"].to_numpy(float)
        return self.update(loss, norm, applied_norm, rows["clipped"].to_numpy(bool))

    def _find_spikes(self, norm: FloatArray, joint: FloatArray) -> list[Spike]:
        known = np.where(np.isfinite(joint), joint, np.inf)
        medians = np.array([self._running.before(value) for value in known.tolist()])
        standing_out = np.isinf(known) | ((medians > 0) & (known > SPIKE * medians))
        found = np.flatnonzero(standing_out)
        multiples = [float(known[index] / medians[index]) if np.isfinite(known[index]) else np.inf for index in found]
        largest = np.where(np.isfinite(norm[found]), norm[found], np.inf).argmax(axis=1)
        spikes = [
            Spike(self._step(index), float(joint[index]), multiple, self._variables[variable])
            for index, multiple, variable in zip(found.tolist(), multiples, largest.tolist(), strict=True)
        ]
        if len(found) < len(joint):
            sane = int(np.flatnonzero(~standing_out)[-1])
            self._last_sane = (self._step(sane), float(joint[sane]))
        self._spikes += spikes
        return spikes

    def _note_overflow(self, norm: FloatArray, joint: FloatArray) -> None:
        broken = np.flatnonzero(~np.isfinite(joint))
        if len(broken) and not self._overflow:
            names = np.array(self._variables)[~np.isfinite(norm[broken[0]])]
            self._overflow = Overflow(self._step(int(broken[0])), tuple(names.tolist()))

    def _step(self, index: int) -> int:
        """The step, from 1, of one of the rows that are being read."""
        return (self._steps + index + 1) * self._every

    def diagnosis(self, *, diverged: bool = False) -> Diagnosis:
        """What was found so far. `diverged` says that the run ended with a loss or weight that was not finite."""
        norms = _joined(self._norms)
        median, percentile, largest, largest_step = _sizes(norms)
        shares = self._shares.mean
        leading = int(shares.argmax())
        norm_ratio = _ratio(*_beginning_and_end(norms))
        loss_change = _ratio(*_beginning_and_end(_joined(self._losses))) - 1
        reach = _beginning_and_end(_joined(self._reaches))[1]
        fallen = not loss_change > -STANDSTILL
        vanishing = not fallen and (norm_ratio < SUNK or reach < UNREACHED)
        exploding = not fallen and norm_ratio > EXPLOSION
        return Diagnosis(
            word=self._word(diverged, exploding, vanishing),
            steps=self._steps,
            median=median,
            percentile_99=percentile,
            largest=largest,
            largest_step=largest_step * self._every,
            spikes=tuple(self._spikes),
            last_sane=self._last_sane,
            overflow=self._overflow,
            clipped_share=self._clipped / max(1, self._steps),
            cut_share=float(self._cuts.mean[0]),
            cut_quartiles=_quartiles(_joined(self._cut_of_steps)),
            steps_not_finite=int(np.count_nonzero(~np.isfinite(norms))),
            leading_variable=self._variables[leading] if np.isfinite(shares[leading]) else None,
            leading_share=float(shares[leading]),
            norm_ratio=norm_ratio,
            reach=reach,
            loss_change=loss_change,
            vanishing=vanishing,
        )

    def _word(self, diverged: bool, exploding: bool, vanishing: bool) -> Health:
        if diverged:
            return Health.DIVERGED
        if exploding or any(spike.explosive for spike in self._spikes):
            return Health.EXPLODING
        if vanishing:
            return Health.VANISHING
        return Health.SPIKING if self._spikes else Health.HEALTHY


def cut_shares(norm: FloatArray, applied_norm: FloatArray, clipped: BoolArray) -> FloatArray:
    """What share of the norm clipping took off each of S steps, (S,), 0 to 1; NaN where it didn't act or a norm is not finite."""
    known = clipped & np.isfinite(norm) & (norm > 0) & np.isfinite(applied_norm)
    shares = np.full(len(norm), np.nan)
    shares[known] = 1 - np.minimum(1, applied_norm[known] / norm[known])
    return shares


def _quartiles(values: FloatArray) -> tuple[float, float, float]:
    if not len(values):
        return np.nan, np.nan, np.nan
    first, median, third = np.percentile(values, [25, 50, 75]).tolist()
    return first, median, third


def _joined(parts: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate(parts) if parts else np.empty(0)


def _sizes(norms: FloatArray) -> tuple[float, float, float, int]:
    """Median, 99th percentile and largest of the finite norms (S,), and its step; NaN, and step 0, without one."""
    finite = np.flatnonzero(np.isfinite(norms))
    if not len(finite):
        return np.nan, np.nan, np.nan, 0
    median, percentile = np.percentile(norms[finite], [50, 99]).tolist()
    largest = finite[norms[finite].argmax()]
    return median, percentile, float(norms[largest]), int(largest) + 1


def _beginning_and_end(values: FloatArray) -> tuple[float, float]:
    """Medians of what is finite in the first BEGINNING steps and in the last tenth; NaN where the two would overlap."""
    size = max(BEGINNING, len(values) // 10)
    return (_median(values[:BEGINNING]), _median(values[-size:])) if len(values) >= BEGINNING + size else (np.nan, np.nan)


def _median(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else np.nan


def _ratio(beginning: float, end: float) -> float:
    """The end over the beginning; nothing is left of nothing, and something is no multiple of it."""
    if beginning:
        return end / beginning
    return np.nan if end else 0.0
