"""Clipping makes training converge faster: the area under the training-loss curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gradclip_cli.arrays import FloatArray
from gradclip_cli.article.claim import Arms, PrimaryClaim, PrimaryTest
from gradclip_cli.article.effects import Amount, Effect
from gradclip_cli.article.measures import MAJORITY, Difference, DifferenceTest, typical_with_interval
from gradclip_cli.config.seeds import seed_list
from gradclip_cli.evidence.arms import COLLAPSE
from gradclip_cli.evidence.plans import PlannedTest
from gradclip_cli.evidence.samples import Sample
from gradclip_cli.evidence.stats import LEVEL
from gradclip_cli.texts import counted, percent

PARTS = 3
"""Into so many parts the curve is cut, to tell an early difference from a late one."""
SMALL = 0.05
"""Share of the steps to a target loss below which saving it is small."""
FASTER, GROWS = "faster start", "gain that grows with training, not a faster start"
"""What a smaller area may be."""


class Convergence(PrimaryClaim):
    """From clipvalue against none; steps to a target loss and clipnorm stand beside it."""

    id = "C3"
    statement = "Clipping makes training converge faster."
    rule = (
        "Primary test: the typical difference in the area under the training-loss curve, clipvalue against none at the article's "
        "assumed rate, paired by seed (signed-rank test). A smaller area may be a faster start or a gain that grows with "
        f"training, so the verdict says which, where one third of the curve gives more than {MAJORITY:.0%} of the average "
        f"difference with and without the seeds whose baseline run collapsed (fell by over {100 * COLLAPSE:.0f} points of test "
        f"accuracy within an epoch). A gain is called small that typically saves less than {SMALL:.0%} of the steps to the "
        "target loss. The average, steps to that loss, clipnorm and what is left at each arm's best rate are description."
    )
    written = (
        "Metric and arms were fixed before any run. The test was changed after the runs had been seen, from the mean's to the "
        "typical difference's, because a test of a mean doesn't hold its level on differences as skewed as these; where the area "
        "comes from was added then too, and so was that it is told without collapsed seeds as well."
    )
    arms = ("none", "clipnorm", "clipvalue")
    planned = PlannedTest(arm="clipvalue", baseline="none", metric="loss_area")

    def test(self, arms: Arms) -> PrimaryTest:
        none, clipvalue = arms["none"], arms["clipvalue"]
        area, steps = Difference.of(clipvalue, none, "loss_area"), Difference.of(clipvalue, none, "steps_to_target")
        by_norm = Difference.of(arms["clipnorm"], none, "loss_area")
        figures = {
            "steps_to_target": steps.figures,
            "steps_saved": Saved.of(steps).share,
            "target_loss": steps.pair.yardstick.target_loss,
            "course": Course.of(area).to_dict(),
        }
        return DifferenceTest(
            area,
            beside=[f"{steps.sentence} {Saved.of(steps).sentence}", by_norm.sentence],
            figures=figures,
            explained=where_it_comes_from,
            kind=meaning(area),
        )

    def effects(self, arms: Arms) -> list[Effect]:
        return [Amount.of_difference(arms["none"], arms["clipvalue"], "loss_area")]


def without_collapsed(difference: Difference) -> Difference | None:
    """The same on the seeds whose baseline run did not collapse; None where these are all, or none."""
    base = difference.pair.base
    kept = [seed for seed, collapsed in zip(base.seeds, base.collapsed, strict=True) if not collapsed]
    return difference.on(kept) if 0 < len(kept) < len(base.seeds) else None


@dataclass(frozen=True)
class Saved:
    """Steps to the target loss that an arm saves, on all seeds and on those whose baseline run did not collapse."""

    steps: Difference
    without: Difference | None

    @classmethod
    def of(cls, steps: Difference) -> Saved:
        """From a difference in steps to a target loss."""
        return cls(steps, without_collapsed(steps))

    @property
    def needed(self) -> float:
        """What the baseline typically takes, in steps."""
        pair = self.steps.pair
        return Sample.of(pair.yardstick.scores(pair.base)).typical

    @property
    def share(self) -> float:
        """Of what the baseline typically takes."""
        return -self.steps.pair.differences.typical / self.needed

    @property
    def is_small(self) -> bool:
        """Whether it is a small share."""
        return self.share < SMALL

    @property
    def sentence(self) -> str:
        """How much that is, with and without collapsed seeds."""
        fewer = "fewer" if self.share >= 0 else "more"
        base = self.steps.pair.base.name
        usual = counted(round(self.needed), "step")
        told = f"Typically that is {percent(abs(self.share))} {fewer} than the {usual} that {base} takes"
        return f"{told}; without collapsed seeds {typical_with_interval(self.without)}." if self.without else f"{told}."


@dataclass(frozen=True)
class Course:
    """Where along the curve a difference in area comes from."""

    by_epoch: FloatArray
    """(seeds, epochs) arm minus baseline."""

    @classmethod
    def of(cls, area: Difference) -> Course:
        """Of two arms that are paired by seed."""
        arm, base = area.pair.arm, area.pair.base
        return cls(arm.scored_throughout("loss") - base.scored_throughout("loss"))

    @property
    def epochs(self) -> int:
        return int(self.by_epoch.shape[1])

    @property
    def part(self) -> int:
        """How many epochs the beginning has, and the end."""
        return self.epochs // PARTS

    @property
    def total(self) -> float:
        """The sum over all seeds."""
        return float(self.by_epoch.sum())

    @property
    def can_be_told(self) -> bool:
        """Whether the curve is long enough for parts, and there is a difference to share out."""
        return bool(self.part and self.total)

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of the total: what beginning, middle and end give of it."""
        early, late = self.part, self.epochs - self.part
        parts = (self.by_epoch[:, :early], self.by_epoch[:, early:late], self.by_epoch[:, late:])
        first, middle, last = (float(part.sum()) / self.total for part in parts)
        return first, middle, last

    @property
    def text(self) -> str:
        """The shares, such as `1%, 39% and 61%`."""
        first, middle, last = (percent(share, 0) for share in self.shares)
        return f"{first}, {middle} and {last}"

    @property
    def names(self) -> str:
        """The parts, such as `epochs 1-3, 4-7 and 8-10`."""
        early, late = self.part, self.epochs - self.part
        first, middle, last = (
            seed_list(range(start + 1, end + 1)) for start, end in ((0, early), (early, late), (late, self.epochs))
        )
        return f"epochs {first}, {middle} and {last}"

    @property
    def meaning(self) -> str:
        """What a smaller area is; nothing where neither end gives most of it, or the area isn't smaller."""
        if not self.can_be_told or self.total > 0:
            return ""
        early, _, late = self.shares
        return FASTER if early > MAJORITY else GROWS if late > MAJORITY else ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"part": self.part, "shares": list(self.shares) if self.can_be_told else None}


def meaning(area: Difference) -> str:
    """What a smaller area is, and whether it is small; nothing where that isn't the same without collapsed seeds."""
    without = without_collapsed(area)
    if without and without.against.p >= LEVEL:
        return "not shown without the seeds whose unclipped run collapsed"
    found = {Course.of(each).meaning for each in (area, without) if each}
    if len(found) > 1 or not (only := found.pop()):
        return ""
    saved = Saved.of(Difference.of(area.pair.arm, area.pair.base, "steps_to_target"))
    return f"a small {only}" if only == GROWS and saved.is_small else f"a {only}"


def where_it_comes_from(area: Difference) -> list[str]:
    """Where along the curve the difference in area comes from, with and without collapsed runs of the baseline."""
    course, without = Course.of(area), without_collapsed(area)
    if not course.can_be_told:
        return []
    means = f": {found}" if (found := meaning(area)) else ""
    again = f" ({Course.of(without).text} without collapsed seeds)" if without and Course.of(without).can_be_told else ""
    told = f"Of the average difference in area {course.names} give {course.text}{again}{means}."
    return [f"{told} {_before_the_end(area, course)}{_of_collapsed(area, without, course)}"]


def _before_the_end(area: Difference, course: Course) -> str:
    """The difference in area of all epochs but those of the end."""
    epochs, unit = course.epochs - course.part, area.pair.yardstick.metric.unit
    sample = Sample.of(course.by_epoch[:, :epochs].sum(axis=1))
    low, high = (unit.shown(end) for end in sample.interval())
    return f"The first {epochs} epochs alone give {unit.shown(sample.typical)} typically ({low} to {high})."


def _of_collapsed(area: Difference, without: Difference | None, course: Course) -> str:
    if without is None:
        return ""
    base, pair = area.pair.base, without.pair
    share = float(course.by_epoch[base.collapsed].sum()) / course.total
    give, them = ("gives", "it") if base.collapsed.sum() == 1 else ("give", "them")
    return (
        f" {counted(int(base.collapsed.sum()), 'seed')} whose run of {base.name} collapsed {give} {percent(share, 0)} of the "
        f"average; without {them} the area differs by {typical_with_interval(without)}, better on {pair.won} of "
        f"{counted(pair.differences.seeds, 'seed')}."
    )
