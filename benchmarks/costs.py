"""What training costs, drawn: by steps, by parameters, by seeds and by cores. Solid is measured, dashed is extrapolated."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from contenders import SIZES, STEPS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from whole import LENGTHS, SWARMS

from gradclip_cli.plots.style import COLOURS, STYLE

THEIRS, OURS = COLOURS[0], COLOURS[2]
EXTRAPOLATED = (0, (4, 2))
MOST_CORES = 8


def draw(content: dict[str, Any], path: Path) -> None:
    """Draw the costs of a benchmark's content into a PNG."""
    medians = {name: statistics.median(values) for name, values in content["figures"].items()}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 8), layout="constrained")
        panels = figure.subplots(2, 2)
        for axes, panel in zip(panels.flat, (_by_steps, _by_parameters, _by_seeds, _by_cores), strict=True):
            panel(axes, medians)
        machine = content["machine"]
        told = f"{machine['cores_available']} cores, {machine['processor']}; medians of up to {content['rounds']}"
        figure.suptitle(f"What training the article's network costs ({told}; dashed: extrapolated)", fontsize=11)
        figure.savefig(path, dpi=120, metadata={"Software": None})


def _by_steps(axes: Axes, medians: dict[str, float]) -> None:
    """One run as a whole process, by its steps; the line through the two longest is drawn on."""
    axes.set(title="One run, typed to done", xlabel="steps", ylabel="seconds")
    steps = np.array(LENGTHS) * STEPS
    longer = np.array([steps[-1], 2 * steps[-1]])
    for name, colour, label in (("script", THEIRS, "the article's script"), ("run", OURS, "gradclip run")):
        taken = np.array([medians[f"{name} {epochs}"] for epochs in LENGTHS])
        slope = (taken[-1] - taken[-2]) / (steps[-1] - steps[-2])
        axes.plot(steps, taken, "o-", color=colour, label=label)
        axes.plot(longer, taken[-1] + slope * (longer - steps[-1]), linestyle=EXTRAPOLATED, color=colour)
    axes.set_xlim(0)
    axes.set_ylim(0)
    axes.legend(frameon=False)


def _by_parameters(axes: Axes, medians: dict[str, float]) -> None:
    axes.set(title="A step, by the network's size", xlabel="parameters (LSTM of 10, 32, 64 and 128 units)", ylabel="milliseconds")
    parameters = [4 * units * (28 + units + 1) + 10 * (units + 1) for units in SIZES]
    for name, colour, label in (("fit", THEIRS, "model.fit, all cores"), ("engine", OURS, "gradclip, one thread")):
        axes.plot(parameters, [medians[f"{name} of {units} units"] for units in SIZES], "o-", color=colour, label=label)
    axes.set_xscale("log")
    axes.set_xticks(parameters, [f"{count:,}" for count in parameters])
    axes.minorticks_off()
    axes.set_ylim(0)
    axes.legend(frameon=False)


def _by_seeds(axes: Axes, medians: dict[str, float]) -> None:
    axes.set(title="Three arms over many seeds", xlabel="runs in all", ylabel="seconds")
    script = np.array(SWARMS) * medians[f"script {LENGTHS[-1]}"]
    axes.plot(SWARMS, script, "o", linestyle=EXTRAPOLATED, color=THEIRS, label="scripts in sequence")
    axes.plot(SWARMS, [medians[f"pool {runs}"] for runs in SWARMS], "o-", color=OURS, label="one gradclip run")
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(SWARMS, [str(runs) for runs in SWARMS])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.legend(frameon=False)


def _by_cores(axes: Axes, medians: dict[str, float]) -> None:
    axes.set(title="Steps a second, by worker processes", xlabel="worker processes, a core each", ylabel="steps a second")
    jobs = sorted(int(name.split()[1]) for name in medians if name.startswith("jobs "))
    taken = [medians[f"jobs {count}"] for count in jobs]
    axes.plot(jobs, taken, "o-", color=OURS, label="measured")
    axes.plot(
        [jobs[-1], MOST_CORES],
        [taken[-1], taken[-1] * MOST_CORES / jobs[-1]],
        linestyle=EXTRAPOLATED,
        color=OURS,
        label="if more cores were as good",
    )
    axes.set_xlim(0)
    axes.set_ylim(0)
    axes.legend(frameon=False)
