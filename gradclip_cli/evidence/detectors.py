"""Detectors of explosion: does a signal of a run's steps tell that the run is about to diverge, how early, and at what cost?

What the words mean here; H stands for the horizon, in steps.

- An *event* is the divergence of a run that diverged. Its step is the first whose loss or gradient is not finite, or the one at
  which the run was declared diverged, whichever comes first. What follows is not read; a run that ended otherwise has no event.
- A *signal* is a figure of each step: the joint norm of the gradients before clipping, the norm of the optimizer's update, or
  the loss; as it is, or as a multiple of the median of up to a hundred steps before it, as `gradients.health` knows spikes. A
  median that is not above zero has no multiples, and a figure that is not finite is above all others.
- A *detector* is a signal with a threshold. It sees a step whose signal is above the threshold.
- A step is *near* where an event follows within H steps, from 1 to H; all other steps before an event, and all steps of a run
  without one, are *ordinary*. How a run without an event would have gone on is not known: its last H steps are ordinary too.
- An event is *seen* where the detector sees one of its near steps. Its *lead* is the number of steps from the first of these to
  the event: 1 where it is the very step whose update breaks the run. The event's own step tells nothing: it is too late. An
  event is seen *early* where its lead is at least so many steps as were asked for.
- A *false alarm*: the first ordinary step that is seen says that the run is about to diverge. That stands for H steps, in which
  nothing more is said; the next ordinary step that is seen after them is the next false alarm. So a signal that flickers about
  its threshold is one alarm, one that always sounds is a thousand over H in 1,000 ordinary steps, and a higher threshold never
  gives more of them. They are counted per 1,000 ordinary steps.
- *By chance* is the share of ordinary steps that have a seen ordinary step among the H before them (so many steps before, for
  early): as often a moment at which nothing happens would have been "seen" as an event is.

A threshold is fixed on runs for calibration: the lowest at which they have so many false alarms per 1,000 ordinary steps, at
most. It is then judged on other runs. The share of events that are seen has Clopper and Pearson's exact interval, the rate of
false alarms a bootstrap over runs. Where no run has a false alarm, all samples of it are zero: the upper end is then the exact
one of a Poisson count of zero, as if alarms came singly. All intervals are at 95%, each for itself.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from gradclip_cli.arrays import BoolArray, FloatArray, IntArray
from gradclip_cli.evidence.bootstrap import Estimate, estimate
from gradclip_cli.evidence.stats import LEVEL, share_interval
from gradclip_cli.gradients.health import WINDOW
from gradclip_cli.gradients.running import RunningMedian
from gradclip_cli.runs.steps import UPDATE_NORM

if TYPE_CHECKING:
    import pandas as pd

LOSS, GRADIENT = "loss", "grad_norm"
QUANTITIES: Mapping[str, str] = MappingProxyType({GRADIENT: "gradient norm", UPDATE_NORM: "update norm", LOSS: "loss"})
"""What signals are made of, by the columns of `steps.csv`, each with its name."""
PER = 1000
"""Ordinary steps, to which false alarms are told."""
TRIED = 60
"""Thresholds of a curve of what is seen against false alarms, at most."""


@dataclass(frozen=True)
class Signal:
    """A quantity as it is, or `relative`: as a multiple of its own running median."""

    column: str
    relative: bool

    @property
    def name(self) -> str:
        """Such as `gradient norm`, or `gradient norm over its running median`."""
        return QUANTITIES[self.column] + (" over its running median" if self.relative else "")

    def of(self, values: FloatArray) -> FloatArray:
        """The signal of a column of S steps, (S,); NaN where it has none, infinite where the value is not finite."""
        known = np.where(np.isfinite(values), values, np.inf)
        return multiples(known) if self.relative else known


SIGNALS = tuple(Signal(column, relative) for column in QUANTITIES for relative in (False, True))


def multiples(values: FloatArray) -> FloatArray:
    """Each of S values over the median of up to a hundred before it, (S,); NaN where that median is not above zero."""
    running = RunningMedian(WINDOW)
    medians = np.array([running.before(value) for value in values.tolist()])
    with np.errstate(all="ignore"):
        return np.where(medians > 0, values / medians, np.nan)


def event_of(steps: pd.DataFrame, declared: int | None) -> int | None:
    """The step (from 1) of a run's event; None where it was not declared diverged.

    `steps` holds every step of the run with its loss and gradient norm, `declared` is the step at which it was said to diverge.
    """
    if declared is None:
        return None
    broken = np.flatnonzero(~np.isfinite(steps[[LOSS, GRADIENT]].to_numpy(float)).all(axis=1))
    return min(declared, int(broken[0]) + 1) if len(broken) else declared


@dataclass(frozen=True)
class Watched:
    """A signal of one run up to its event: `values` (S,) of the steps before it, or of all where there is no event."""

    values: FloatArray
    event: int | None
    horizon: int

    @classmethod
    def of(cls, signal: Signal, steps: pd.DataFrame, event: int | None, horizon: int) -> Watched:
        """A signal of a run with all its steps."""
        values = steps[signal.column].to_numpy(float)
        return cls(signal.of(values if event is None else values[: event - 1]), event, horizon)

    @property
    def ordinary(self) -> FloatArray:
        """The signal of its ordinary steps, which come first."""
        return self.values if self.event is None else self.values[: max(0, self.event - self.horizon - 1)]

    @property
    def near(self) -> FloatArray:
        """The signal of the steps near its event."""
        return self.values[len(self.ordinary) :]

    def lead(self, threshold: float) -> int | None:
        """Steps from the first near step that is seen to the event; None where none is."""
        seen = np.flatnonzero(self.near > threshold)
        return len(self.near) - int(seen[0]) if len(seen) else None

    def false_alarms(self, threshold: float) -> IntArray:
        """The ordinary steps (from 1) at which an alarm begins."""
        seen = np.flatnonzero(self.ordinary > threshold)
        found, at = [], 0
        while at < len(seen):
            found.append(seen[at] + 1)
            at = int(np.searchsorted(seen, seen[at] + self.horizon))
        return np.array(found, dtype=np.int64)

    def follows_a_seen_step(self, threshold: float, least: int = 1) -> BoolArray:
        """Whether an ordinary step has one that is seen from `least` to H steps before it, (ordinary steps,)."""
        seen = np.concatenate([[0], np.cumsum(self.ordinary > threshold)])
        steps = np.arange(len(self.ordinary))
        before = seen[np.maximum(0, steps + 1 - least)] - seen[np.maximum(0, steps - self.horizon)]
        return np.asarray(before > 0)


def false_alarm_rate(runs: Sequence[Watched], threshold: float) -> float:
    """False alarms per 1,000 ordinary steps of these runs; NaN where they have no ordinary step."""
    steps = sum(len(run.ordinary) for run in runs)
    return PER * sum(len(run.false_alarms(threshold)) for run in runs) / steps if steps else math.nan


def lowest_threshold(runs: Sequence[Watched], most: float) -> float:
    """The lowest threshold at which these runs have at most so many false alarms per 1,000 ordinary steps.

    It is one of the values that the signal has on their ordinary steps. Raises ValueError where it has none there.
    """
    values = np.concatenate([run.ordinary for run in runs])
    levels: list[float] = np.unique(values[~np.isnan(values)]).tolist()
    if not levels:
        raise ValueError("no ordinary step to fix a threshold on")
    return levels[bisect.bisect_left(levels, True, key=lambda level: false_alarm_rate(runs, level) <= most)]


@dataclass(frozen=True)
class Judged:
    """What a threshold saw of some runs."""

    runs: int
    leads: tuple[int | None, ...]
    """Of each event, in the runs' order; None where it was not seen."""
    ordinary_steps: int
    false_alarms: int
    rate: Estimate
    """False alarms per 1,000 ordinary steps."""
    by_chance: float
    """NaN without ordinary steps."""
    early: int
    """Steps before an event from which on it is seen early."""
    early_by_chance: float

    @classmethod
    def of(cls, runs: Sequence[Watched], threshold: float, early: int) -> Judged:
        """Of these runs."""
        alarms = np.array([len(run.false_alarms(threshold)) for run in runs], dtype=float)
        steps = np.array([len(run.ordinary) for run in runs], dtype=float)
        leads = tuple(run.lead(threshold) for run in runs if run.event is not None)
        count, total = int(alarms.sum()), int(steps.sum())
        by_chance = chance(runs, threshold), early, chance(runs, threshold, early)
        return cls(len(runs), leads, total, count, rate_of(alarms, steps), *by_chance)

    @property
    def events(self) -> int:
        return len(self.leads)

    @property
    def seen(self) -> int:
        """How many events were seen."""
        return sum(lead is not None for lead in self.leads)

    @property
    def seen_early(self) -> int:
        """How many were seen early."""
        return sum(lead is not None and lead >= self.early for lead in self.leads)

    @property
    def share_seen(self) -> Estimate | None:
        """Of the events, with its exact interval; None where there was none."""
        return self._share(self.seen)

    @property
    def share_early(self) -> Estimate | None:
        """The same of those seen early."""
        return self._share(self.seen_early)

    def _share(self, count: int) -> Estimate | None:
        return Estimate(count / self.events, *share_interval(count, self.events)) if self.events else None

    @property
    def lead_quartiles(self) -> tuple[float, float, float] | None:
        """First quartile, median and third quartile of the leads of the events that were seen; None where none was."""
        leads = [lead for lead in self.leads if lead is not None]
        if not leads:
            return None
        first, median, third = np.percentile(leads, [25, 50, 75]).tolist()
        return first, median, third

    @property
    def beats_chance(self) -> bool:
        """Whether the interval of the share of events that were seen lies above what chance sees."""
        return self.share_seen is not None and self.share_seen.low > self.by_chance

    @property
    def early_beats_chance(self) -> bool:
        """The same of those seen early."""
        return self.share_early is not None and self.share_early.low > self.early_by_chance


def chance(runs: Sequence[Watched], threshold: float, least: int = 1) -> float:
    """The share of all ordinary steps that have a seen one from `least` to H steps before them; NaN where there is none."""
    found = np.concatenate([run.follows_a_seen_step(threshold, least) for run in runs])
    return float(found.mean()) if len(found) else math.nan


def rate_of(alarms: FloatArray, steps: FloatArray) -> Estimate:
    """Alarms per 1,000 steps of runs with so many of both, (runs,) each, with its interval; NaN and unbounded without steps."""
    found = estimate(lambda counts, lengths: PER * counts.sum(axis=-1) / lengths.sum(axis=-1), alarms, steps)
    if alarms.any() or not steps.any():
        return found
    return Estimate(0.0, 0.0, PER * float(special.gammaincinv(1, 1 - LEVEL / 2)) / float(steps.sum()))


@dataclass(frozen=True)
class Detector:
    """A signal with its threshold, what it did on the runs that fixed it, and on fresh ones."""

    signal: Signal
    threshold: float
    calibration: Judged
    fresh: Judged

    @classmethod
    def fixed(
        cls, signal: Signal, calibration: Sequence[Watched], fresh: Sequence[Watched], *, most: float, early: int
    ) -> Detector:
        """Fix the threshold on some runs and judge it on others. Raises ValueError as `lowest_threshold` does."""
        threshold = lowest_threshold(calibration, most)
        return cls(signal, threshold, *(Judged.of(runs, threshold, early) for runs in (calibration, fresh)))


def seen_by_lead(runs: Sequence[Watched], threshold: float) -> tuple[FloatArray, FloatArray]:
    """For 1 to H steps: the share of events that were seen so many steps before or earlier, and that by chance, (H,) each."""
    leads = np.array([run.lead(threshold) or 0 for run in runs if run.event is not None])
    steps = np.arange(1, runs[0].horizon + 1)
    by_chance = np.array([chance(runs, threshold, least) for least in steps.tolist()])
    return (leads >= steps[:, None]).mean(axis=1), by_chance


def early_by_cost(runs: Sequence[Watched], early: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What thresholds from the highest to the lowest would give on these runs.

    False alarms per 1,000 steps, the share of events that are seen early, and that by chance, (thresholds,) each; they stand
    closer where they are rarely exceeded.
    """
    values = np.unique(np.concatenate([run.values[~np.isnan(run.values)] for run in runs]))[::-1]
    places = np.unique(np.geomspace(1, len(values), TRIED).astype(int)) - 1
    levels = values[places].tolist()
    judged = [(false_alarm_rate(runs, level), _early(runs, level, early), chance(runs, level, early)) for level in levels]
    rates, shares, by_chance = np.array(judged).T
    return rates, shares, by_chance


def _early(runs: Sequence[Watched], threshold: float, early: int) -> float:
    """The share of events that are seen early."""
    return float(np.mean([(run.lead(threshold) or 0) >= early for run in runs if run.event is not None]))
