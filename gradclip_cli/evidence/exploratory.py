"""Which verdicts are exploratory, and why: what the plan doesn't name, and what was looked at, or added, after a first look.

Confirmatory are the metrics that the folder's plan names, without such a plan the first one that was looked at of any of those
arms; and the seeds that the plan names, without one those that both arms had at their first look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradclip_cli.config.seeds import named_seeds
from gradclip_cli.evidence.ledger import Ledger
from gradclip_cli.evidence.metrics import DEFAULT_METRIC, USUAL
from gradclip_cli.evidence.plans import Plan
from gradclip_cli.texts import ordinal


def of_metric(
    metric: str, plan: Plan | None, ledger: Ledger, *, usual: bool = False, arms: Iterable[str] | None = None
) -> list[str]:
    """Why a look by this metric, which may be the usual one of its arms, is exploratory, in a few words; nothing where it isn't.

    Looks at none of these arms don't count; without arms all do. A look on record that doesn't say its metric counts as one by
    the article's usual one, and one that doesn't say its arms as one at all of them.
    """
    if plan and plan.metrics:
        return [] if metric in plan.metrics or (usual and USUAL in plan.metrics) else ["metric not planned"]
    looks = [look for look in ledger.looks if arms is None or not look.arms or set(look.arms) & set(arms)]
    seen = dict.fromkeys(look.metric or DEFAULT_METRIC.name for look in looks)
    place = [*seen | {metric: None}].index(metric) + 1
    return [f"{ordinal(place)} metric looked at"] if place > 1 else []


def of_seeds(seeds: Iterable[int], plan: Plan | None, firsts: Sequence[Sequence[int]]) -> list[str]:
    """Why a comparison on these seeds is exploratory; `firsts` are each arm's seeds at its first look."""
    confirmatory = set(plan.seeds) if plan else set.intersection(*map(set, firsts))
    others = sorted(set(seeds) - confirmatory)
    return [f"{named_seeds(others)} {'not planned' if plan else 'added after a look'}"] if others else []
