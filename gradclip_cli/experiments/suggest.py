"""`suggest`: a short unclipped pilot, and from its gradients a threshold to try for each rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradclip_cli import engines
from gradclip_cli.arrays import FloatArray
from gradclip_cli.config.schema import CLIPPING_SECTIONS, AdaptiveClip, AutoClip, ClippingRule, Config
from gradclip_cli.engines.contract import StepRecords
from gradclip_cli.gradients.health import Detector, Diagnosis
from gradclip_cli.gradients.rules import RULES, clip_by_percentile
from gradclip_cli.problems import problem_of
from gradclip_cli.problems.contract import DownloadProgress
from gradclip_cli.runs.loop import CHUNK, start
from gradclip_cli.runs.tally import Divergence, find_divergence
from gradclip_cli.texts import counted

# A bound that no sane gradient reaches: the pilot runs unclipped, and `agc` measures how large each unit's gradient is.
UNREACHABLE = 1e30
FEWEST_STEPS = 20
TOP_TENTH = 90.0
RANGE = (0.5, 10.0)
"""Multiples of the mean norm that Pascanu et al. 2013 report to work."""


@dataclass(frozen=True)
class Pilot:
    """A short unclipped run: S steps over V variables, and how many of them came before the first explosion or divergence."""

    config: Config
    variables: tuple[str, ...]
    records: StepRecords
    diagnosis: Diagnosis
    divergence: Divergence | None
    sane_steps: int

    @property
    def sane(self) -> StepRecords:
        """The steps before the first explosion or divergence: what thresholds are taken from."""
        return self.records.first(self.sane_steps)


@dataclass(frozen=True)
class Suggestion:
    """A rule to try, with the keys to say: why, and on what share of the pilot's sane steps it would have acted."""

    clipping: dict[str, Any]
    clipped_share: float
    reason: str

    @property
    def mode(self) -> str:
        """The rule's name."""
        return str(self.clipping["mode"])

    @property
    def yaml(self) -> str:
        """The config's section, to paste."""
        inside = ", ".join(
            f"{key}: {value:g}" if isinstance(value, float) else f"{key}: {value}" for key, value in self.clipping.items()
        )
        return f"clipping: {{{inside}}}"


def pilot(
    config: Config, steps: int, *, data_directory: Path | None = None,
    download_progress: DownloadProgress | None = None, report: Callable[[int], None] = lambda steps: None,
    preparing: Callable[[str], None] = lambda what: None,
) -> Pilot:  # fmt: skip
    """Train a config's model unclipped for some steps, or until it diverges. Nothing is stored.

    `preparing` is told what is done before the first step, `report` how many steps are done.
    """
    unclipped = config.model_copy(update={"clipping": AdaptiveClip(mode="agc", threshold=UNREACHABLE)})
    preparing("loading the dataset")
    dataset = problem_of(config).load(data_directory, download_progress)
    preparing(engines.preparation(unclipped))
    engine = engines.build(unclipped, dataset)
    if engine.compiles:
        preparing("compiling")
    schedule = start(unclipped, engine, dataset)
    detector, pieces, done = Detector(engine.variables), [], 0
    divergence = None
    while done < steps and not divergence:
        records = engine.train(schedule.take(min(CHUNK, steps - done)))
        divergence = find_divergence(records, engine.variables, done, config.training.steps_per_epoch)
        if divergence:
            records = records.first(divergence.step - done)
        detector.update(records.loss, records.norm, records.applied_global_norm, np.zeros(len(records), bool))
        pieces.append(records)
        done += len(records)
        report(done)
    diagnosis = detector.diagnosis(diverged=divergence is not None)
    ends = [end.step for end in (diagnosis.first_explosion, divergence) if end]
    sane_steps = min(ends) - 1 if ends else done
    return Pilot(config, engine.variables, StepRecords.joined(pieces), diagnosis, divergence, sane_steps)


def suggestions(pilot: Pilot) -> list[Suggestion]:
    """A threshold to try for each rule; none where too few steps were sane, or their gradients were zero."""
    sane = pilot.sane
    if not _enough(sane):
        return []
    joint = sane.global_norm
    mean = float(joint.mean())
    low, high = (_rounded(multiple * mean) for multiple in RANGE)
    found = [
        _suggestion(
            pilot,
            "global_clipnorm",
            _rounded(mean),
            f"the mean norm; Pascanu et al. 2013 found 0.5 to 10 times it to work: {low:g} to {high:g}",
        ),
        _suggestion(
            pilot, "clipnorm", _rounded(float(sane.norm.max(axis=1).mean())), "the mean norm of each step's largest variable"
        ),
        _suggestion(pilot, "clipvalue", _ninth_tenth(sane.max_abs.max(axis=1)), "nine steps in ten have no element above it"),
        _normalizing(pilot, _rounded(float(np.median(joint)))),
        _adaptive(pilot, _ninth_tenth(sane.excess * UNREACHABLE)),
        _percentile_of_the_past(pilot),
    ]
    return [suggestion for suggestion in found if suggestion]


def _enough(sane: StepRecords) -> bool:
    return len(sane) >= FEWEST_STEPS and bool(sane.global_norm.any())


def share(pilot: Pilot, rule: ClippingRule) -> float:
    """The share of the pilot's sane steps on which a rule would have acted, had it not acted before."""
    sane, threshold = pilot.sane, rule.threshold_of_all
    if rule.mode == "normalize":
        return float((sane.global_norm > 0).mean())  # up as well as down
    if isinstance(rule, AutoClip):
        return float((_excess_over_past(sane.global_norm, rule) > 1).mean())
    assert threshold is not None
    if rule.mode == "agc":
        return float((sane.excess * UNREACHABLE > threshold).mean())
    return float((RULES[rule.mode].excess(sane.norm, sane.max_abs, [threshold] * len(pilot.variables)) > 1).mean())


def _suggestion(pilot: Pilot, mode: str, threshold: float, reason: str) -> Suggestion | None:
    """None where there is no threshold, since the pilot's gradients were mostly zero."""
    if not threshold:
        return None
    clipping = {"mode": mode, "threshold": threshold}
    return Suggestion(clipping, share(pilot, CLIPPING_SECTIONS[mode].model_validate(clipping)), reason)


def _normalizing(pilot: Pilot, threshold: float) -> Suggestion | None:
    longer = (pilot.sane.global_norm > threshold).mean()
    reason = f"the median norm, so that the usual step stays as it is: it shortens {longer:.0%} and lengthens the others"
    return _suggestion(pilot, "normalize", threshold, reason)


def _adaptive(pilot: Pilot, threshold: float) -> Suggestion | None:
    usual = AdaptiveClip(mode="agc")
    reason = (
        "nine steps in ten have no ratio above it, and weights near 0, as biases are at first, have the largest; the paper's "
        f"{usual.threshold:g} would act on {share(pilot, usual):.0%}"
    )
    return _suggestion(pilot, "agc", threshold, reason)


def _percentile_of_the_past(pilot: Pilot) -> Suggestion:
    rule = AutoClip(mode="autoclip")
    reason = f"the {rule.percentile:g}th percentile of the norms so far, which Seetharaman et al. 2020 found best; it adapts"
    return Suggestion({"mode": "autoclip", "percentile": rule.percentile}, share(pilot, rule), reason)


def _excess_over_past(joint: FloatArray, rule: AutoClip) -> FloatArray:
    """How many times the percentile of the norms so far each norm is, (S,)."""
    memory: Any = RULES["autoclip"].memory(rule.settings)
    excesses = []
    for norm in joint.astype(np.float32):
        _, excess, memory = clip_by_percentile([norm[None]], memory, rule.percentile, np)
        excesses.append(excess)
    return np.array(excesses)


def _rounded(value: float) -> float:
    """Two significant digits: a threshold to try is no more precise."""
    return float(f"{value:.2g}")


def _ninth_tenth(values: FloatArray) -> float:
    """What nine in ten of the values don't exceed, in two significant digits."""
    exact = float(np.percentile(values, TOP_TENTH))
    rounded = _rounded(exact)
    return rounded if rounded >= exact else _rounded(rounded + 10.0 ** (math.floor(math.log10(rounded)) - 1))


PERCENTILES = (10, 50, 90, 99, 100)


def distribution(pilot: Pilot) -> tuple[list[str], list[list[str]]]:
    """Percentiles of the sane steps' norms, all variables together and each, and of the largest element: as texts."""
    return _headings(), [[name, *(f"{value:.3g}" for value in figures)] for name, figures in _figures(pilot).items()]


def _headings() -> list[str]:
    return ["norm of", *(f"{p}%" if p < 100 else "largest" for p in PERCENTILES), "mean"]


def _figures(pilot: Pilot) -> dict[str, list[float]]:
    sane = pilot.sane
    if not len(sane):
        return {}
    each = {"all together": sane.global_norm}
    each |= {name: sane.norm[:, index] for index, name in enumerate(pilot.variables)}
    each["largest element"] = sane.max_abs.max(axis=1)
    return {name: [*np.percentile(values, PERCENTILES).tolist(), float(values.mean())] for name, values in each.items()}


def told(pilot: Pilot) -> list[str]:
    """What the pilot was, and how it ended."""
    config, records = pilot.config, pilot.records
    losses = " to ".join(f"{loss:.3g}" for loss in records.loss[[0, -1] if len(records) > 1 else [0]])
    lines = [
        f"{counted(len(records), 'step')} of {config.name} without clipping (seed {config.training.seed}), "
        f"{config.optimizer.name} at {config.optimizer.learning_rate:g}: loss {losses}, gradients {pilot.diagnosis.told}."
    ]
    if pilot.divergence:
        lines.append(f"The pilot diverged: {pilot.divergence.told}.")
    if not _enough(pilot.sane):
        lines.append(_nothing_told(pilot))
    elif pilot.sane_steps < len(records):
        lines.append(f"Thresholds and shares are those of the {pilot.sane_steps} steps before {_end_told(pilot)}.")
    else:
        lines.append("Norms change as training goes on: a longer pilot (--steps) sees more of it.")
    return lines


def _end_told(pilot: Pilot) -> str:
    explosion = pilot.diagnosis.first_explosion
    return "the first explosion" if explosion and explosion.step == pilot.sane_steps + 1 else "it"


def _nothing_told(pilot: Pilot) -> str:
    """Why there is nothing to try, and what to do instead."""
    steps = pilot.sane_steps
    if steps >= FEWEST_STEPS:
        return "Every gradient was zero: there is nothing to clip."
    if steps == len(pilot.records):
        return f"A pilot of {counted(steps, 'step')} is too short for a threshold: give --steps {FEWEST_STEPS} or more."
    before = f"only {counted(steps, 'step')}" if steps else "no step"
    return (
        f"With {before} before {_end_told(pilot)} there is no usual norm to take a threshold from. Try a smaller learning rate "
        "or scaled inputs first, or start from clipping: {mode: clipnorm, threshold: 1}."
    )


def to_dict(pilot: Pilot) -> dict[str, Any]:
    """The pilot and the suggestions, for JSON."""
    ignored = pilot.config.clipping
    return {
        "config": pilot.config.name,
        "ignored": None if ignored.mode == "none" else ignored.model_dump(mode="json"),
        "seed": pilot.config.training.seed,
        "steps": len(pilot.records),
        "sane_steps": pilot.sane_steps,
        "diverged": pilot.divergence.told if pilot.divergence else None,
        "diagnosis": pilot.diagnosis.word,
        "norms": [dict(zip(_headings(), [name, *figures], strict=True)) for name, figures in _figures(pilot).items()],
        "suggestions": [
            {"clipping": suggestion.clipping, "clipped_share": suggestion.clipped_share, "reason": suggestion.reason}
            for suggestion in suggestions(pilot)
        ],
        "told": told(pilot),
    }
