"""All that one arm's runs show against the baseline's, judged as one of several arms: figures, verdict, sentence."""

from __future__ import annotations

from dataclasses import dataclass, field

from gradclip_cli.evidence import stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.planning import SeedsNeeded
from gradclip_cli.evidence.questions import Yardstick
from gradclip_cli.evidence.samples import Sample, seeds_for_a_verdict, smallest_p
from gradclip_cli.evidence.sentences import sentence
from gradclip_cli.evidence.starts import SameStart, Start
from gradclip_cli.evidence.verdicts import Collapses, Judgement, Pair, Verdict


@dataclass(frozen=True)
class AgainstBaseline:
    """An arm's paired differences from the baseline on shared seeds, as shown (points, nats, steps), and what follows."""

    seeds: list[int]
    differences: list[float]
    typical: float
    low: float
    high: float
    level: float
    """Of the interval: that at which Holm's procedure judges this arm."""
    p: float
    p_adjusted: float
    mean: float
    median: float
    carriers: int
    """The fewest seeds that together give half of the mean."""
    won: int
    lost: int
    tied: int
    sign_p: float
    """Of the exact sign test, which leaves ties out."""
    divergence_p: float
    collapses: Collapses | None
    """None where there is no accuracy that could collapse."""
    acted: float | None
    smallest_p: float
    seeds_for_a_verdict: int
    detectable_effect: float
    seeds_needed: SeedsNeeded | None
    same_start: SameStart
    """Whether twins began with the same weights and batches."""
    other_start: list[int]
    """The seeds whose twins did not."""
    differs_in: list[str]
    """Keys of the config in which the arms differ, those of clipping apart."""
    equivalent: bool | None
    not_worse: bool | None
    verdict: Verdict
    sentence: str
    exploratory: list[str] = field(default_factory=list)
    """Why this verdict confirms nothing, whatever its p: a few words each."""


@dataclass(frozen=True)
class ArmReport:
    """One arm: its scores as shown (seeds,), the typical one with its interval, their mean, and how it stands to the baseline."""

    arm: Arm
    scores: list[float]
    typical: float
    low: float
    high: float
    mean: float
    diverged_interval: tuple[float, float]
    against: AgainstBaseline | None


def judged(pair: Pair, judgement: Judgement) -> AgainstBaseline:
    """All that a pair of arms shows, judged as one of several."""
    differences, verdict = pair.differences, pair.verdict(judgement)
    low, high = differences.interval(judgement.level)
    detectable, needed = pair.planned(judgement.tests)
    start = Start.of(pair.base, pair.arm)
    return AgainstBaseline(
        seeds=pair.arm.seeds,
        differences=differences.values.tolist(),
        typical=differences.typical,
        low=low,
        high=high,
        level=judgement.level,
        p=differences.p,
        p_adjusted=judgement.p_adjusted,
        mean=differences.mean,
        median=differences.median,
        carriers=differences.carriers,
        won=pair.won,
        lost=differences.seeds - differences.zero - pair.won,
        tied=differences.zero,
        sign_p=differences.sign_p,
        divergence_p=stats.mcnemar_p(pair.base.diverged, pair.arm.diverged),
        collapses=Collapses.of(pair.base, pair.arm),
        acted=pair.acted,
        smallest_p=smallest_p(differences.seeds, judgement.tests),
        seeds_for_a_verdict=seeds_for_a_verdict(judgement.tests),
        detectable_effect=detectable,
        seeds_needed=needed,
        same_start=start.same,
        other_start=start.seeds,
        differs_in=pair.differs_in,
        equivalent=pair.equivalent(judgement.level),
        not_worse=pair.not_worse(judgement.level),
        verdict=verdict,
        sentence=sentence(pair, verdict, judgement),
    )


def reported(arm: Arm, yardstick: Yardstick, against: AgainstBaseline | None) -> ArmReport:
    """All that one arm shows: its scores, and how it stands to the baseline where it is held against one."""
    scores = Sample.of(yardstick.scores(arm) * yardstick.metric.unit.scale)
    shares = stats.share_interval(int(arm.diverged.sum()), len(arm.runs))
    return ArmReport(arm, scores.values.tolist(), scores.typical, *scores.interval(), scores.mean, shares, against)
