"""A study's detectors of explosion: thresholds fixed on some seeds of an arm and judged on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradclip_cli.config.seeds import named_seeds
from gradclip_cli.config.studies import Study
from gradclip_cli.config.study_file import Detectors
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import signals
from gradclip_cli.evidence.arms import Arm, StoredRun
from gradclip_cli.evidence.detectors import QUANTITIES, SIGNALS, Detector, Signal, Watched, event_of
from gradclip_cli.evidence.signals import SIGNALS_FILE, Steps
from gradclip_cli.texts import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class OfArm:
    """An arm's detectors, and the runs by which they were judged, by signal."""

    arm: str
    calibrated_on: Sequence[int]
    judged_on: Sequence[int]
    detectors: Sequence[Detector]
    fresh: Mapping[Signal, Sequence[Watched]]

    def alike(self, detector: Detector) -> list[Detector]:
        """This one and those of other quantities that did the same on the fresh runs, in the order of all."""
        same = [each for each in self.detectors if each.fresh == detector.fresh]
        return [each for each in same if each.signal.relative == detector.signal.relative]

    @property
    def distinct(self) -> list[Detector]:
        """The first of each that are alike."""
        return [each for each in self.detectors if self.alike(each)[0] is each]

    def label(self, detector: Detector) -> str:
        """The signal's name, with those of the detectors that are alike."""
        quantities = " or ".join(QUANTITIES[each.signal.column] for each in self.alike(detector))
        return quantities + detector.signal.name.removeprefix(QUANTITIES[detector.signal.column])


@dataclass(frozen=True)
class Found:
    """What a study's detectors did, arm by arm, and the steps that they read."""

    plan: Detectors
    arms: Sequence[OfArm]
    steps: Steps


def read(study: Study, arms: Mapping[str, Arm], results: Path) -> Found | None:
    """Fix a study's detectors and judge them; None where it plans none.

    Raises ReportError where steps are missing or nothing can be fixed on them, StoreError where they are broken.
    """
    if (plan := study.detectors) is None:
        return None
    asked = {*plan.calibrated_on, *plan.judged_on}
    runs = [run for name in plan.arms for run in arms[name].only(asked).runs]
    steps = _steps(runs, results)
    return Found(plan, [_of_arm(plan, arms[name], steps) for name in plan.arms], steps)


def _steps(runs: Sequence[StoredRun], results: Path) -> Steps:
    """Each run's steps. Raises ReportError where some are missing."""
    kept = signals.read(results)
    found = {signals.name_of(run): steps for run in runs if (steps := _steps_of(run, kept)) is not None}
    if missing := [run for run in runs if signals.name_of(run) not in found]:
        raise ReportError(
            f"Detectors need every step, and the steps of {counted(len(missing), 'run')} are missing: {_named(missing)}. Put "
            f"back their steps.csv, or {results / SIGNALS_FILE}, where the report keeps what detectors read of them; gradclip "
            "pack --steps packs them whole. Or train again: the same command with another folder (--results)."
        )
    return found


def _named(runs: Sequence[StoredRun]) -> str:
    """Runs by arm, such as `none, seeds 0-2; slow, seed 1`."""
    arms = dict.fromkeys(run.directory.arm for run in runs)
    return "; ".join(f"{arm}, {named_seeds([run.seed for run in runs if run.directory.arm == arm])}" for arm in arms)


def _steps_of(run: StoredRun, kept: Steps) -> pd.DataFrame | None:
    """A run's steps from its own file, else from those that were kept. Raises ReportError where not all are kept."""
    if (own := signals.steps_of(run)) is not None or (steps := kept.get(signals.name_of(run))) is None:
        return own
    if len(steps) != run.metadata["steps"]:
        raise ReportError(
            f"{SIGNALS_FILE} holds {counted(len(steps), 'step')} of {run.directory.path}, where {run.metadata['steps']:,} were "
            "trained: it is of another run. Get it anew from where it came."
        )
    return steps


def _of_arm(plan: Detectors, arm: Arm, steps: Steps) -> OfArm:
    """An arm's detectors. Raises ReportError where no step is there to fix one on."""
    parts = [arm.only(seeds) for seeds in (plan.calibrated_on, plan.judged_on)]
    calibration, fresh = ({each: _watched(each, part, steps, plan) for each in SIGNALS} for part in parts)
    try:
        found = [_fixed(each, calibration[each], fresh[each], plan) for each in SIGNALS]
    except ValueError as error:
        raise ReportError(f"{arm.name}: {error}: every run of {named_seeds(parts[0].seeds)} diverges too early.") from None
    return OfArm(arm.name, parts[0].seeds, parts[1].seeds, found, fresh)


def _fixed(signal: Signal, calibration: Sequence[Watched], fresh: Sequence[Watched], plan: Detectors) -> Detector:
    return Detector.fixed(signal, calibration, fresh, most=plan.false_alarms, early=plan.early)


def _watched(signal: Signal, arm: Arm, steps: Steps, plan: Detectors) -> list[Watched]:
    found = []
    for run in arm.runs:
        frame = steps[signals.name_of(run)]
        event = event_of(frame, run.metadata["diverged"]["step"] if run.diverged else None)
        found.append(Watched.of(signal, frame, event, plan.horizon))
    return found


def described(plan: Detectors) -> str:
    """What is fixed and judged on which seeds, as a plan says it."""
    return (
        f"{', '.join(plan.arms)}: thresholds fixed on {named_seeds(plan.calibrated_on)} (at most {plan.false_alarms:g} false "
        f"alarms per 1,000 steps), judged on {named_seeds(plan.judged_on)}; horizon {counted(plan.horizon, 'step')}, early "
        f"from {counted(plan.early, 'step')} on"
    )
