"""All that one arm's runs show against the baseline's, judged as one of several arms: figures, verdict, sentence."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from gradclip_cli.evidence import stats, two_samples
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.planning import SeedsNeeded
from gradclip_cli.evidence.questions import Yardstick
from gradclip_cli.evidence.samples import Sample, seeds_for_a_verdict
from gradclip_cli.evidence.sentences import sentence
from gradclip_cli.evidence.starts import SameStart, Start
from gradclip_cli.evidence.unpaired import Unpaired
from gradclip_cli.evidence.verdicts import Collapses, Judgement, Pair, TwoArms, Verdict
from gradclip_cli.texts import counted, percent


@dataclass(frozen=True)
class RunsAgainst:
    """How an arm's runs stand to a baseline's that nothing pairs, each to each."""

    runs: int
    baseline_runs: int
    better: int
    """In how many pairs of runs, one of each arm, the arm's is better."""
    worse: int
    tied: int

    @classmethod
    def of(cls, pair: Unpaired) -> RunsAgainst:
        """Of two arms."""
        differences = pair.differences
        worse = len(differences.gaps) - differences.zero - pair.won
        return cls(*differences.sizes, pair.won, worse, differences.zero)

    @property
    def won(self) -> float:
        """The share of pairs of runs in which the arm's is better."""
        return self.better / (self.runs * self.baseline_runs)

    @property
    def superiority(self) -> float:
        """The probability of superiority: the same with ties as halves."""
        return self.won + self.tied / (self.runs * self.baseline_runs) / 2

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "superiority": self.superiority}


@dataclass(frozen=True, kw_only=True)
class AgainstBaseline:
    """An arm's differences from the baseline, as shown (points, nats, steps), and what follows.

    On shared seeds; of all runs where they are unpaired. What only pairs have is None then.
    """

    seeds: list[int]
    differences: list[float] | None = None
    typical: float
    low: float
    high: float
    level: float
    """Of the interval: that at which Holm's procedure judges this arm."""
    p: float
    p_adjusted: float
    mean: float
    median: float | None = None
    carriers: int | None = None
    """The fewest seeds that together give half of the mean."""
    won: int | None = None
    lost: int | None = None
    tied: int | None = None
    sign_p: float | None = None
    """Of the exact sign test, which leaves ties out."""
    divergence_p: float
    collapses: Collapses | None
    """None where there is no accuracy that could collapse."""
    acted: float | None
    smallest_p: float
    seeds_for_a_verdict: int
    detectable_effect: float
    seeds_needed: SeedsNeeded | None
    same_start: SameStart | None = None
    """Whether twins began with the same weights and batches."""
    other_start: list[int] | None = None
    """The seeds whose twins did not."""
    differs_in: list[str]
    """Keys of the config in which the arms differ, those of clipping apart."""
    equivalent: bool | None
    not_worse: bool | None
    verdict: Verdict
    sentence: str
    exploratory: list[str] = field(default_factory=list)
    """Why this verdict confirms nothing, whatever its p: a few words each."""
    unpaired: RunsAgainst | None = None
    """None for pairs."""

    @property
    def won_told(self) -> str:
        """On how many seeds it is better, such as 7/8; unpaired in what share of the pairs of runs."""
        return f"{self.won}/{len(self.seeds)}" if self.unpaired is None else percent(self.unpaired.won, 0)

    @property
    def runs_told(self) -> str:
        """What was compared, such as `8 seeds` or `8 runs against 7`."""
        if self.unpaired is None:
            return f"{len(self.seeds)} seeds"
        return f"{counted(self.unpaired.runs, 'run')} against {self.unpaired.baseline_runs}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON: how unpaired runs stand to each other where they are."""
        facts = asdict(self)
        del facts["unpaired"]
        return facts if self.unpaired is None else {**facts, "unpaired": self.unpaired.to_dict()}


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


def judged(pair: TwoArms, judgement: Judgement) -> AgainstBaseline:
    """All that two arms show, judged as one of several pairs."""
    differences, verdict = pair.differences, pair.verdict(judgement)
    low, high = differences.interval(judgement.level)
    detectable, needed = pair.planned(judgement.tests)
    return AgainstBaseline(
        seeds=pair.arm.seeds,
        typical=differences.typical,
        low=low,
        high=high,
        level=judgement.level,
        p=differences.p,
        p_adjusted=judgement.p_adjusted,
        mean=differences.mean,
        divergence_p=pair.shares_p(pair.base.diverged, pair.arm.diverged),
        collapses=Collapses.of(pair),
        acted=pair.acted,
        smallest_p=pair.smallest_p(judgement.tests),
        detectable_effect=detectable,
        seeds_needed=needed,
        differs_in=pair.differs_in,
        equivalent=pair.equivalent(judgement.level),
        not_worse=pair.not_worse(judgement.level),
        verdict=verdict,
        sentence=sentence(pair, verdict, judgement),
        **_of_runs(pair, judgement.tests) if isinstance(pair, Unpaired) else _of_seeds(pair, judgement.tests),
    )


def _of_seeds(pair: TwoArms, tests: int) -> dict[str, Any]:
    """What pairs alone have."""
    assert isinstance(pair, Pair)
    differences, start = pair.differences, Start.of(pair.base, pair.arm)
    return {
        "differences": differences.values.tolist(),
        "median": differences.median,
        "carriers": differences.carriers,
        "won": pair.won,
        "lost": differences.seeds - differences.zero - pair.won,
        "tied": differences.zero,
        "sign_p": differences.sign_p,
        "seeds_for_a_verdict": seeds_for_a_verdict(tests),
        "same_start": start.same,
        "other_start": start.seeds,
    }


def _of_runs(pair: Unpaired, tests: int) -> dict[str, Any]:
    """What unpaired arms alone have."""
    return {"seeds_for_a_verdict": two_samples.runs_for_a_verdict(tests), "unpaired": RunsAgainst.of(pair)}


def reported(arm: Arm, yardstick: Yardstick, against: AgainstBaseline | None) -> ArmReport:
    """All that one arm shows: its scores, and how it stands to the baseline where it is held against one."""
    scores = Sample.of(yardstick.scores(arm) * yardstick.metric.unit.scale)
    shares = stats.share_interval(int(arm.diverged.sum()), len(arm.runs))
    return ArmReport(arm, scores.values.tolist(), scores.typical, *scores.interval(), scores.mean, shares, against)
