"""One stored run, looked at closely: its gradients' health in sentences, and the picture of its steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradclip_cli.arrays import FloatArray
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence.step_pieces import step_pieces
from gradclip_cli.files import unwritable
from gradclip_cli.gradients.health import EXPLOSION, SPIKE, Detector, Diagnosis, Spike
from gradclip_cli.gradients.scopes import EACH_ELEMENT
from gradclip_cli.runs.metadata import recorded_every
from gradclip_cli.runs.steps import UPDATE_NORM
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.texts import counted

if TYPE_CHECKING:
    from gradclip_cli.plots import Applied, GradientTrace, Updates

BINS = 1000
ROWS = 5000  # read at a time
NAMED_SPIKES = 5
MEANS = ("step", "clipped")
QUANTITIES = ("step", "loss", "grad_norm", "applied_norm", "clipped")


@dataclass(frozen=True)
class Inspection:
    """A run's diagnosis, and its steps in at most BINS bins: one row each, columns by what they hold."""

    run: RunDirectory
    config: Config
    metadata: dict[str, Any]
    variables: tuple[str, ...]
    diagnosis: Diagnosis
    bins: pd.DataFrame

    @property
    def every(self) -> int:
        """Of how many steps one was recorded."""
        return recorded_every(self.metadata)

    @property
    def a_step(self) -> str:
        """What its figures are of, in the singular."""
        return "step" if self.every == 1 else "recorded step"

    @property
    def diverged_step(self) -> int | None:
        """The step at which the run diverged, if it did."""
        divergence = self.metadata.get("diverged")
        return int(divergence["step"]) if divergence else None


def without_steps(run: RunDirectory, consequence: str) -> str:
    """What is said of a run without `steps.csv`, with what follows from that and what to do."""
    where, unpack = ("in its pack", f"gradclip unpack {run.path.parent.parent}, then ") if run.packed else ("there", "")
    return f"{run.steps_path} is not {where}, so {consequence}; {unpack}gradclip run --force writes it again."


def inspect(run: RunDirectory) -> Inspection:
    """Read a run's `steps.csv` in pieces, as far as it goes. Raises StoreError where it is missing, cut short or broken."""
    metadata, config = run.stored()
    rows = run.count_steps()
    if rows < 1:
        raise StoreError(f"{run.steps_path}: holds no steps")
    size, every = math.ceil(rows / BINS), recorded_every(metadata)
    detector: Detector | None = None
    variables: tuple[str, ...] = ()
    bins = []
    drawn = ("max_abs", "applied_max_abs") if _bounds_elements(config) else ("norm", "applied_norm")
    numbers = functools.partial(_numbers, run, drawn=drawn)
    for frame in step_pieces(run, rows, size * math.ceil(ROWS / size), every, numbers):
        if detector is None:
            variables = tuple(name.removeprefix("norm/") for name in map(str, frame.columns) if name.startswith("norm/"))
            detector = Detector(variables, every)
        detector.read(frame)
        bins.append(_binned(frame, size * every))
    assert detector
    diagnosis = detector.diagnosis(diverged=metadata["status"] == "diverged")
    return Inspection(run, config, metadata, variables, diagnosis, pd.concat(bins, ignore_index=True))


def _bounds_elements(config: Config) -> bool:
    """Whether its thresholds are held against single elements: then the picture shows these, and not norms."""
    return config.clipping.scope is EACH_ELEMENT


def _numbers(run: RunDirectory, piece: pd.DataFrame, drawn: Sequence[str]) -> pd.DataFrame:
    """The common quantities, each variable's norm, and what is drawn, all float64."""
    norms = [column for column in piece.columns if str(column).startswith("norm/")]
    others = [column for column in piece.columns if str(column).split("/")[0] in {UPDATE_NORM, *drawn} - {"norm"}]
    try:
        frame = piece[[*QUANTITIES, *norms, *(column for column in others if column not in QUANTITIES)]].astype(float)
    except (KeyError, ValueError) as error:
        raise StoreError(f"{run.steps_path}: not a table of steps: {error}") from None
    if not norms:
        raise StoreError(f"{run.steps_path}: not a table of steps: no variable's norm")
    return frame


def _binned(frame: pd.DataFrame, size: int) -> pd.DataFrame:
    """Medians and the largest of what is finite in each bin of `size` steps; means of what belongs to a variable."""
    groups = frame.replace([np.inf, -np.inf], np.nan).groupby((frame["step"] - 1) // size)
    of_run = [name for name in (*QUANTITIES, UPDATE_NORM) if name in frame and name not in MEANS]
    means = groups[[name for name in frame if name not in of_run]].mean()
    return means.join(groups[of_run].median()).join(groups[of_run].max().add_prefix("largest "))


def lines(inspection: Inspection) -> list[tuple[str, str]]:
    """The diagnosis as headings with sentences; the word itself comes last."""
    health = inspection.diagnosis
    found = [("norm", _norms(health, inspection.a_step)), ("spikes", _spikes(health)), ("clipping", clipping(inspection))]
    found += [("leading", _leading(health)), ("vanishing", _vanishing(health))]
    found += [("events" if not number else "", event) for number, event in enumerate(_events(inspection))]
    return [*found, ("diagnosis", health.word)]


def _norms(health: Diagnosis, a_step: str) -> str:
    if not math.isfinite(health.median):
        return f"not finite on any {a_step}"
    figures = f"median {health.median:.3g}, 99th percentile {health.percentile_99:.3g}, largest {health.largest:.3g}"
    return f"{figures} (step {health.largest_step}), of {counted(health.steps, a_step)}, before clipping"


def _spikes(health: Diagnosis) -> str:
    if not health.spikes:
        return f"none: no step above {SPIKE:.0f} times the running median"
    shown = [f"step {spike.step} ({_times(spike)})" for spike in health.spikes[:NAMED_SPIKES]]
    more = f" and {len(health.spikes) - NAMED_SPIKES:,} more" if len(health.spikes) > NAMED_SPIKES else ""
    count = counted(len(health.spikes), "step")
    return f"{count} above {SPIKE:.0f} times the running median: {', '.join(shown)}{more}"


def _times(spike: Spike) -> str:
    return f"{spike.shown_multiple}x" if math.isfinite(spike.norm) else "not finite"


def clipping(inspection: Inspection) -> str:
    """What clipping did, in one line: on how many steps, how much of the norm it cut there, and what it met."""
    return f"{_clipped(inspection)}; {_not_finite(inspection.diagnosis)}"


def _clipped(inspection: Inspection) -> str:
    health = inspection.diagnosis
    if inspection.config.clipping.mode == "none":
        return "none: every gradient was used whole"
    if not health.clipped_share:
        there = "" if inspection.every == 1 else " there"
        return f"acted on no {inspection.a_step}: the gradient never exceeded the rule's bound{there}"
    acted = f"acted on {_percent(health.clipped_share)} of the {inspection.a_step}s"
    if not math.isfinite(health.cut_share):
        return acted
    quartiles = ", ".join(map(_percent, health.cut_quartiles))
    return f"{acted} and cut {_percent(health.cut_share)} off the norm there on average (quartiles {quartiles})"


def _not_finite(health: Diagnosis) -> str:
    steps = health.steps_not_finite
    return f"on {counted(steps, 'step')} the gradient was not finite" if steps else "all gradients were finite"


def _percent(share: float) -> str:
    """A share with three digits, so that one step in a million isn't none; 100 only where all is meant."""
    return f"{100 * share:.3g}%" if share < 0.9995 or share == 1 else ">99.9%"


def _leading(health: Diagnosis) -> str:
    if health.leading_variable is None:
        return "no variable: no finite norm above zero"
    return f"{health.leading_variable} contributes most: {health.leading_share:.0%} of the squared norm on average"


def _vanishing(health: Diagnosis) -> str:
    if not math.isfinite(health.loss_change):
        return "can't be told from so few finite steps"
    facts = [
        f"norms end at {health.norm_ratio:.2g} times what they began with" if math.isfinite(health.norm_ratio) else "",
        f"the first layer's norm ends at {health.reach:.2g} times the last layer's" if math.isfinite(health.reach) else "",
        f"the loss changed by {health.loss_change:+.0%}" if abs(health.loss_change) < 1e3 else "the loss exploded",
    ]
    return f"{'signs of it' if health.vanishing else 'no signs'}: {'; '.join(filter(None, facts))}"


def _events(inspection: Inspection) -> list[str]:
    """For a diverged run, what happened in order: first spike, last sane norm, explosion, overflow, end."""
    health, step = inspection.diagnosis, inspection.diverged_step
    if step is None:
        return []
    events: list[tuple[int, int, str]] = []
    if first := health.first_spike:
        events.append((first.step, 1, f"first spike, {_described(first)}"))
    if health.last_sane:
        at, norm = health.last_sane
        events.append((at, 2, f"last sane norm, {norm:.3g}"))
    if (explosion := health.first_explosion) and explosion is not first:
        events.append((explosion.step, 3, f"first explosion (above {EXPLOSION:,.0f} times), {_described(explosion)}"))
    if health.overflow:
        events.append((health.overflow.step, 4, f"first gradients not finite, in {', '.join(health.overflow.variables)}"))
    events.append((step, 5, f"diverged: {inspection.metadata['diverged']['told']}"))
    return [f"step {at}: {what}" for at, _, what in sorted(events)]


def _described(spike: Spike) -> str:
    if not math.isfinite(spike.norm):
        return f"not finite, in {spike.variable}"
    return f"norm {spike.norm:.3g}, {_times(spike)} the running median, most in {spike.variable}"


def trace(inspection: Inspection) -> GradientTrace:
    """The run's steps as the picture wants them."""
    from gradclip_cli.plots import GradientTrace

    bins, config = inspection.bins, inspection.config
    return GradientTrace(
        title=f"{config.name}, seed {config.training.seed}: {inspection.diagnosis.word}",
        steps=bins["step"].to_numpy(float),
        median_norm=bins["grad_norm"].to_numpy(float),
        largest_norm=bins["largest grad_norm"].to_numpy(float),
        variables=_of_variables(inspection, "max_abs" if _bounds_elements(config) else "norm"),
        clipped=bins["clipped"].to_numpy(float),
        loss=bins["loss"].to_numpy(float),
        largest_loss=bins["largest loss"].to_numpy(float),
        spikes=[(spike.step, spike.norm) for spike in inspection.diagnosis.spikes],
        diverged=inspection.diverged_step,
        thresholds=config.clipping.bounds,
        steps_per_epoch=config.training.steps_per_epoch,
        applied=_applied(inspection),
        updates=_updates(bins),
        of_elements=_bounds_elements(config),
    )


def _of_variables(inspection: Inspection, quantity: str) -> dict[str, FloatArray]:
    return {name: inspection.bins[f"{quantity}/{name}"].to_numpy(float) for name in inspection.variables}


def _applied(inspection: Inspection) -> Applied | None:
    from gradclip_cli.plots import Applied

    bins, config = inspection.bins, inspection.config
    if config.clipping.mode == "none":
        return None
    counts = inspection.metadata.get("clipped_steps") or {}
    return Applied(
        median_norm=bins["applied_norm"].to_numpy(float),
        largest_norm=bins["largest applied_norm"].to_numpy(float),
        variables=_of_variables(inspection, "applied_max_abs" if _bounds_elements(config) else "applied_norm"),
        clipped={name: count / inspection.diagnosis.steps for name, count in counts.items()},
    )


def _updates(bins: pd.DataFrame) -> Updates | None:
    """What the run recorded of its updates; None where it is older than that."""
    from gradclip_cli.plots import Updates

    if UPDATE_NORM not in bins:
        return None
    return Updates(bins[UPDATE_NORM].to_numpy(float), bins[f"largest {UPDATE_NORM}"].to_numpy(float))


def draw(inspection: Inspection, folder: Path) -> Path:
    """Write `gradients.png` into a folder and return its path. Raises StoreError."""
    from gradclip_cli import plots

    path = folder / "gradients.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plots.save(plots.gradients_figure(trace(inspection)), [path])
    except OSError as error:
        raise unwritable(folder, error, "--out") from None
    return path
