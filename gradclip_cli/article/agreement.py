"""Two reproductions with the same seeds, each trained by another framework: are the claims' effects the same?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gradclip_cli.article.claim import Answer, Arms
from gradclip_cli.article.claims import CLAIMS
from gradclip_cli.article.effects import Contrast
from gradclip_cli.article.noise import Spread, figure, spread_of_pairs
from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import figures, report, stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.comparison import Comparison, compare_arms
from gradclip_cli.evidence.judging import AgainstBaseline
from gradclip_cli.evidence.metrics import POINTS
from gradclip_cli.texts import counted, shown_p

if TYPE_CHECKING:
    from gradclip_cli.plots import Panel

DRAWN = ("none", "clipvalue")


class Outcome(StrEnum):
    """What the tests say of an effect in two frameworks."""

    AGREE = "agree"
    DIFFER = "differ"
    UNDECIDED = "not shown to agree or to differ"
    NO_EFFECT = "no effect shown in either"


DECISIVE = (Outcome.DIFFER, Outcome.UNDECIDED, Outcome.NO_EFFECT, Outcome.AGREE)
"""The first of these that an effect of a claim has is the claim's."""


@dataclass(frozen=True)
class Twins:
    """One arm in both frameworks: ours minus theirs in test accuracy, and how wide the pairs of runs differ."""

    arm: str
    against: AgainstBaseline
    spread: Spread


@dataclass(frozen=True)
class HeldEffect:
    """One effect of a claim in both frameworks, judged as one of all."""

    claim: str
    what: str
    contrast: Contrast
    p_adjusted: float
    level: float

    @property
    def is_tested(self) -> bool:
        """Whether so many seeds can show a difference at all."""
        return self.contrast.smallest_p < stats.LEVEL

    @property
    def outcome(self) -> Outcome:
        """By Holm's procedure over all effects that are tested, and the interval that goes with it."""
        if self.p_adjusted < stats.LEVEL:
            return Outcome.DIFFER
        if self.contrast.agrees(self.level):
            return Outcome.AGREE
        return Outcome.UNDECIDED if any(self.contrast.shown) else Outcome.NO_EFFECT

    def row(self, titles: tuple[str, str]) -> list[str]:
        """Of a table, with the frameworks in words."""
        ps = [shown_p(p) for p in (self.contrast.p, self.p_adjusted)]
        return [self.claim, self.what, *self.contrast.cells(self.level), *ps, self._told(titles)]

    @property
    def told_apart(self) -> str:
        """The claim with what differs, such as `C4 (diverged or learnt nothing: 1 of 10 and 10 of 10)`."""
        ours, theirs, _ = self.contrast.cells(self.level)
        return f"{self.claim} ({self.what}: {ours} and {theirs})"

    def _told(self, titles: tuple[str, str]) -> str:
        if self.outcome == Outcome.AGREE:
            return f"agree {self.contrast.within}"
        missing = [title for title, shown in zip(titles, self.contrast.shown, strict=True) if not shown]
        return f"{self.outcome}; no effect shown in {missing[0]}" if len(missing) == 1 else str(self.outcome)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = {"p": self.contrast.p, "p_adjusted": self.p_adjusted, "outcome": self.outcome}
        return {"claim": self.claim, "what": self.what, **self.contrast.to_dict(self.level), **found}


@dataclass(frozen=True)
class Agreement:
    """What two frameworks say to each claim, as (ours, theirs), their effects, and how far their runs of one seed are apart."""

    frameworks: tuple[str, str]
    verdicts: Mapping[str, tuple[str, str]]
    effects: Sequence[HeldEffect]
    twins: Sequence[Twins]
    rounding: Spread
    """Of `none` against itself with other rounding, in ours."""
    curves: Comparison

    @property
    def titles(self) -> tuple[str, str]:
        """The frameworks, in words."""
        ours, theirs = (FRAMEWORKS[framework].title for framework in self.frameworks)
        return ours, theirs

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """By claim: they differ where one effect does, and agree only where all do."""
        outcomes = {}
        for claim in dict.fromkeys(each.claim for each in self.effects):
            found = {each.outcome for each in self.effects if each.claim == claim}
            outcomes[claim] = next(each for each in DECISIVE if each in found)
        return outcomes

    @property
    def differing(self) -> list[str]:
        """Claims with an effect that differs."""
        return self._with(Outcome.DIFFER)

    def _with(self, outcome: Outcome) -> list[str]:
        return [claim for claim, found in self.outcomes.items() if found == outcome]

    @property
    def sentence(self) -> str:
        """Where the effects agree, differ, or aren't shown to do either."""
        agreeing = [f"{claim} ({self._within(claim)})" for claim in self._with(Outcome.AGREE)]
        undecided, without = self._with(Outcome.UNDECIDED), self._with(Outcome.NO_EFFECT)
        differing = [each.told_apart for each in self.effects if each.outcome == Outcome.DIFFER]
        agree = f"agree on {_listed(agreeing)}" if agreeing else "are not shown to agree on any claim"
        differ = f"they differ on {_listed(differing)}" if differing else "they are not shown to differ on any claim"
        parts = [
            f"{agree}; {differ}" if agreeing or differing else "are shown neither to agree nor to differ on any claim",
            f"these seeds don't decide on {_listed(undecided)}" if undecided else "",
            f"on {_listed(without)} no effect is shown in either" if without else "",
        ]
        ours, theirs = self.titles
        return f"The effects in {ours} and {theirs} {'; '.join(filter(None, parts))}."

    def _within(self, claim: str) -> str:
        return _listed(list(dict.fromkeys(each.contrast.within for each in self.effects if each.claim == claim)))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        ours, theirs = self.frameworks
        return {
            "frameworks": [ours, theirs],
            "told": self.sentence,
            "verdicts": {claim: dict(zip(self.frameworks, both, strict=True)) for claim, both in self.verdicts.items()},
            "effects": [each.to_dict() for each in self.effects],
            "differing": self.differing,
            "twins": [
                {
                    "arm": each.arm,
                    **{name: getattr(each.against, name) for name in ("typical", "low", "high", "mean")},
                    "spread": asdict(each.spread),
                }
                for each in self.twins
            ],
            "rounding": asdict(self.rounding),
        }

    def panels(self) -> list[Panel]:
        """The curves of some arms in both frameworks, for a figure."""
        return figures.panels(self.curves)

    def to_markdown(self) -> list[str]:
        """Parts of a report."""
        ours, theirs = self.titles
        return [
            f"## The same in {theirs}",
            f"The same seeds, initial weights and batches, trained by {theirs}. **{self.sentence}**",
            *self._effects_in_markdown(),
            "The verdicts beside each other. Whether two are worded alike is no test: where the seeds decide in one framework "
            "and not in the other, the effects may be the same.",
            report.markdown_table(
                ["", "claim", ours, theirs],
                [[claim, CLAIMS[claim].statement, *both] for claim, both in self.verdicts.items()],
                left=4,
            ),
            *self._twins_in_markdown(),
            "![Both frameworks' curves](frameworks.png)",
        ]

    def _effects_in_markdown(self) -> list[str]:
        ours, theirs = self.titles
        tested = sum(each.is_tested for each in self.effects)
        headings = ["", "effect", ours, theirs, f"{ours} minus {theirs}, or seeds apart", "p", "adjusted p", "both"]
        return [
            report.markdown_table(headings, [each.row(self.titles) for each in self.effects], left=2),
            "Each effect in both frameworks: a typical figure over seeds, or on how many seeds something happened. Figures are "
            "paired by seed: the typical difference between the frameworks, with its interval. What happened is tested by the "
            "seeds on which it happened in one framework only (exact McNemar): of fewer than six no difference can be shown. "
            f"Intervals and the adjusted p are Holm's over the {counted(tested, 'effect')} that can show one. Figures agree "
            "where they are the same on each seed; or where an effect is shown in both, each tested by itself, and interval and "
            "average lie within half of the smaller effect (and within what seeds are planned for). What happened agrees where "
            "it is the same on each seed.",
        ]

    def _twins_in_markdown(self) -> list[str]:
        ours, theirs = self.titles
        gaps = [[each.arm, *_points(each.against), *_deviations(each.spread)] for each in self.twins]
        rounding = [report.Markup("*rounding alone*"), "", "", *_deviations(self.rounding)]
        headings = [
            "arm",
            "typical difference (points)",
            "on average",
            "sd of pairs, epoch 1",
            "at the end",
            "middle half at the end",
        ]
        return [
            f"Test accuracy, {ours} minus {theirs}, paired by seed, with 95% intervals of the typical difference (not adjusted). "
            "Then how wide the pairs of runs of one seed differ: standard deviations over seeds, and the width of the middle "
            "half, with bootstrap intervals (the noise floor says how far they hold). The last row is what rounding alone does "
            f"within {ours}: `none` against itself, its weights scaled by 1.000001.",
            report.markdown_table(headings, [*gaps, rounding]),
        ]


def hold_against(
    ours: Mapping[str, Answer], our_arms: Arms, theirs: Mapping[str, Answer], their_arms: Arms, twins: Sequence[str]
) -> Agreement:
    """Hold one reproduction's answers by claim and arms against another's, with the same seeds; `twins` are held run by run.

    Raises ReportError where one framework trained both.
    """
    frameworks = tuple(arms["none"].config.engine.framework for arms in (our_arms, their_arms))
    if frameworks[0] == frameworks[1]:
        raise ReportError(f"Both were trained by {frameworks[0]}: hold a reproduction against one by the other framework.")
    ours_in, theirs_in = frameworks
    named = {
        (name, framework): replace(arms[name], name=f"{name} ({framework})")
        for name in twins
        for framework, arms in zip(frameworks, (our_arms, their_arms), strict=True)
    }
    return Agreement(
        (ours_in, theirs_in),
        {claim: (answer.verdict, theirs[claim].verdict) for claim, answer in ours.items()},
        _held_effects(our_arms, their_arms),
        [_twins(name, named[name, ours_in], named[name, theirs_in]) for name in twins],
        spread_of_pairs("rounding", our_arms["none"], our_arms["control"]),
        compare_arms(
            [named[name, framework] for name in DRAWN for framework in frameworks], baseline=named[DRAWN[0], ours_in].name
        ),
    )


def _held_effects(our_arms: Arms, their_arms: Arms) -> list[HeldEffect]:
    """All effects of all claims that both have, adjusted by Holm over those that are tested.

    What could not reach a small p, whichever way it went, takes no power from the others (Tarone 1990, "A modified Bonferroni
    method for discrete data").
    """
    contrasts = []
    for name, claim in CLAIMS.items():
        theirs = {effect.what: effect for effect in claim.effects(their_arms)}
        found = [(effect, theirs[effect.what]) for effect in claim.effects(our_arms) if effect.what in theirs]
        contrasts += [(name, effect.what, effect.held_against(other)) for effect, other in found]
    alone = [HeldEffect(*contrast, contrast[-1].p, stats.LEVEL) for contrast in contrasts]
    p_values = [each.contrast.p for each in alone if each.is_tested]
    judged = iter(zip(stats.holm(p_values), stats.holm_levels(p_values), strict=True))
    return [_judged(each, *next(judged)) if each.is_tested else each for each in alone]


def _judged(effect: HeldEffect, p_adjusted: float, level: float) -> HeldEffect:
    return replace(effect, p_adjusted=p_adjusted, level=level)


def _twins(name: str, ours: Arm, theirs: Arm) -> Twins:
    return Twins(name, _against(theirs, ours), spread_of_pairs(name, theirs, ours))


def _against(base: Arm, arm: Arm) -> AgainstBaseline:
    (other,) = compare_arms([base, arm], baseline=base.name).others
    assert other.against is not None
    return other.against


def _points(against: AgainstBaseline) -> list[str]:
    typical, low, high, mean = (POINTS.shown(getattr(against, name)) for name in ("typical", "low", "high", "mean"))
    return [f"{typical} ({low} to {high})", mean]


def _deviations(spread: Spread) -> list[str]:
    """Of accuracies, in points."""
    return [figure(each) for each in (spread.accuracy_early, spread.accuracy_late, spread.accuracy_middle_half)]


def _listed(texts: Sequence[str]) -> str:
    *others, last = texts
    return f"{', '.join(others)} and {last}" if others else last
