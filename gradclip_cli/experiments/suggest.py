"""`suggest`: a short unclipped pilot, and from its gradients a threshold to try for each rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradclip_cli.arrays import BoolArray
from gradclip_cli.config.schema import Config
from gradclip_cli.gradients.clipping_rule import ClippingRule
from gradclip_cli.gradients.excess import measured_excess
from gradclip_cli.gradients.health import Detector, Diagnosis, cut_shares
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.gradients.rules.agc import AdaptiveClip
from gradclip_cli.gradients.step_records import StepRecords, Stretch
from gradclip_cli.gradients.unclipped_steps import UnclippedSteps
from gradclip_cli.problems.contract import DownloadProgress
from gradclip_cli.runs.loop import CHUNK, start
from gradclip_cli.runs.one import Workshop
from gradclip_cli.runs.tally import Divergence, find_divergence
from gradclip_cli.texts import counted

# A bound that no sane gradient reaches: the pilot runs unclipped, and `agc` measures how large each unit's gradient is.
UNREACHABLE = 1e30
FEWEST_STEPS = 20
FIRST = ("global_clipnorm", "clipnorm", "clipvalue")
"""What both frameworks have is told first, the widest scope before narrower ones; then the others, in the rules' order."""


@dataclass(frozen=True)
class Pilot:
    """A short unclipped run: S steps over V variables, and how many of them came before the first explosion or divergence."""

    config: Config
    variables: tuple[str, ...]
    records: StepRecords
    diagnosis: Diagnosis
    divergence: Divergence | None
    sane_steps: int
    metrics: Mapping[str, bool]
    """The problem's, by name, each with whether higher is better."""

    @property
    def sane(self) -> StepRecords:
        """The steps before the first explosion or divergence: what thresholds are taken from."""
        return self.records.first(self.sane_steps)

    @property
    def measured(self) -> UnclippedSteps:
        """What they say to a rule."""
        return UnclippedSteps(self.sane.norm, self.sane.max_abs, self.sane.excess * UNREACHABLE)


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


@dataclass(frozen=True)
class Judgement:
    """What the config's own rule would have done on the pilot's sane steps, had it not acted before."""

    rule: ClippingRule
    clipped_share: float | None
    """On what share of the steps it would have acted; None where the pilot can't tell."""
    cut_share: float | None
    """What share of the norm it would have cut off there on average; None where it wouldn't have acted, or norms don't tell."""

    @property
    def message(self) -> str:
        """The judgement in a sentence."""
        yours = f"Yours, {self.rule.full_label}, "
        if self.clipped_share is None:
            return f"{yours}can't be judged by this pilot: only a run with it tells on which steps it acts."
        if not self.clipped_share:
            return f"{yours}would have acted on none of these steps."
        acted = f"{yours}would have acted on {_percent(self.clipped_share)} of these steps"
        if self.cut_share is None:
            return f"{acted}; how much of the norm it would have cut off, the recorded norms don't tell."
        if not self.cut_share:
            return f"{acted} and cut nothing off: it would have lengthened those gradients."
        return f"{acted} and cut {_percent(self.cut_share)} off the norm there on average."


def pilot(
    config: Config,
    steps: int,
    *,
    data_directory: Path | None = None,
    download_progress: DownloadProgress | None = None,
    report: Callable[[int], None] = lambda steps: None,
    preparing: Callable[[str], None] = lambda what: None,
) -> Pilot:
    """Train a config's model unclipped for some steps, or until it diverges. Nothing is stored.

    `preparing` hears what is done before the first step, `report` how many steps are done.
    """
    unclipped = config.model_copy(update={"clipping": AdaptiveClip(threshold=UNREACHABLE)})
    dataset, engine = Workshop(download_progress).prepare(unclipped, data_directory, preparing)
    schedule = start(unclipped, engine, dataset)
    detector, pieces, done = Detector(engine.variables), [], 0
    divergence = None
    while done < steps and not divergence:
        records = engine.train(schedule.take(min(CHUNK, steps - done)))
        divergence = find_divergence(Stretch.measured(records), engine.variables, done, config.training.steps_per_epoch)
        if divergence:
            records = records.first(divergence.step - done)
        detector.update(records.loss, records.norm, records.applied_global_norm, np.zeros(len(records), bool))
        pieces.append(records)
        done += len(records)
        report(done)
    diagnosis = detector.diagnosis(diverged=divergence is not None)
    ends = [end.step for end in (diagnosis.first_explosion, divergence) if end]
    sane_steps = min(ends) - 1 if ends else done
    return Pilot(config, engine.variables, StepRecords.joined(pieces), diagnosis, divergence, sane_steps, engine.metrics)


def suggestions(pilot: Pilot) -> list[Suggestion]:
    """What to try of each rule; nothing where too few steps were sane, or their gradients were zero."""
    if not _enough(pilot.sane):
        return []
    modes = [*FIRST, *(mode for mode in RULES if mode not in FIRST)]
    found = [_suggestion(pilot, mode) for mode in modes]
    return [suggestion for suggestion in found if suggestion]


def _enough(sane: StepRecords) -> bool:
    return len(sane) >= FEWEST_STEPS and bool(sane.global_norm.any())


def share(pilot: Pilot, rule: ClippingRule) -> float:
    """The share of the pilot's sane steps on which a rule would have acted, had it not acted before."""
    return float(rule.acts(pilot.measured).mean())


def judgement(pilot: Pilot) -> Judgement | None:
    """What the config's own rule would have done; None where it doesn't clip, or too few steps were sane."""
    rule = pilot.config.clipping
    if rule.mode == "none" or not _enough(pilot.sane):
        return None
    acted = _acted(pilot)
    if acted is None:
        return Judgement(rule, None, None)
    left = rule.left(pilot.measured, pilot.config.thresholds(pilot.variables))
    cuts = np.empty(0) if left is None else cut_shares(pilot.sane.global_norm, left, acted)
    known = cuts[np.isfinite(cuts)]
    return Judgement(rule, float(acted.mean()), float(known.mean()) if len(known) else None)


def _acted(pilot: Pilot) -> BoolArray | None:
    """On which sane steps the config's own rule would have acted, (S,); None where neither norms nor the rule tell.

    Only of a rule that is measured the thresholds of single layers can be held against what was recorded.
    """
    rule, sane = pilot.config.clipping, pilot.sane
    if rule.measured and type(rule).acts is ClippingRule.acts:
        thresholds = pilot.config.thresholds(pilot.variables)
        return np.asarray(measured_excess(rule.scope, sane.norm, sane.max_abs, thresholds) > 1)
    if rule.layer_thresholds or type(rule).acts is ClippingRule.acts:
        return None
    return rule.acts(pilot.measured)


def _percent(share: float) -> str:
    """Two digits, so that little is not nothing."""
    return f"{100 * share:.2g}%" if share < 0.995 else f"{100 * share:.3g}%"


def _suggestion(pilot: Pilot, mode: str) -> Suggestion | None:
    """None where a rule has nothing to say, or no threshold, since the pilot's gradients were mostly zero."""
    choice = RULES[mode].choice(pilot.measured)
    if not choice or not choice.settings.get("threshold", 1):
        return None
    clipping = {"mode": mode, **choice.settings}
    return Suggestion(clipping, share(pilot, RULES[mode].model_validate(clipping)), choice.reason)


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


def sentences(pilot: Pilot) -> list[str]:
    """What the pilot was, and how it ended."""
    config, records = pilot.config, pilot.records
    losses = " to ".join(f"{loss:.3g}" for loss in records.loss[[0, -1] if len(records) > 1 else [0]])
    lines = [
        f"{counted(len(records), 'step')} of {config.name} without clipping (seed {config.training.seed}), "
        f"{config.optimizer.label}: loss {losses}, gradients {pilot.diagnosis.message}."
    ]
    if pilot.divergence:
        lines.append(f"The pilot diverged: {pilot.divergence.message}.")
    if not _enough(pilot.sane):
        lines.append(_nothing_told(pilot))
    elif pilot.sane_steps < len(records):
        lines.append(f"Thresholds and shares are those of the {pilot.sane_steps} steps before {_end_told(pilot)}.")
    else:
        lines.append("Norms change as training goes on: a longer pilot sees more of it.")
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
        return f"A pilot of {counted(steps, 'step')} is too short for a threshold, which takes {FEWEST_STEPS} or more."
    before = f"only {counted(steps, 'step')}" if steps else "no step"
    return (
        f"With {before} before {_end_told(pilot)} there is no usual norm to take a threshold from. Try a smaller learning rate "
        "or scaled inputs first, or start from clipping: {mode: clipnorm, threshold: 1}."
    )


def to_dict(pilot: Pilot) -> dict[str, Any]:
    """The pilot and the suggestions, for JSON."""
    ignored, own = pilot.config.clipping, judgement(pilot)
    return {
        "config": pilot.config.name,
        "ignored": None if ignored.mode == "none" else ignored.model_dump(mode="json"),
        "seed": pilot.config.training.seed,
        "steps": len(pilot.records),
        "sane_steps": pilot.sane_steps,
        "diverged": pilot.divergence.message if pilot.divergence else None,
        "diagnosis": pilot.diagnosis.word,
        "norms": [dict(zip(_headings(), [name, *figures], strict=True)) for name, figures in _figures(pilot).items()],
        "yours": own and {"clipped_share": own.clipped_share, "cut_share": own.cut_share, "told": own.message},
        "suggestions": [
            {"clipping": suggestion.clipping, "clipped_share": suggestion.clipped_share, "reason": suggestion.reason}
            for suggestion in suggestions(pilot)
        ],
        "told": sentences(pilot),
    }
