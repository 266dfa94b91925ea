"""A comparison's answer in a sentence or two, and each arm's verdict in a word, as a page has them on top."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.judging import AgainstBaseline, ArmReport
from gradclip_cli.evidence.metrics import Unit
from gradclip_cli.evidence.report import verdict_word, with_interval
from gradclip_cli.evidence.sentences import some_of
from gradclip_cli.evidence.verdicts import Verdict
from gradclip_cli.pages.elements import element
from gradclip_cli.texts import p_relation

SIGNS = {
    Verdict.HELPS: "▲",
    Verdict.HURTS: "▼",
    Verdict.NO_DIFFERENCE: "≈",
    Verdict.EQUIVALENT: "=",
    Verdict.NOT_WORSE: "≥",
    Verdict.EXPLORATORY: "?",
    Verdict.NOT_TESTABLE: "∅",
}
"""Beside each verdict's word, so that no colour has to tell it."""

_GROUPS = {
    Verdict.EQUIVALENT: "Equivalent within the margin: {}.",
    Verdict.NOT_WORSE: "Not worse by the margin: {}.",
    Verdict.NO_DIFFERENCE: "No difference was shown for {}.",
    Verdict.EXPLORATORY: "Too few runs for a verdict on {}.",
    Verdict.NOT_TESTABLE: "These runs can't say whether it helps: {}.",
}


def answer(compared: Comparison) -> list[str]:
    """What the comparison answers, the most telling sentence first."""
    baseline = compared.baseline.arm.name
    if not compared.others:
        return [f"There is one arm only, {baseline}, so nothing is compared."]
    decided = [sentence for verdict in (Verdict.HELPS, Verdict.HURTS) for sentence in _decided(compared, verdict)]
    grouped = [text.format(some_of(names)) for verdict, text in _GROUPS.items() if (names := _names(compared, verdict))]
    alone = [report.arm.name for report in compared.others if report.against is None]
    return [*decided, *grouped, *([f"No seed is shared with {baseline} by {some_of(alone)}."] if alone else [])]


def _names(compared: Comparison, verdict: Verdict) -> list[str]:
    return [report.arm.name for report in compared.others if report.against and report.against.verdict == verdict]


def _decided(compared: Comparison, verdict: Verdict) -> list[str]:
    """A sentence each on the arms with this verdict, the largest difference first."""
    found = [(report, report.against) for report in compared.others if report.against and report.against.verdict == verdict]
    ordered = sorted(found, key=lambda each: -abs(each[1].typical))
    return [_sentence(compared, report, against) for report, against in ordered]


def _sentence(compared: Comparison, report: ArmReport, against: AgainstBaseline) -> str:
    metric, baseline = compared.metric, compared.baseline.arm.name
    size, way = metric.unit.amount(abs(against.typical)), "higher" if against.typical > 0 else "lower"
    facts = [f"{100 * (1 - against.level):.3g}% interval {metric.unit.shown(against.low)} to {metric.unit.shown(against.high)}"]
    facts = [*(facts if math.isfinite(against.low) else []), p_relation(against.p_adjusted)]
    caveats = [f"exploratory: {', '.join(against.exploratory)}"] if against.exploratory else []
    caveats += [f"they differ in {some_of(against.differs_in, 3)} too"] if against.differs_in else []
    beside = f"; {'; '.join(caveats)}" if caveats else ""
    return f"{report.arm.name} {against.verdict} here: its {metric.title} is typically {size} {way} than that of {baseline} " + (
        f"({'; '.join(facts)}){beside}."
    )


class Badge(NamedTuple):
    """An arm's verdict in a word, and what it rests on."""

    name: str
    kind: str
    """The verdict as a name of the style; `baseline` for one without."""
    sign: str
    word: str
    figure: str


def badge(name: str, verdict: Verdict | None, word: str, figure: str) -> Badge:
    """That of an arm or a test; without a verdict, of a baseline."""
    kind = verdict.name.lower().replace("_", "-") if verdict else "baseline"
    return Badge(name, kind, SIGNS[verdict] if verdict else "", word, figure)


def badge_of(compared: Comparison, report: ArmReport) -> Badge:
    """That of an arm of a comparison."""
    verdict = report.against.verdict if report.against else None
    return badge(report.arm.name, verdict, verdict_word(report, compared), _figure(compared, report))


def badges(compared: Comparison) -> Element:
    """A list of all arms, each with its verdict and the difference that it rests on."""
    return element("ul", *(shown(badge_of(compared, report)) for report in compared.arms), class_="badges")


def shown(told: Badge) -> Element:
    """A badge as an item of a list."""
    sign = [element("span", told.sign, class_="sign", aria_hidden="true")] if told.sign else []
    return element(
        "li",
        element("span", told.name, class_="name"),
        element("strong", *sign, told.word),
        element("span", told.figure, class_="figure"),
        class_=f"badge {told.kind}",
    )


def _figure(compared: Comparison, report: ArmReport) -> str:
    unit, against = compared.metric.unit, report.against
    if against is None:
        return with_interval(report.typical, report.low, report.high, unit)
    return difference(against, unit)


def difference(against: AgainstBaseline, unit: Unit) -> str:
    """A typical difference with its interval, in its unit."""
    return f"{with_interval(against.typical, against.low, against.high, unit, sign=True)} {unit.name}".rstrip()


def title(compared: Comparison) -> str:
    """What is compared, such as `Test accuracy: clipvalue against none`."""
    named: Sequence[str] = [report.arm.name for report in compared.others]
    metric, baseline = compared.metric.title, compared.baseline.arm.name
    return f"{metric[:1].upper()}{metric[1:]}: {some_of(named)} against {baseline}" if named else f"{metric}: {baseline}"
