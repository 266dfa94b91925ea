"""One stored run, looked at closely: its gradients' health in sentences, and the picture of its steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradclip_cli.clipping import ALL_TOGETHER, EACH_ELEMENT, EACH_VARIABLE, RULES
from gradclip_cli.errors import StoreError
from gradclip_cli.health import EXPLOSION, SPIKE, Detector, Diagnosis, Spike
from gradclip_cli.schema import Config
from gradclip_cli.store import RunDirectory

if TYPE_CHECKING:
    from gradclip_cli.plots import GradientTrace

FloatArray = npt.NDArray[np.floating[Any]]

BINS = 1000
ROWS = 5000  # read at a time
TOLD_SPIKES = 5


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
    def diverged_step(self) -> int | None:
        """The step at which the run diverged, if it did."""
        divergence = self.metadata.get("diverged")
        return int(divergence["step"]) if divergence else None


def inspect(run: RunDirectory) -> Inspection:
    """Read a run's `steps.csv` in pieces. Raises StoreError where it is missing, broken or empty."""
    config, metadata = run.config(), run.metadata()
    total = metadata.get("steps") or config.training.epochs * config.training.steps_per_epoch
    size = math.ceil(total / BINS)
    detector: Detector | None = None
    variables: tuple[str, ...] = ()
    bins = []
    for frame in run.steps_in_pieces(size * math.ceil(ROWS / size)):
        if detector is None:
            columns = [str(column) for column in frame.columns]
            variables = tuple(column.removeprefix("norm/") for column in columns if column.startswith("norm/"))
            detector = Detector(variables)
        norm = frame[[f"norm/{name}" for name in variables]].to_numpy(float)
        loss, applied_norm = frame["loss"].to_numpy(float), frame["applied_norm"].to_numpy(float)
        detector.update(loss, norm, applied_norm, frame["clipped"].to_numpy(bool))
        bins.append(_binned(frame, variables, size))
    if detector is None:
        raise StoreError(f"{run.steps_path}: holds no steps")
    diagnosis = detector.diagnosis(diverged=metadata["status"] == "diverged")
    return Inspection(run, config, metadata, variables, diagnosis, pd.concat(bins, ignore_index=True))


def _binned(frame: pd.DataFrame, variables: tuple[str, ...], size: int) -> pd.DataFrame:
    """Medians (and the largest) of what is finite in each bin of `size` steps."""
    groups = frame.replace([np.inf, -np.inf], np.nan).groupby((frame["step"] - 1) // size)
    columns = {"step": groups["step"].mean(), "clipped": groups["clipped"].mean()}
    for name in ("grad_norm", "loss", *(f"norm/{variable}" for variable in variables)):
        columns[name] = groups[name].median()
    columns |= {f"largest {name}": groups[name].max() for name in ("grad_norm", "loss")}
    return pd.DataFrame(columns)


def lines(inspection: Inspection) -> list[tuple[str, str]]:
    """The diagnosis as headings with sentences; the word itself comes last."""
    health = inspection.diagnosis
    told = [("norm", _norms(health)), ("spikes", _spikes(health))]
    if inspection.config.clipping.mode != "none":
        told.append(("clipped", _clipping(health)))
    told += [
        ("leading", f"{health.leading_variable} contributes most: {health.leading_share:.0%} of the squared norm"),
        ("vanishing", _vanishing(health)),
    ]
    told += [("events" if not number else "", event) for number, event in enumerate(_events(inspection))]
    return [*told, ("diagnosis", health.word)]


def _norms(health: Diagnosis) -> str:
    if not math.isfinite(health.median):
        return "not finite on any step"
    figures = f"median {health.median:.3g}, 99th percentile {health.percentile_99:.3g}, largest {health.largest:.3g}"
    return f"{figures} (step {health.largest_step}), of {health.steps:,} steps, before clipping"


def _spikes(health: Diagnosis) -> str:
    if not health.spikes:
        return f"none: no step above {SPIKE:.0f} times its running median"
    shown = [f"{spike.step} ({_multiple(spike)})" for spike in health.spikes[:TOLD_SPIKES]]
    more = f" and {len(health.spikes) - TOLD_SPIKES} more" if len(health.spikes) > TOLD_SPIKES else ""
    count = f"{len(health.spikes)} steps" if len(health.spikes) > 1 else "1 step"
    return f"{count} above {SPIKE:.0f} times the running median: {', '.join(shown)}{more}"


def _multiple(spike: Spike) -> str:
    return (
        f"{spike.multiple:,.0f}x"
        if spike.multiple < 1e6
        else f"{spike.multiple:.1g}x"
        if math.isfinite(spike.multiple)
        else "not finite"
    )


def _clipping(health: Diagnosis) -> str:
    if not health.clipped_share:
        return "no step: the gradient never exceeded the rule's bound"
    cut = f"; {health.cut_share:.0%} of the norm was cut off them on average" if math.isfinite(health.cut_share) else ""
    return f"{health.clipped_share:.1%} of the steps{cut}"


def _vanishing(health: Diagnosis) -> str:
    facts = [
        f"norms end at {health.sinking:.2g} of what they began with" if math.isfinite(health.sinking) else "",
        f"the first layer gets {health.reach:.2g} times the norm of the last" if math.isfinite(health.reach) else "",
        f"the loss changed by {health.loss_change:+.0%}" if abs(health.loss_change) < 1e3 else "",
    ]
    return f"{'yes' if health.word == 'vanishing' else 'no'}: {'; '.join(filter(None, facts)) or 'too few finite steps to tell'}"


def _events(inspection: Inspection) -> list[str]:
    """For a diverged run, what happened in order: first spike, last sane norm, explosion, overflow, end."""
    health, step = inspection.diagnosis, inspection.diverged_step
    if step is None:
        return []
    events: list[tuple[int, int, str]] = []
    if first := health.first_spike:
        events.append((first.step, 1, f"first spike, {_told(first)}"))
    if health.last_sane:
        at, norm = health.last_sane
        events.append((at, 2, f"last sane norm, {norm:.3g}"))
    if (explosion := health.first_explosion) and explosion != first:
        events.append((explosion.step, 3, f"first explosion (above {EXPLOSION:,.0f} times), {_told(explosion)}"))
    if health.overflow:
        events.append((health.overflow.step, 4, f"first gradients not finite: {', '.join(health.overflow.variables)}"))
    events.append((step, 5, f"diverged: {inspection.metadata['diverged']['told']}"))
    return [f"step {at}: {what}" for at, _, what in sorted(events)]


def _told(spike: Spike) -> str:
    if not math.isfinite(spike.norm):
        return f"not finite, in {spike.variable}"
    return f"norm {spike.norm:.3g}, {_multiple(spike)} the running median, most in {spike.variable}"


def to_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """All figures of a diagnosis, for JSON; what is not finite is left for the writer to replace."""
    return asdict(diagnosis)


def trace(inspection: Inspection) -> GradientTrace:
    """The run's steps as the picture wants them."""
    from gradclip_cli.plots import GradientTrace

    bins, config = inspection.bins, inspection.config
    return GradientTrace(
        title=f"{inspection.run.arm}, seed {inspection.run.seed}: {inspection.diagnosis.word}",
        steps=bins["step"].to_numpy(float),
        median_norm=bins["grad_norm"].to_numpy(float),
        largest_norm=bins["largest grad_norm"].to_numpy(float),
        variable_norms={name: bins[f"norm/{name}"].to_numpy(float) for name in inspection.variables},
        clipped=bins["clipped"].to_numpy(float),
        loss=bins["loss"].to_numpy(float),
        largest_loss=bins["largest loss"].to_numpy(float),
        spikes=[(spike.step, spike.norm) for spike in inspection.diagnosis.spikes],
        diverged=inspection.diverged_step,
        thresholds=dict(_thresholds(config)),
        steps_per_epoch=config.training.steps_per_epoch,
    )


def _thresholds(config: Config) -> Iterator[tuple[str, float]]:
    """What the thresholds bound, with their values, where norms or elements can be held against them."""
    scope = RULES[config.clipping.mode].scope
    if config.threshold is None or scope not in (ALL_TOGETHER, EACH_VARIABLE, EACH_ELEMENT):
        return
    yield scope, config.threshold
    for layer, threshold in config.clipping.layer_thresholds.items():
        if threshold is not None:
            yield layer, threshold


def draw(inspection: Inspection, folder: Path) -> Path:
    """Write `gradients.png` into a folder and return its path. Raises StoreError."""
    from gradclip_cli import plots

    path = folder / "gradients.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plots.save(plots.gradients_figure(trace(inspection)), [path])
    except OSError as error:
        raise StoreError(f"{folder}: can't be written ({error.strerror}); choose another folder with --out") from None
    return path
