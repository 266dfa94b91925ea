"""A study's detectors told: sentences, tables, JSON, the report's part, pictures, and a file of the steps that they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradclip_cli.config.seeds import named_seeds
from gradclip_cli.config.study_file import DETECTORS, Detectors
from gradclip_cli.evidence import signals
from gradclip_cli.evidence.blocks import Block, Heading, Paragraph, Picture, Points, Table
from gradclip_cli.evidence.bootstrap import Estimate
from gradclip_cli.evidence.detectors import QUANTITIES, Detector, Judged, early_by_cost, seen_by_lead
from gradclip_cli.evidence.signals import SIGNALS_FILE
from gradclip_cli.experiments.study_detectors import Found, OfArm
from gradclip_cli.files import unwritable
from gradclip_cli.texts import counted, decimals, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gradclip_cli.plots import DetectorLine, FalseAlarms

HEADINGS = ["detector: above", "seen", "by chance", "seen early", "by chance", "lead", "false alarms"]


# In words.


def sentences(found: Found | None) -> list[str]:
    """What each detector did on fresh seeds; those that did the same are told once."""
    return [_sentence(arm, each) for arm in (found.arms if found else []) for each in arm.distinct]


def _sentence(arm: OfArm, detector: Detector) -> str:
    fresh = detector.fresh
    same = ", or ".join(f"{each.signal.name} above {_threshold(each)}" for each in arm.alike(detector))
    told = f"{arm.arm}: {same}: {_seen(fresh)}"
    rate = f"{decimals(fresh.rate.value, 2)} false alarms per 1,000 steps ({_interval(fresh.rate)})"
    return f"{told}; {rate}."


def _seen(fresh: Judged) -> str:
    """Such as `saw 27 of 29 divergences (93.1%, ...), half of these at least 3 steps before, and 4 early (13.8%, ...)`."""
    if fresh.share_seen is None or fresh.share_early is None:
        return "no run diverged"
    told = f"saw {fresh.seen} of {counted(fresh.events, 'divergence')} "
    told += f"({_against_chance(fresh.share_seen, fresh.by_chance, fresh.beats_chance)})"
    if fresh.lead_quartiles:
        told += f", half of these at least {counted(int(fresh.lead_quartiles[1]), 'step')} before"
    early = _against_chance(fresh.share_early, fresh.early_by_chance, fresh.early_beats_chance)
    return f"{told}, and {fresh.seen_early} at least {counted(fresh.early, 'step')} before ({early})"


def _against_chance(share: Estimate, by_chance: float, more: bool) -> str:
    than = "more than" if more else "not shown to be more than"
    return f"{percent(share.value)}, {percent(share.low)} to {percent(share.high)}; {than} by chance, {percent(by_chance)}"


def _threshold(detector: Detector) -> str:
    return f"{detector.threshold:.3g}{' times' if detector.signal.relative else ''}"


def _interval(found: Estimate) -> str:
    return f"{decimals(found.low, 2)} to {decimals(found.high, 2)}"


def rows(arm: OfArm) -> list[list[str]]:
    """An arm's detectors as texts, beneath HEADINGS."""
    return [_row(each) for each in arm.detectors]


def _row(detector: Detector) -> list[str]:
    fresh, rate = detector.fresh, detector.fresh.rate
    seen = [_share_cell(fresh.seen, fresh.events, fresh.share_seen), percent(fresh.by_chance)]
    early = [_share_cell(fresh.seen_early, fresh.events, fresh.share_early), percent(fresh.early_by_chance)]
    false = f"{decimals(rate.value, 2)} ({_interval(rate)})"
    return [f"{detector.signal.name}, {_threshold(detector)}", *seen, *early, _lead_cell(fresh), false]


def _share_cell(count: int, events: int, share: Estimate | None) -> str:
    return "-" if share is None else f"{count}/{events} ({percent(share.low)} to {percent(share.high)})"


def _lead_cell(fresh: Judged) -> str:
    if (quartiles := fresh.lead_quartiles) is None:
        return "-"
    first, median, third = (f"{each:g}" for each in quartiles)
    return f"{median} ({first} to {third})"


def to_json(found: Found | None) -> dict[str, Any] | None:
    """For the study's JSON; None where it has no detectors."""
    return {**found.plan.model_dump(mode="json"), "arms": [_arm_json(arm) for arm in found.arms]} if found else None


def _arm_json(arm: OfArm) -> dict[str, Any]:
    seeds = {"calibrated_on": list(arm.calibrated_on), "judged_on": list(arm.judged_on)}
    return {"arm": arm.arm, **seeds, "detectors": [_detector_json(each) for each in arm.detectors]}


def _detector_json(detector: Detector) -> dict[str, Any]:
    judged = {"calibration": detector.calibration, "fresh": detector.fresh}
    return {
        **asdict(detector.signal),
        "name": detector.signal.name,
        "threshold": detector.threshold,
        **{name: _judged_json(each) for name, each in judged.items()},
    }


def _judged_json(judged: Judged) -> dict[str, Any]:
    shares = {"share_seen": judged.share_seen, "share_early": judged.share_early}
    return {
        **asdict(judged),
        "events": judged.events,
        "seen": judged.seen,
        "seen_early": judged.seen_early,
        **{name: share and asdict(share) for name, share in shares.items()},
        "lead_quartiles": judged.lead_quartiles,
        "beats_chance": judged.beats_chance,
        "early_beats_chance": judged.early_beats_chance,
    }


def parts(found: Found | None, rules: Mapping[str, str]) -> list[Block]:
    """The part of the report; nothing where the study has no detectors."""
    if found is None:
        return []
    return [
        Heading("Detectors"),
        Paragraph(rules[DETECTORS], lead="The rule."),
        *[part for arm in found.arms for part in _of_arm(arm)],
        Paragraph(_meaning(found.plan)),
        Points(sentences(found)),
        *[_picture(arm, found) for arm in found.arms if arm.detectors[0].fresh.events],
    ]


def _picture(arm: OfArm, found: Found) -> Picture:
    told = f"How early {arm.arm} is seen to diverge, and at what cost"
    return Picture(f"detectors-{arm.arm}.png", told, lambda: _figure(arm, found))


def _of_arm(arm: OfArm) -> list[Block]:
    first = arm.detectors[0]
    fixed, fresh = _on(arm.calibrated_on, first.calibration), _on(arm.judged_on, first.fresh)
    told = f"{arm.arm}: fixed on {fixed}, judged on {fresh}."
    return [Paragraph(told), Table(HEADINGS, rows(arm))]


def _on(seeds: Sequence[int], judged: Judged) -> str:
    """Of seeds, what their runs hold."""
    steps = f"{judged.ordinary_steps:,} ordinary steps"
    return f"{named_seeds(seeds)} ({judged.events} of {counted(judged.runs, 'run')} diverged; {steps})"


def _meaning(plan: Detectors) -> str:
    """What the table's columns are."""
    within = f"{plan.horizon:,} steps"
    return (
        f"A detector sees a divergence where its signal is above the threshold on one of the {within} before it. Its lead is "
        "how many steps before that is first so (median and quartiles of the divergences that are seen): 1 is the very step "
        f"whose update breaks the run; early is {counted(plan.early, 'step')} or more. By chance: as often is it so of the "
        f"{within} before an ordinary step. On ordinary steps, which no divergence follows within {within}, an alarm is false, "
        f"and stands for {within}. False alarms are told per 1,000 ordinary steps, with intervals of a bootstrap over runs. Each "
        f"threshold is the lowest at which the runs that fix it have at most {plan.false_alarms:g} per 1,000."
    )


# Files.


def write(found: Found | None, results: Path) -> list[Path]:
    """Write the steps that were read, unless they stand there already. Raises StoreError."""
    if found is None or signals.holds(results, found.steps):
        return []
    try:
        signals.write(results, found.steps)
    except OSError as error:
        raise unwritable(results, error) from None
    return [results / SIGNALS_FILE]


def _figure(arm: OfArm, found: Found) -> Figure:
    from gradclip_cli import plots

    events = arm.detectors[0].fresh.events
    title = f"{arm.arm}: are its divergences seen coming? {events:,} of them, on seeds that fixed no threshold"
    lines = [_line(arm, each, found.plan.early) for each in arm.distinct]
    costs = [cost for each in found.arms for cost in _costs(each)]
    return plots.detectors_figure(title, lines, costs, found.plan.false_alarms, found.plan.early)


def _line(arm: OfArm, detector: Detector, early: int) -> DetectorLine:
    from gradclip_cli.plots import DetectorLine

    runs, fresh = arm.fresh[detector.signal], detector.fresh
    seen, by_chance = seen_by_lead(runs, detector.threshold)
    fixed = fresh.rate.value, float(seen[early - 1])
    return DetectorLine(arm.label(detector), _style(detector), seen, by_chance, early_by_cost(runs, early), fixed)


def _costs(arm: OfArm) -> list[FalseAlarms]:
    from gradclip_cli.plots import FalseAlarms

    return [
        FalseAlarms(arm.arm, arm.label(each), _style(each), each.fresh.rate.value, each.fresh.rate.low, each.fresh.rate.high)
        for each in arm.distinct
    ]


def _style(detector: Detector) -> tuple[int, bool]:
    """Which quantity it is of, and whether over its running median."""
    return tuple(QUANTITIES).index(detector.signal.column), detector.signal.relative
