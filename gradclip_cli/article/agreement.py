"""Two reproductions with the same seeds, each trained by another framework: do they answer the claims alike?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gradclip_cli.article.claim import Answer, Arms, ClaimVerdict
from gradclip_cli.article.claims import CLAIMS
from gradclip_cli.article.noise import Spread, figure, spread_of_pairs
from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import figures, report
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.comparison import AgainstBaseline, Comparison, compare_arms
from gradclip_cli.texts import decimals

if TYPE_CHECKING:
    from gradclip_cli.plots import Panel

DRAWN = ("none", "clipvalue")


@dataclass(frozen=True)
class Twins:
    """One arm in both frameworks: ours minus theirs in test accuracy, and how wide the pairs of runs differ."""

    arm: str
    against: AgainstBaseline
    spread: Spread


@dataclass(frozen=True)
class Agreement:
    """What two frameworks say to each claim, as (ours, theirs), and how far their runs of one seed are apart."""

    frameworks: tuple[str, str]
    verdicts: Mapping[str, tuple[ClaimVerdict, ClaimVerdict]]
    twins: Sequence[Twins]
    rounding: Spread
    """Of `none` against itself with other rounding, in ours."""
    curves: Comparison

    @property
    def differing(self) -> list[str]:
        """Claims that the two answer differently."""
        return [claim for claim, (ours, theirs) in self.verdicts.items() if ours != theirs]

    @property
    def sentence(self) -> str:
        """Whether the verdicts agree, in words."""
        ours, theirs = (FRAMEWORKS[framework].title for framework in self.frameworks)
        if not self.differing:
            return f"{ours} and {theirs} agree on all {len(self.verdicts)} claims."
        differences = "; ".join("{}: {} and {}".format(claim, *self.verdicts[claim]) for claim in self.differing)
        agreed = len(self.verdicts) - len(self.differing)
        return f"{ours} and {theirs} agree on {agreed} of {len(self.verdicts)} claims. They differ on {differences}."

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        ours, theirs = self.frameworks
        return {
            "frameworks": [ours, theirs],
            "told": self.sentence,
            "verdicts": {claim: dict(zip(self.frameworks, both, strict=True)) for claim, both in self.verdicts.items()},
            "differing": self.differing,
            "twins": [
                {"arm": each.arm, **{name: getattr(each.against, name) for name in ("mean", "low", "high")}}
                for each in self.twins
            ],
        }

    def panels(self) -> list[Panel]:
        """The curves of some arms in both frameworks, for a figure."""
        return figures.panels(self.curves)

    def to_markdown(self) -> list[str]:
        """Parts of a report."""
        ours, theirs = (FRAMEWORKS[framework].title for framework in self.frameworks)
        verdicts = [[claim, CLAIMS[claim].statement, *both] for claim, both in self.verdicts.items()]
        gaps = [[each.arm, _points(each.against), *_deviations(each.spread)] for each in self.twins]
        rounding = [report.Markup("*rounding alone*"), "", *_deviations(self.rounding)]
        headings = ["arm", "difference (points)", "sd of pairs, epoch 1", "at the end"]
        return [
            f"## The same in {theirs}",
            f"The same seeds, initial weights and batches, trained by {theirs}. **{self.sentence}**",
            report.markdown_table(["", "claim", ours, theirs], verdicts, left=4),
            f"Test accuracy, {ours} minus {theirs}, paired by seed, with the sign-flip test's 95% interval. The last columns are "
            "standard deviations over seeds of the difference between two runs of one seed. The last row is what rounding alone "
            f"does within {ours}: `none` against itself, its weights scaled by 1.000001.",
            report.markdown_table(headings, [*gaps, rounding]),
            "![Both frameworks' curves](frameworks.png)",
        ]


def hold_against(ours: Mapping[str, Answer], our_arms: Arms, theirs: Mapping[str, Answer], their_arms: Arms) -> Agreement:
    """Hold one reproduction's answers by claim and arms (the article's and the control) against another's, with the same seeds.

    Raises ReportError where one framework trained both.
    """
    frameworks = tuple(arms["none"].config.engine.framework for arms in (our_arms, their_arms))
    if frameworks[0] == frameworks[1]:
        raise ReportError(f"Both were trained by {frameworks[0]}: hold a reproduction against one by the other framework.")
    named = {
        (name, framework): replace(arms[name], name=f"{name} ({framework})")
        for name in our_arms
        for framework, arms in zip(frameworks, (our_arms, their_arms), strict=True)
    }
    ours_in, theirs_in = frameworks
    twins = [
        Twins(
            name,
            _against(named[name, theirs_in], named[name, ours_in]),
            spread_of_pairs(name, named[name, theirs_in], named[name, ours_in]),
        )
        for name in our_arms
    ]
    return Agreement(
        (ours_in, theirs_in),
        {claim: (answer.verdict, theirs[claim].verdict) for claim, answer in ours.items()},
        twins,
        spread_of_pairs("rounding", our_arms["none"], our_arms["control"]),
        compare_arms(
            [named[name, framework] for name in DRAWN for framework in frameworks], baseline=named[DRAWN[0], ours_in].name
        ),
    )


def _against(base: Arm, arm: Arm) -> AgainstBaseline:
    (other,) = compare_arms([base, arm], baseline=base.name).others
    assert other.against is not None
    return other.against


def _points(against: AgainstBaseline) -> str:
    return f"{decimals(against.mean, 1, sign=True)} ({decimals(against.low, 1)} to {decimals(against.high, 1)})"


def _deviations(spread: Spread) -> list[str]:
    """Of accuracies, in points, after the first epoch and at the end; what is less than one sample is rounding of the mean."""
    return [figure(spread.accuracy_early), figure(spread.accuracy_late), figure(spread.accuracy_middle_half)]
