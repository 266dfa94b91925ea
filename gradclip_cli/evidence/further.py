"""Further looks at the runs of a comparison: by another metric, or against another baseline. Each is exploratory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gradclip_cli.errors import ReportError
from gradclip_cli.evidence.comparison import Comparison, compare_arms
from gradclip_cli.evidence.judging import ArmReport
from gradclip_cli.evidence.metrics import METRICS, names_for
from gradclip_cli.evidence.questions import Question

REASON = "a further look"
"""Why the verdicts of such a look are exploratory, in a few words."""


def further_looks(compared: Comparison, most_arms: int) -> Iterator[Comparison]:
    """Further looks, the nearest to what was asked first, which together judge at most so many arms.

    First come other metrics, then other baselines, then both. What can't be asked of these arms is left out.
    """
    room = most_arms // len(compared.arms) if compared.others else 0
    for baseline, metric in _others(compared):
        if not room:
            return
        if look := further_look(compared, baseline, metric):
            room -= 1
            yield look


def further_look(compared: Comparison, baseline: str, metric: str) -> Comparison | None:
    """The same runs with this baseline and by this metric, told as exploratory; None where they can't be compared so.

    The loss to reach stays what it was, so that a run scores alike whatever the baseline; effect and margin stay with their
    metric.
    """
    asked, same = compared.yardstick, metric == compared.metric.name
    question = Question(metric, asked.target_loss, asked.effect if same else None, asked.margin if same else None)
    try:
        look = compare_arms([part.arm for part in compared.arms], baseline, question)
    except ReportError:
        return None
    return replace(look, arms=tuple(_told(report) for report in look.arms))


def possible(compared: Comparison) -> tuple[list[str], list[str]]:
    """The baselines and the metrics that may be asked for, those of the comparison first."""
    base = compared.baseline.arm
    named = names_for(base.metrics, evaluated=base.evaluated)
    metrics = [name for name in named if base.replicates or not _of_replicates(name)]
    return [part.arm.name for part in compared.arms], list(dict.fromkeys([compared.metric.name, *metrics]))


def _of_replicates(name: str) -> bool:
    return name in METRICS and METRICS[name].of_replicates


def _others(compared: Comparison) -> Iterator[tuple[str, str]]:
    """Baselines with metrics, but for what was asked."""
    (baseline, *baselines), (metric, *metrics) = possible(compared)
    yield from ((baseline, other) for other in metrics)
    yield from ((other, metric) for other in baselines)
    yield from ((other, beside) for other in baselines for beside in metrics)


def _told(report: ArmReport) -> ArmReport:
    """The same, its verdict exploratory."""
    against = report.against
    if against is None:
        return report
    told = f"{against.sentence} This look is exploratory: {REASON}, its p not adjusted for the choosing."
    return replace(report, against=replace(against, exploratory=[REASON], sentence=told))
