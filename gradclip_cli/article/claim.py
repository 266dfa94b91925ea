"""What a claim of the article is: its words, its rule, the arms that it needs, and an answer from their stored runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from gradclip_cli.article.effects import Effect
from gradclip_cli.evidence import stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.plans import PlannedTest
from gradclip_cli.evidence.treatment import HARDLY
from gradclip_cli.evidence.verdicts import Judgement

Arms = Mapping[str, Arm]
"""All arms of a reproduction by name, each with all of its seeds: those of a claim, and what others have trained."""


class ClaimVerdict(StrEnum):
    """How the stored runs answer a claim, or a part of one."""

    SUPPORTED = "supported"
    IN_PART = "supported in part"
    CONTRADICTED = "contradicted"
    NOT_SHOWN = "not shown"
    NOT_TESTABLE = "not testable here"

    def under(self, condition: str) -> str:
        """With what it holds under, such as `supported at SGD 0.01`; alone where nothing was decided."""
        return str(self) if self in (ClaimVerdict.NOT_SHOWN, ClaimVerdict.NOT_TESTABLE) else f"{self} {condition}".strip()


def on_parts(verdicts: Mapping[str, ClaimVerdict]) -> str:
    """The verdicts on a claim's parts, by their names, such as `escapes: supported in part; learns: contradicted`."""
    return "; ".join(f"{part}: {verdict}" for part, verdict in verdicts.items())


@dataclass(frozen=True)
class Answer:
    """A verdict with what was measured: in sentences for the report, as figures for JSON."""

    verdict: str
    """As it is shown: a `ClaimVerdict`, with its condition where it has one, or those on the claim's parts."""
    measured: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    beside: Sequence[str] = ()
    """What else a reader must know to judge the verdict, each in a sentence or two."""


class PrimaryTest(ABC):
    """A claim's test, which is judged as one of the primary family."""

    @property
    @abstractmethod
    def p(self) -> float:
        """Before Holm's adjustment."""

    @abstractmethod
    def answer(self, judgement: Judgement) -> Answer:
        """The answer, once the family is known."""


def decided(judgement: Judgement, *, supports: bool, acted: float | None = None) -> ClaimVerdict:
    """What a primary test shows. `supports` is the direction seen, `acted` the share of steps on which a treatment acted."""
    if acted == 0:
        return ClaimVerdict.NOT_TESTABLE
    if judgement.p_adjusted < stats.LEVEL:
        return ClaimVerdict.SUPPORTED if supports else ClaimVerdict.CONTRADICTED
    return ClaimVerdict.NOT_TESTABLE if acted is not None and acted < HARDLY else ClaimVerdict.NOT_SHOWN


class Claim:
    """Base of the claims, which are primary or separate: one a file in `claims`."""

    id: ClassVar[str]
    """C and a number, which is its place among the others."""
    statement: ClassVar[str]
    """The claim in our words, a sentence."""
    rule: ClassVar[str]
    """What decides it, in sentences."""
    written: ClassVar[str]
    """When the rule was written, what had been seen by then, and what was changed since and why, in sentences."""
    arms: ClassVar[tuple[str, ...]]
    """Names of the arms that must have been trained, each by the shipped config of that name."""

    def effects(self, arms: Arms) -> list[Effect]:
        """What it measures on each seed, for another reproduction to be held against; none where it measures nothing so."""
        return []


class PrimaryClaim(Claim, ABC):
    """A claim that a test decides, one of the primary family's: what it compares was fixed before its runs."""

    planned: ClassVar[PlannedTest]
    """What its test holds against what, and by what, as a plan says it."""

    @abstractmethod
    def test(self, arms: Arms) -> PrimaryTest:
        """Its test, from the stored runs."""


class SeparateClaim(Claim, ABC):
    """A claim with a rule of its own, outside the family."""

    @abstractmethod
    def answer(self, arms: Arms) -> Answer:
        """Its answer, from the stored runs."""
