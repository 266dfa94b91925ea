"""One run an arm, step by step: its norms in bins that keep the smallest and the largest, and what other thresholds had met."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from gradclip_cli.arrays import FloatArray, IntArray
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence.arms import Arm, StoredRun
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.gradients.scopes import ALL_TOGETHER
from gradclip_cli.pages.elements import element, section, table
from gradclip_cli.pages.words import explained
from gradclip_cli.plots.style import known
from gradclip_cli.texts import counted

BINS = 500
"""As many as there are pixels for."""
NORMS = 1001
"""Of more norms so many quantiles stand for all, evenly spaced: a share is then told to a thousandth."""
SHARES = (0.5, 0.25, 0.1, 0.05, 0.01)
"""Of the steps, for which the table tells the threshold that had met so many."""


@dataclass(frozen=True)
class Trace:
    """A run's recorded steps in B bins; NaN where there is nothing finite."""

    arm: str
    seed: int
    recorded: int
    """Its recorded steps, of which a bin holds `recorded` / B."""
    steps: FloatArray
    """(B,) the middle step of each bin, from 1."""
    before: tuple[FloatArray, FloatArray]
    """Two (B,): the smallest and the largest global L2 norm before clipping in each bin."""
    after: tuple[FloatArray, FloatArray]
    """The same after clipping."""
    clipped: FloatArray
    """(B,) share of clipped steps, 0 to 1."""
    norms: FloatArray
    """(N,) the finite norms before clipping in ascending order, or `NORMS` quantiles of them."""
    clips: bool
    """Whether the run had a rule that clips."""
    threshold: float | None
    """That of the run's rule, where it bounds the global norm."""

    @property
    def title(self) -> str:
        """Which run it is, and what is drawn of it."""
        bins = len(self.steps)
        told = "each step" if bins == self.recorded else f"the smallest and largest norm of each of {bins} equal parts"
        return f"{self.arm}, seed {self.seed}: {told} of {counted(self.recorded, 'recorded step')}"

    def exceeded(self, share: float) -> float:
        """The norm that such a share of the steps exceeds."""
        return float(np.quantile(self.norms, 1 - share)) if len(self.norms) else float("nan")


def traces(compared: Comparison) -> list[Trace]:
    """Of each arm, its first run that has its steps, whole; none where no run has."""
    firsts = (_first(part.arm) for part in compared.arms)
    return [each for each in firsts if each]


def _first(arm: Arm) -> Trace | None:
    for run in arm.runs:
        if run.directory.has("steps.csv"):
            with contextlib.suppress(StoreError):  # which is among the comparison's warnings
                return trace(run, arm.name)
    return None


def trace(run: StoredRun, arm: str) -> Trace:
    """A run's steps. Raises StoreError where they can't be read."""
    frame = run.directory.steps(["step", "grad_norm", "applied_norm", "clipped"])
    steps, before, after, clipped = (frame[name].to_numpy(float) for name in ("step", "grad_norm", "applied_norm", "clipped"))
    starts = np.unique(np.arange(min(BINS, len(steps))) * len(steps) // min(BINS, len(steps)))
    sizes = np.diff([*starts, len(steps)])
    norms = np.sort(known(before))
    rule = run.config.clipping
    return Trace(
        arm=arm,
        seed=run.seed,
        recorded=len(steps),
        steps=np.add.reduceat(steps, starts) / sizes,
        before=_range(before, starts),
        after=_range(after, starts),
        clipped=np.add.reduceat(clipped, starts) / sizes,
        norms=norms if len(norms) <= NORMS else np.quantile(norms, np.linspace(0, 1, NORMS)),
        clips=rule.mode != "none",
        threshold=rule.threshold_of_all if rule.scope is ALL_TOGETHER else None,
    )


def _range(values: FloatArray, starts: IntArray) -> tuple[FloatArray, FloatArray]:
    """The smallest and the largest finite value from each start to the next."""
    there = np.where(np.isfinite(values), values, np.nan)
    return np.fmin.reduceat(there, starts), np.fmax.reduceat(there, starts)


def step_by_step(found: Sequence[Trace]) -> Element:
    """The section of these runs: a table of thresholds, and a place for each run's steps."""
    columns = ["run", *(f"{share:.0%}" for share in SHARES)]
    rows = [[f"{each.arm}, seed {each.seed}", *(f"{each.exceeded(share):.3g}" for share in SHARES)] for each in found]
    note = (
        "By the global norm before clipping, as these runs had it; with another threshold a run would have gone another way. "
        "One run stands for each arm: the first whose steps are stored."
    )
    return section(
        "steps",
        "Step by step",
        table("Threshold that so many of a run's recorded steps exceeded", columns, rows),
        element("p", explained(note), class_="note"),
        *(element("div", id=f"steps-{number}") for number in range(len(found))),
    )
