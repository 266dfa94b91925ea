"""`suggest`: a short unclipped pilot, and from its gradients a threshold to try for each rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gradclip_cli import data, engines
from gradclip_cli.clipping import RULES, clip_by_percentile
from gradclip_cli.engines import StepRecords
from gradclip_cli.health import Detector, Diagnosis
from gradclip_cli.schema import AdaptiveClip, AutoClip, Config
from gradclip_cli.training import CHUNK, Divergence, find_divergence, start

FloatArray = npt.NDArray[np.floating[Any]]

# A bound that no sane gradient reaches: the pilot runs unclipped, and `agc` measures how large each unit's gradient is.
UNREACHABLE = 1e30
FEWEST_STEPS = 20
TOP_TENTH = 90.0
RANGE = (0.5, 10.0)
"""Multiples of the mean norm that Pascanu et al. 2013 report to work."""


@dataclass(frozen=True)
class Pilot:
    """A short unclipped run: S steps over V variables, and how many of them came before the first explosion."""

    config: Config
    variables: tuple[str, ...]
    records: StepRecords
    diagnosis: Diagnosis
    divergence: Divergence | None
    sane_steps: int

    @property
    def sane(self) -> StepRecords:
        """The steps before the first explosion: what thresholds are taken from."""
        return self.records.first(self.sane_steps)


@dataclass(frozen=True)
class Suggestion:
    """A rule with a threshold to try: why, and on what share of the pilot's steps it would have acted."""

    mode: str
    clipping: dict[str, Any]
    clipped_share: float
    reason: str

    @property
    def yaml(self) -> str:
        """The config's section, to paste."""
        inside = ", ".join(
            f"{key}: {value:g}" if isinstance(value, float) else f"{key}: {value}" for key, value in self.clipping.items()
        )
        return f"clipping: {{{inside}}}"


def pilot(
    config: Config, steps: int, *, data_directory: Path | None = None,
    download_progress: data.DownloadProgress | None = None, report: Callable[[int], None] = lambda steps: None,
) -> Pilot:  # fmt: skip
    """Train a config's model unclipped for some steps, or until it diverges. Nothing is stored."""
    unclipped = config.model_copy(update={"clipping": AdaptiveClip(mode="agc", threshold=UNREACHABLE)})
    dataset = data.load(config.data, data_directory, download_progress)
    engine = engines.build(unclipped, dataset)
    schedule = start(unclipped, engine, dataset)
    detector, pieces, done = Detector(engine.variables), [], 0
    divergence = None
    while done < steps and not divergence:
        records = engine.train(schedule.take(min(CHUNK, steps - done)))
        divergence = find_divergence(records, engine.variables, 1, done)
        if divergence:
            records = records.first(divergence.step - done)
        detector.update(records.loss, records.norm, records.applied_global_norm, np.zeros(len(records), bool))
        pieces.append(records)
        done += len(records)
        report(done)
    diagnosis = detector.diagnosis(diverged=divergence is not None)
    first = diagnosis.first_explosion
    return Pilot(config, engine.variables, StepRecords.joined(pieces), diagnosis, divergence, first.step - 1 if first else done)


def suggestions(pilot: Pilot) -> list[Suggestion]:
    """A threshold to try for each rule; none where too few steps were sane."""
    sane = pilot.sane
    if len(sane) < FEWEST_STEPS or not sane.global_norm.any():
        return []
    joint, largest_variable, largest_element = sane.global_norm, sane.norm.max(axis=1), sane.max_abs.max(axis=1)
    mean = float(joint.mean())
    low, high = (_rounded(multiple * mean) for multiple in RANGE)
    return [
        _fixed(
            pilot,
            "global_clipnorm",
            mean,
            f"the mean norm; {low:g} to {high:g} is the range of Pascanu et al. 2013 (0.5 to 10 times)",
        ),
        _fixed(pilot, "clipnorm", float(largest_variable.mean()), "the mean of each step's largest variable"),
        _fixed(pilot, "clipvalue", _percentile(largest_element), "the largest element of nine steps in ten is below"),
        _fixed(pilot, "normalize", float(np.median(joint)), "the median norm, so that the usual step stays as large as it is"),
        _adaptive(pilot),
        _percentile_of_the_past(joint),
    ]


def _fixed(pilot: Pilot, mode: str, threshold: float, reason: str) -> Suggestion:
    threshold = _rounded(threshold)
    thresholds = [threshold] * len(pilot.variables)
    excess = RULES[mode].excess(pilot.sane.norm, pilot.sane.max_abs, thresholds)
    share = 1.0 if mode == "normalize" else float((excess > 1).mean())
    return Suggestion(mode, {"mode": mode, "threshold": threshold}, share, reason)


def _adaptive(pilot: Pilot) -> Suggestion:
    ratios = pilot.sane.excess * UNREACHABLE
    threshold = _rounded(_percentile(ratios))
    default = AdaptiveClip(mode="agc").threshold
    reason = (
        f"the largest ratio of nine steps in ten is below; {default:g}, the paper's, would act on {(ratios > default).mean():.0%}"
    )
    return Suggestion("agc", {"mode": "agc", "threshold": threshold}, float((ratios > threshold).mean()), reason)


def _percentile_of_the_past(joint: FloatArray) -> Suggestion:
    rule = AutoClip(mode="autoclip")
    memory: Any = RULES["autoclip"].memory(rule.settings)
    acted = 0
    for norm in joint.astype(np.float32):
        _, excess, memory = clip_by_percentile([norm[None]], memory, rule.percentile, np)
        acted += bool(excess > 1)
    reason = f"the {rule.percentile:g}th percentile of the norms so far, as Seetharaman et al. 2020 found best; it adapts"
    clipping = {"mode": "autoclip", "percentile": rule.percentile}
    return Suggestion("autoclip", clipping, acted / len(joint), reason)


def _percentile(values: FloatArray) -> float:
    return float(np.percentile(values, TOP_TENTH))


def _rounded(value: float) -> float:
    """Two significant digits: a threshold to try is no more precise."""
    return float(f"{value:.2g}")


PERCENTILES = (10, 50, 90, 99, 100)


def distribution(pilot: Pilot) -> tuple[list[str], list[list[str]]]:
    """Percentiles of the sane steps' norms: all variables together, each, and the largest element."""
    sane = pilot.sane
    rows = {"all together": sane.global_norm}
    rows |= {name: sane.norm[:, index] for index, name in enumerate(pilot.variables)}
    rows["largest element"] = sane.max_abs.max(axis=1)
    headings = ["norm of", *(f"{p}%" if p < 100 else "largest" for p in PERCENTILES), "mean"]
    return headings, [
        [name, *(f"{value:.3g}" for value in (*np.percentile(values, PERCENTILES), values.mean()))]
        for name, values in rows.items()
    ]


def told(pilot: Pilot) -> list[str]:
    """What the pilot was, and how it ended."""
    config, records = pilot.config, pilot.records
    lines = [
        f"{len(records)} steps of {config.name} without clipping (seed {config.training.seed}), "
        f"{config.optimizer.name} at {config.optimizer.learning_rate:g}: loss {records.loss[0]:.3g} to {records.loss[-1]:.3g}, "
        f"gradients {pilot.diagnosis.told}."
    ]
    if pilot.divergence:
        lines.append(f"The pilot diverged: {pilot.divergence.told}.")
    if pilot.sane_steps < len(records):
        lines.append(f"Thresholds are taken from the {pilot.sane_steps} steps before the first explosion.")
    if not suggestions(pilot):
        lines.append(
            f"{pilot.sane_steps} sane steps are too few for a threshold. Try a smaller rate or scaled inputs first, or start "
            "from clipping: {mode: clipnorm, threshold: 1}."
        )
    else:
        lines.append("Norms change as training goes on: a longer pilot (--steps) sees more of it.")
    return lines


def to_dict(pilot: Pilot) -> dict[str, Any]:
    """The pilot and the suggestions, for JSON."""
    headings, rows = distribution(pilot) if pilot.sane_steps else ([], [])
    return {
        "config": pilot.config.name,
        "seed": pilot.config.training.seed,
        "steps": len(pilot.records),
        "sane_steps": pilot.sane_steps,
        "diverged": pilot.divergence.told if pilot.divergence else None,
        "diagnosis": pilot.diagnosis.word,
        "norms": [dict(zip(headings, [row[0], *map(float, row[1:])], strict=True)) for row in rows],
        "suggestions": [
            {"clipping": suggestion.clipping, "clipped_share": suggestion.clipped_share, "reason": suggestion.reason}
            for suggestion in suggestions(pilot)
        ],
        "told": told(pilot),
    }
