"""What a comparison says besides its verdicts: what its seeds can detect, which runs collapsed, what it speaks of."""

from __future__ import annotations

from gradclip_cli.evidence.arms import COLLAPSE, Arm
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.verdicts import Verdict
from gradclip_cli.texts import p_relation, percent


def all_sentences(comparison: Comparison) -> list[str]:
    """All that a comparison says, in the order in which it is told."""
    if not comparison.others:
        return [*comparison.notes, *comparison.differences]
    beside = (collapse_sentence(comparison), planning_sentence(comparison))
    verdicts = [*comparison.sentences, *comparison.notes, *(said for said in beside if said)]
    return [*verdicts, *comparison.differences, scope_sentence(comparison)]


def planning_sentence(comparison: Comparison) -> str | None:
    """What these seeds can detect, from the spread seen; None where nothing can be planned from."""
    tested = [report.against for report in comparison.others if report.against and report.against.verdict != Verdict.NOT_TESTABLE]
    planned = [against for against in tested if against.seeds_needed]
    if not planned:
        return None
    unit = comparison.metric.unit
    widest = max(planned, key=lambda against: against.detectable_effect)
    if not widest.detectable_effect or not widest.seeds_needed:
        if widest.unpaired:
            return "Each arm's runs score the same, so there is no spread to plan further runs from."
        return "The differences are the same on every seed, so there is no spread to plan further seeds from."
    needed, runs = widest.seeds_needed, widest.runs_told
    detected, wanted = unit.amount(widest.detectable_effect), unit.asked(comparison.yardstick.effect)
    each = "runs of each arm" if widest.unpaired else "seeds"
    return (
        f"With this spread, {runs} detect a typical difference of {detected} with 80% power; one of {wanted} takes about "
        f"{needed.seeds:,} {each} ({needed.low:,} to {needed.high:,}, since {runs} tell the spread only so well)."
    )


def collapse_sentence(comparison: Comparison) -> str | None:
    """How many runs of each arm collapsed, as description; None where none did."""
    able = [report for report in comparison.arms if report.arm.can_collapse]
    arms = [(report.arm.name, int(report.arm.collapsed.sum()), len(report.arm.runs)) for report in able]
    if not any(count for _, count, _ in arms):
        return None
    tested = {report.arm.name: report.against.collapses for report in comparison.others if report.against}
    ps = {name: collapses.p for name, collapses in tested.items() if collapses}
    told = [f"{count} of {runs} of {name}{f' ({p_relation(ps[name])})' if name in ps else ''}" for name, count, runs in arms]
    return (
        f"Runs whose {comparison.baseline.arm.evaluation_split} accuracy fell by more than {100 * COLLAPSE:.0f} points from one "
        f"epoch to the next: {'; '.join(told)}. {_tests_of_shares(comparison)}, not adjusted."
    )


def _tests_of_shares(comparison: Comparison) -> str:
    kinds = {bool(report.against.unpaired) for report in comparison.others if report.against}
    return {(True,): "Exact Fisher tests", (False, True): "Exact McNemar tests, Fisher's of unpaired arms"}.get(
        tuple(sorted(kinds)), "Exact McNemar tests"
    )


def treatment_sentence(base: Arm, arm: Arm, share: float | None) -> str | None:
    """On what share of the steps an arm's clipping did something else than its baseline's; None where that isn't known."""
    if share is None:
        return None
    if "none" in (base.config.clipping.mode, arm.config.clipping.mode):
        return f"Clipping acted on {percent(share)} of the steps."
    return f"{arm.name} clipped otherwise than {base.name} on {percent(share)} of the steps or more."


def scope_sentence(comparison: Comparison) -> str:
    """What a verdict here speaks about."""
    split = comparison.baseline.arm.evaluation_split
    scope = f"Verdicts speak of these {'runs' if comparison.unpaired else 'seeds'}, this model and this {split} set."
    tests = sum(report.against is not None for report in comparison.others)
    if tests < 2:
        return scope
    return (
        f"{scope} p-values are Holm-adjusted over {tests} comparisons; each interval is at the level of its arm's step, and "
        "covers at least 95% by itself."
    )
