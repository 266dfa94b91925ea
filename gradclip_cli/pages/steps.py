"""Runs, step by step: their norms in bins that keep the smallest and the largest, and what other thresholds had met."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
import pandas as pd

from gradclip_cli.arrays import FloatArray, IntArray
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence.arms import Arm, StoredRun
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.gradients.scopes import ALL_TOGETHER, EACH_ELEMENT, EACH_VARIABLE, Scope
from gradclip_cli.pages.elements import element, section, table
from gradclip_cli.pages.words import explained
from gradclip_cli.plots.style import known
from gradclip_cli.runs.csv_files import read_columns
from gradclip_cli.texts import counted

BINS = 400
"""About as many as can be told apart on a screen."""
NORMS = 501
"""Of more norms so many quantiles stand for all, evenly spaced: a share is then told to a five-hundredth."""
SHARES = (0.5, 0.25, 0.1, 0.05, 0.01)
"""Of the steps, for which the table tells the threshold that had met so many."""
MOST_RUNS = 12
"""So many runs' steps a page holds at most."""
MOST_SHOWN = 3
"""So many of them are drawn at once."""
MOST_VARIABLES = 12
"""So many variables of a run can be chosen, those with the largest norms."""


@dataclass(frozen=True)
class Measure:
    """One thing that a threshold can be held against on each step, in the bins of its trace."""

    name: str
    """What it is, as a list of them names it."""
    unit: str
    clipping: str
    """What clipping by it is called in a sentence."""
    before: tuple[FloatArray, FloatArray]
    """Two (B,): the smallest and the largest before clipping in each bin; NaN where there is nothing finite."""
    after: tuple[FloatArray, FloatArray]
    """The same after clipping."""
    spread: FloatArray
    """(N,) the finite values before clipping in ascending order, or `NORMS` quantiles of them."""
    finite: int
    """On how many steps it was finite before clipping."""
    infinite: int
    """On how many it was infinite."""
    threshold: float | None
    """That of the run's rule, where it bounds this."""

    def exceeded(self, share: float) -> float:
        """The value that such a share of the steps exceeds."""
        return float(np.quantile(self.spread, 1 - share)) if len(self.spread) else float("nan")


@dataclass(frozen=True)
class Trace:
    """A run's recorded steps in B bins."""

    arm: str
    seed: int
    recorded: int
    """Its recorded steps, of which a bin holds `recorded` / B."""
    steps: FloatArray
    """(B,) the middle step of each bin, from 1."""
    loss: tuple[FloatArray, FloatArray]
    """Two (B,): the smallest and the largest loss in each bin; NaN where there is nothing finite."""
    clipped: FloatArray
    """(B,) share of clipped steps, 0 to 1."""
    clips: bool
    """Whether the run had a rule that clips."""
    measures: tuple[Measure, ...]
    """The global norm first; then, where they were recorded, what other rules bound, and each variable's norm."""
    left_out: int = 0
    """How many variables have smaller norms than those among the measures."""

    @property
    def name(self) -> str:
        """Which run it is."""
        return f"{self.arm}, seed {self.seed}"

    @property
    def title(self) -> str:
        """Which run it is, and what is drawn of it."""
        bins = len(self.steps)
        told = "each step" if bins == self.recorded else f"the smallest and largest value of each of {bins} equal parts"
        others = f"; {counted(self.left_out, 'variable')} with smaller norms left out" if self.left_out else ""
        return f"{self.name}: {told} of {counted(self.recorded, 'recorded step')}{others}"

    @property
    def overall(self) -> Measure:
        """The global norm."""
        return self.measures[0]


def traces(compared: Comparison, most: int = MOST_RUNS) -> list[Trace]:
    """Runs that have their steps, whole, at most so many: each arm's first, then each arm's second, and so on."""
    readers = [_readable(part.arm) for part in compared.arms]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*readers))
    return list(itertools.islice(filter(None, in_turn), most))


def _readable(arm: Arm) -> Iterator[Trace]:
    for run in arm.runs:
        if run.directory.has("steps.csv"):
            with contextlib.suppress(StoreError):  # which is among the comparison's warnings
                yield trace(run, arm.name)


def trace(run: StoredRun, arm: str) -> Trace:
    """A run's steps. Raises StoreError where they can't be read."""
    columns = [name for name in read_columns(run.directory.file("steps.csv")) if name.split("/")[0] in _READ]
    frame = run.directory.steps(
        ["step", "loss", "grad_norm", "applied_norm", "clipped", *(each for each in columns if "/" in each)]
    )
    bins = min(BINS, len(frame))
    starts = np.unique(np.arange(bins) * len(frame) // bins)
    sizes = np.diff([*starts, len(frame)])
    variables = _largest_first(frame)
    return Trace(
        arm=arm,
        seed=run.seed,
        recorded=len(frame),
        steps=np.add.reduceat(frame["step"].to_numpy(float), starts) / sizes,
        loss=_range(frame["loss"].to_numpy(float), starts),
        clipped=np.add.reduceat(frame["clipped"].to_numpy(float), starts) / sizes,
        clips=run.config.clipping.mode != "none",
        measures=tuple(_measures(frame, starts, run.config, variables)),
        left_out=max(0, len(variables) - MOST_VARIABLES),
    )


_READ = ("norm", "max_abs", "applied_norm", "applied_max_abs")
_OVERALL = ("All variables together: the global norm", "global L2 norm", "clipping by the global norm")
_LARGEST = ("The largest norm of a variable", "largest L2 norm of a variable", "clipping each variable by its norm (clipnorm)")
_ELEMENT = ("The largest element", "largest absolute element", "clipping each element (clipvalue)")


def _measures(frame: pd.DataFrame, starts: IntArray, config: Config, variables: Sequence[str]) -> Iterator[Measure]:
    """The global norm, and what the columns of variables tell where there are some."""

    def measure(words: tuple[str, str, str], names: tuple[Sequence[str], Sequence[str]], threshold: float | None) -> Measure:
        before, after = (frame[list(columns)].to_numpy(float).max(axis=1) for columns in names)
        return _measure(words, before, after, starts, threshold)

    yield measure(_OVERALL, (["grad_norm"], ["applied_norm"]), _threshold(config, ALL_TOGETHER))
    if not variables:
        return
    yield measure(_LARGEST, _of("norm", variables), _threshold(config, EACH_VARIABLE))
    yield measure(_ELEMENT, _of("max_abs", variables), _threshold(config, EACH_ELEMENT))
    thresholds = _thresholds(config, variables)
    for name in variables[:MOST_VARIABLES]:
        words = (name, f"L2 norm of {name}", f"clipping {name} by its norm")
        yield measure(words, _of("norm", [name]), thresholds.get(name))


def _of(quantity: str, variables: Sequence[str]) -> tuple[list[str], list[str]]:
    """The columns of a quantity before and after clipping."""
    return [f"{quantity}/{name}" for name in variables], [f"applied_{quantity}/{name}" for name in variables]


def _measure(
    words: tuple[str, str, str], before: FloatArray, after: FloatArray, starts: IntArray, threshold: float | None
) -> Measure:
    finite = np.sort(known(before))
    return Measure(
        *words,
        before=_range(before, starts),
        after=_range(after, starts),
        spread=finite if len(finite) <= NORMS else np.quantile(finite, np.linspace(0, 1, NORMS)),
        finite=len(finite),
        infinite=int(np.isinf(before).sum()),
        threshold=threshold,
    )


def _largest_first(frame: pd.DataFrame) -> list[str]:
    """The variables of whose gradients each quantity was recorded, as they stand there; of many those with large norms first."""
    found = [name.removeprefix("norm/") for name in map(str, frame.columns) if name.startswith("norm/")]
    found = [name for name in found if all(f"{quantity}/{name}" in frame for quantity in _READ)]
    if len(found) <= MOST_VARIABLES:
        return found
    return sorted(found, key=lambda name: -float(frame[f"norm/{name}"].median()))


def _threshold(config: Config, scope: Scope) -> float | None:
    return config.clipping.threshold_of_all if config.clipping.scope is scope else None


def _thresholds(config: Config, variables: Sequence[str]) -> Mapping[str, float]:
    """By variable: its threshold, of a rule that bounds each variable's norm."""
    if _threshold(config, EACH_VARIABLE) is None:
        return {}
    each = zip(variables, config.thresholds(variables), strict=True)
    return {name: threshold for name, threshold in each if math.isfinite(threshold)}


def _range(values: FloatArray, starts: IntArray) -> tuple[FloatArray, FloatArray]:
    """The smallest and the largest finite value from each start to the next."""
    there = np.where(np.isfinite(values), values, np.nan)
    return np.fmin.reduceat(there, starts), np.fmax.reduceat(there, starts)


def step_by_step(found: Sequence[Trace], stored: int) -> Element:
    """The section of these runs, of so many whose steps are stored: a table of thresholds, and places for runs' steps."""
    columns = ["run", *(f"{share:.0%}" for share in SHARES)]
    rows = [[each.name, *(f"{each.overall.exceeded(share):.3g}" for share in SHARES)] for each in found]
    note = "By the global norm before clipping, as these runs had it; with another threshold a run would have gone another way."
    left = "" if stored <= len(found) else f" Steps of {stored:,} runs are stored; {len(found)} are here, of each arm its first."
    return section(
        "steps",
        "Step by step",
        table("Threshold that so many of a run's recorded steps exceeded", columns, rows),
        element("p", explained(note + left), class_="note"),
        *(element("div", id=f"steps-{number}") for number in range(min(MOST_SHOWN, len(found)))),
    )


def stored(compared: Comparison) -> int:
    """Of how many runs the steps are stored."""
    return sum(run.directory.has("steps.csv") for part in compared.arms for run in part.arm.runs)
