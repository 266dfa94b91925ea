"""What a claim of the article is: its words, its rule, the arms that it needs, and an answer from their stored runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from gradclip_cli.article.effects import Effect
from gradclip_cli.evidence import stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.texts import shown_p

Arms = Mapping[str, Arm]
"""All arms of a reproduction by name, each with all of its seeds: those of a claim, and what others have trained."""


class ClaimVerdict(StrEnum):
    """How the stored runs answer a claim."""

    SUPPORTED = "supported"
    IN_PART = "supported in part"
    CONTRADICTED = "contradicted"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class Answer:
    """A verdict with what was measured: in sentences for the report, as figures for JSON."""

    verdict: ClaimVerdict
    measured: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PrimaryTest:
    """A claim's test before Holm's adjustment; `supports` is the direction seen."""

    p: float
    supports: bool
    measured: str
    figures: Mapping[str, Any]
    decisive: bool = True
    """Whether what else the rule asks for holds too, such as an interval on one side of a threshold."""

    def decided(self, p_adjusted: float) -> Answer:
        """The answer, once the family is known."""
        verdict = ClaimVerdict.NOT_SHOWN
        if p_adjusted < stats.LEVEL and self.decisive:
            verdict = ClaimVerdict.SUPPORTED if self.supports else ClaimVerdict.CONTRADICTED
        measured = f"{self.measured} Adjusted p of the primary test: {shown_p(p_adjusted)}."
        return Answer(verdict, measured, {**self.figures, "p": self.p, "p_adjusted": p_adjusted})


class Claim:
    """Base of the claims, which are primary or separate: one a file in `claims`."""

    id: ClassVar[str]
    """C and a number, which is its place among the others."""
    statement: ClassVar[str]
    """The claim in our words, a sentence."""
    rule: ClassVar[str]
    """What decides it, in sentences."""
    arms: ClassVar[tuple[str, ...]]
    """Names of the arms that must have been trained, each by the shipped config of that name."""

    def effects(self, arms: Arms) -> list[Effect]:
        """What it measures on each seed, for another reproduction to be held against; none where it measures nothing so."""
        return []


class PrimaryClaim(Claim):
    """A claim that a test decides, one of the primary family's; its rule was written before any data."""

    def test(self, arms: Arms) -> PrimaryTest:
        """Its test, from the stored runs."""
        raise NotImplementedError


class SeparateClaim(Claim):
    """A claim with a rule of its own, outside the family: results/LOG.md says what had been seen before the rule."""

    def answer(self, arms: Arms) -> Answer:
        """Its answer, from the stored runs."""
        raise NotImplementedError
