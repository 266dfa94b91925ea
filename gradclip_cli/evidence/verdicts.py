"""One pair of arms judged: paired differences over shared seeds, a verdict, and the sentence that says it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gradclip_cli.arrays import FloatArray
from gradclip_cli.evidence import stats
from gradclip_cli.evidence.arms import Arm, other_differences
from gradclip_cli.evidence.questions import Yardstick
from gradclip_cli.texts import counted, p_relation

MOST_NAMED = 10
"""So many arms are named in a sentence."""
MOST_KEYS = 3
"""So many keys in which arms differ are named in a verdict."""


class Verdict(StrEnum):
    """What the seeds can show of an arm against its baseline."""

    HELPS = "helps"
    HURTS = "hurts"
    NO_DIFFERENCE = "no difference shown"
    EQUIVALENT = "equivalent"
    EXPLORATORY = "exploratory"
    NOT_TESTABLE = "not testable"


@dataclass(frozen=True)
class AgainstBaseline:
    """An arm's paired differences from the baseline on shared seeds, as shown (points, nats, steps), and what follows."""

    seeds: list[int]
    differences: list[float]
    mean: float
    low: float
    high: float
    p: float
    won: int
    lost: int
    tied: int
    divergence_p: float
    smallest_p: float
    seeds_for_a_verdict: int
    detectable_effect: float
    seeds_needed: int
    differs_in: list[str]
    """Keys of the config in which the arms differ, those of clipping apart."""
    clipping_acted: bool
    """Whether clipping changed any gradient in the runs compared."""
    p_adjusted: float
    equivalent: bool | None
    verdict: Verdict
    sentence: str


@dataclass(frozen=True)
class Pair:
    """Two arms on the seeds that both have, their differences (seeds,) in the metric's unit, and the test of these."""

    base: Arm
    arm: Arm
    yardstick: Yardstick
    differences: FloatArray
    result: stats.PairedComparison
    differs_in: list[str]
    """Keys of the config in which the arms differ, those of clipping apart."""

    @classmethod
    def of(cls, base: Arm, arm: Arm, yardstick: Yardstick) -> Pair | None:
        """Pair two arms by seed; None where they share none."""
        shared = set(base.seeds) & set(arm.seeds)
        if not shared:
            return None
        base, arm = base.only(shared), arm.only(shared)
        differences = (yardstick.scores(arm) - yardstick.scores(base)) * yardstick.metric.unit.scale
        differs_in = [key for key, *_ in other_differences(base, arm)]
        return cls(base, arm, yardstick, differences, stats.compare_pairs(differences), differs_in)

    @property
    def won(self) -> int:
        """On how many seeds the arm was better."""
        return self.result.positive if self.yardstick.metric.higher_is_better else self.result.negative

    @property
    def clipping_acted(self) -> bool:
        """Whether clipping changed any gradient in these runs."""
        return self.base.clipping_acted or self.arm.clipping_acted

    @property
    def differ_in_clipping(self) -> bool:
        """Whether the arms are clipped in different ways."""
        return self.arm.config.clipping != self.base.config.clipping

    @property
    def testable(self) -> bool:
        """False where arms that differ in clipping alone trained alike because it never acted: more such seeds show no more."""
        clipping_alone = self.differ_in_clipping and not self.differs_in
        return not clipping_alone or self.clipping_acted or self.result.zero < self.result.seeds

    @property
    def equivalent(self) -> bool | None:
        """Whether the interval lies inside the margin; None without one."""
        margin = self.yardstick.margin
        return None if margin is None else stats.is_equivalent(self.result, margin)


def judge(pair: Pair, p_adjusted: float, tests: int) -> AgainstBaseline:
    """Say what a pair shows as one of so many tests, with its p as adjusted for them."""
    result, verdict = pair.result, _verdict(pair, p_adjusted, tests)
    detectable, needed = _planned(pair, tests)
    return AgainstBaseline(
        seeds=pair.arm.seeds,
        differences=pair.differences.tolist(),
        mean=result.mean,
        low=result.low,
        high=result.high,
        p=result.p,
        won=pair.won,
        lost=result.seeds - result.zero - pair.won,
        tied=result.zero,
        divergence_p=stats.mcnemar_p(pair.base.diverged, pair.arm.diverged),
        smallest_p=stats.smallest_p(result.seeds, tests),
        seeds_for_a_verdict=stats.seeds_for_a_verdict(tests),
        detectable_effect=detectable,
        seeds_needed=needed,
        differs_in=pair.differs_in,
        clipping_acted=pair.clipping_acted,
        p_adjusted=p_adjusted,
        equivalent=pair.equivalent,
        verdict=verdict,
        sentence=" ".join([_sentence(pair, verdict, p_adjusted, tests), *_confounded(pair)]),
    )


def _planned(pair: Pair, tests: int) -> tuple[float, int]:
    """The effect that so many seeds detect, and the seeds that the wanted effect needs; infinite and 0 where none can be told."""
    deviation = stats.deviation(pair.differences)
    if not math.isfinite(deviation):
        return math.inf, 0
    detectable = stats.detectable_effect(deviation, pair.result.seeds, tests=tests)
    return detectable, stats.seeds_needed(pair.yardstick.effect, deviation, tests=tests)


def _verdict(pair: Pair, p: float, tests: int) -> Verdict:
    if not pair.testable:
        return Verdict.NOT_TESTABLE
    if stats.smallest_p(pair.result.seeds, tests) >= stats.LEVEL:
        return Verdict.EXPLORATORY
    if p < stats.LEVEL:
        better = (pair.result.mean > 0) == pair.yardstick.metric.higher_is_better
        return Verdict.HELPS if better else Verdict.HURTS
    return Verdict.EQUIVALENT if pair.equivalent else Verdict.NO_DIFFERENCE


def _sentence(pair: Pair, verdict: Verdict, p: float, tests: int) -> str:
    """One comparison in plain words, claiming no more than its test."""
    if verdict == Verdict.NOT_TESTABLE:
        return _not_testable(pair)
    if verdict == Verdict.EXPLORATORY:
        return _exploratory(pair, tests)
    metric, result = pair.yardstick.metric, pair.result
    interval = f"95% interval {metric.unit.shown(result.low)} to {metric.unit.shown(result.high)}"
    facts = f"{interval}; better on {pair.won} of {counted(result.seeds, 'seed')}; {p_relation(p)}"
    if verdict in (Verdict.HELPS, Verdict.HURTS):
        sentence = f"{pair.arm.name} {_change(pair)} against {pair.base.name} ({facts})."
    else:
        seen = metric.unit.amount(result.mean, sign=True)
        sentence = f"No difference in {metric.title} shown between {pair.arm.name} and {pair.base.name} ({seen}; {facts})."
    return f"{sentence}{_within_margin(pair)}"


def _not_testable(pair: Pair) -> str:
    return (
        f"Clipping never acted in these runs, so {pair.arm.name} trained exactly as {pair.base.name} did on "
        f"{counted(pair.result.seeds, 'shared seed')}: whether it helps can't be tested here."
    )


def _exploratory(pair: Pair, tests: int) -> str:
    seeds = pair.result.seeds
    change = f"{_change(pair)}{' on average' if seeds > 1 else ''}"
    seen = change if pair.result.mean else f"left {pair.yardstick.metric.title} as it was"
    return (
        f"{pair.arm.name} against {pair.base.name} is exploratory: on {counted(seeds, 'shared seed')} it {seen}, but so few "
        f"can't give p below {stats.smallest_p(seeds, tests):.2g}; {stats.seeds_for_a_verdict(tests)} seeds could."
    )


def _change(pair: Pair) -> str:
    metric, mean = pair.yardstick.metric, pair.result.mean
    return f"{'raised' if mean > 0 else 'lowered'} {metric.title} by {metric.unit.amount(abs(mean))}"


def _within_margin(pair: Pair) -> str:
    if not pair.equivalent:
        return ""
    margin = f"±{pair.yardstick.margin:g} {pair.yardstick.metric.unit.name}"
    return f" The interval lies inside {margin}: equivalent within that margin."


def _confounded(pair: Pair) -> list[str]:
    """A sentence where a verdict need not be clipping's."""
    if not pair.differs_in:
        return []
    keys = some_of(pair.differs_in, MOST_KEYS)
    return [
        f"They differ in more than clipping: {keys}." if pair.differ_in_clipping else f"They differ in {keys}, not in clipping."
    ]


def some_of(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """Names in a row, not too many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
