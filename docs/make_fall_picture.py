"""Draws docs/clipping/fall.png: a run that solves its task and loses it in one step, and its clipped twin.

It draws what docs/clipping/steps.csv.xz and falls.csv hold. With a folder of runs, trained as docs/clipping.md says, it first
writes these two anew: `docs/make_fall_picture.py results`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradclip_cli.plots import save
from gradclip_cli.plots.style import COLOURS, logarithmic, styled

FOLDER = Path(__file__).parent / "clipping"
PICTURE, STEPS, FALLS = FOLDER / "fall.png", FOLDER / "steps.csv.xz", FOLDER / "falls.csv"
ARMS = ("unclipped", "clipped")
COLUMNS = ["step", "loss", "correct", "grad_norm", "applied_norm"]
BATCH, SHOWN_STEPS, CLOSE = 32, 3000, 12
SOLVED, LOST, BEFORE, AFTER, APART = 0.99, 0.3, 100, 5, 200
"""A run has solved its task once 99% of the last 100 batches' samples are right; it falls where over the 5 next batches 30 points
fewer are; falls less than 200 steps apart are one."""


def fall_of(steps: pd.DataFrame) -> dict[str, float]:
    """A run's first solved step, its falls, the last step before the deepest one, and the accuracy of its last 500 batches."""
    right = steps["correct"] / BATCH
    before = right.rolling(BEFORE).mean()
    after = right[::-1].rolling(AFTER).mean()[::-1].shift(-1)
    solved = before >= SOLVED
    depth = (before - after).where(solved, -np.inf).fillna(-np.inf)
    falling = np.flatnonzero(depth > LOST)
    deepest = int(depth.argmax())
    return {
        "solved_at": int(steps["step"][solved.argmax()]) if solved.any() else -1,
        "falls": int((np.diff(falling, prepend=-APART) >= APART).sum()),
        "deepest_at": int(steps["step"][deepest]) if len(falling) else -1,
        "depth": round(float(depth[deepest]), 3),
        "ends_at": round(float(right[-500:].mean()), 3),
    }


def collect(results: Path) -> None:
    """Write what the page and the picture tell of the runs of both arms, from their folder."""
    runs = {(arm, int(path.name[5:])): pd.read_csv(path / "steps.csv") for arm in ARMS for path in (results / arm).glob("seed-*")}
    falls = pd.DataFrame([{"arm": arm, "seed": seed, **fall_of(steps)} for (arm, seed), steps in sorted(runs.items())])
    falls.to_csv(FALLS, index=False)
    seed = deepest(falls)["seed"]
    kept = [runs[arm, seed][COLUMNS][:SHOWN_STEPS].assign(arm=arm) for arm in ARMS]
    pd.concat(kept).to_csv(STEPS, index=False, compression={"method": "xz", "preset": 9})


def deepest(falls: pd.DataFrame) -> pd.Series:
    """The row of the unclipped run whose fall is the deepest."""
    unclipped = falls[falls["arm"] == ARMS[0]]
    return unclipped.loc[unclipped["depth"].idxmax()]


def figure() -> Figure:
    """Accuracy and gradient norm by step, over the run and around its fall: unclipped, and at the right its clipped twin."""
    chosen, steps = deepest(pd.read_csv(FALLS)), pd.read_csv(STEPS)
    last = int(chosen["deepest_at"])
    with styled():
        drawn = Figure(figsize=(9.0, 9.6), layout="constrained")
        title = f"Seed {chosen['seed']}: solved, and lost in one step; at the right its clipped twin"
        drawn.suptitle(title, fontsize=13, weight="bold")
        panels = drawn.subplots(4, 2, sharey="row")
        for column, (arm, rule) in enumerate(zip(ARMS, ("without clipping", "global_clipnorm 1"), strict=True)):
            run = steps[steps["arm"] == arm]
            close = run[run["step"].between(last - CLOSE, last + CLOSE)]
            _accuracy(panels[0, column], run, 20)
            _norm(panels[1, column], run, column)
            _accuracy(panels[2, column], close, 1)
            _norm(panels[3, column], close, column)
            panels[0, column].set_title(rule)
            panels[2, column].set_title(f"around step {last:,}", fontsize=11)
            panels[3, column].set_xlabel("step")
            for row in range(4):
                panels[row, column].axvline(last, color=COLOURS[1], linewidth=1.0, alpha=0.7)
        for row, label in enumerate(("right in 20 batches (%)", "gradient norm", "right in the batch (%)", "gradient norm")):
            panels[row, 0].set_ylabel(label)
    return drawn


def _accuracy(axes: Axes, run: pd.DataFrame, batches: int) -> None:
    """The share of samples that were right in the last batches."""
    right = 100 / BATCH * run["correct"].rolling(batches).mean()
    axes.plot(run["step"], right, color="black", linewidth=1.1, marker="" if batches > 1 else "o", markersize=3.5)
    axes.axhline(25, color="#9a9a9a", linestyle=":", linewidth=1.2)
    axes.set_ylim(-3, 103)


def _norm(axes: Axes, run: pd.DataFrame, clipped: bool) -> None:
    """The norm before clipping and, where it was clipped, what the optimizer got."""
    marker = "o" if len(run) < 100 else ""
    axes.plot(run["step"], run["grad_norm"], color="black", linewidth=0.7, marker=marker, markersize=3.5)
    if clipped:
        axes.plot(run["step"], run["applied_norm"], color=COLOURS[2], linewidth=1.2, marker=marker, markersize=3.5)
    logarithmic(axes)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        collect(Path(sys.argv[1]))
    save(figure(), [PICTURE])
