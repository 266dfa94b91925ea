"""Clipping makes training converge faster: the area under the training-loss curve."""

from __future__ import annotations

from dataclasses import dataclass

from gradclip_cli.arrays import FloatArray
from gradclip_cli.article.claim import Arms, PrimaryClaim, PrimaryTest
from gradclip_cli.article.effects import Amount, Effect
from gradclip_cli.article.measures import MAJORITY, Difference, DifferenceTest
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.plans import PlannedTest
from gradclip_cli.evidence.samples import Sample
from gradclip_cli.evidence.stats import LEVEL
from gradclip_cli.texts import counted, percent

PARTS = 3
"""Into so many parts the curve is cut, to tell an early difference from a late one."""


class Convergence(PrimaryClaim):
    """From clipvalue against none; steps to a target loss and clipnorm stand beside it."""

    id = "C3"
    statement = "Clipping makes training converge faster."
    rule = (
        "Primary test: the typical difference in the area under the training-loss curve, clipvalue against none at the article's "
        "assumed rate, paired by seed (signed-rank test). A smaller area may be a faster start or fewer late failures, so "
        "where along the curve it comes from is told with it. The average, steps to a target loss, clipnorm and what is left at "
        "each arm's best rate are description."
    )
    written = (
        "Metric and arms were fixed before any run. The test was changed after the runs had been seen, from the mean's to the "
        "typical difference's, because a test of a mean doesn't hold its level on differences as skewed as these; where the area "
        "comes from was added then too."
    )
    arms = ("none", "clipnorm", "clipvalue")
    planned = PlannedTest(arm="clipvalue", baseline="none", metric="loss_area")

    def test(self, arms: Arms) -> PrimaryTest:
        area = Difference.of(arms["clipvalue"], arms["none"], "loss_area")
        steps = Difference.of(arms["clipvalue"], arms["none"], "steps_to_target")
        by_norm = Difference.of(arms["clipnorm"], arms["none"], "loss_area")
        figures = {"steps_to_target": steps.figures, "target_loss": steps.pair.yardstick.target_loss}
        return DifferenceTest(
            area,
            beside=[steps.sentence, by_norm.sentence],
            figures=figures,
            explained=where_it_comes_from,
            kind=Course.of(area).meaning,
        )

    def effects(self, arms: Arms) -> list[Effect]:
        return [Amount.of_difference(arms["none"], arms["clipvalue"], "loss_area")]


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
    def early(self) -> float:
        """The beginning's share of the total."""
        return float(self.by_epoch[:, : self.part].sum()) / self.total

    @property
    def late(self) -> float:
        """The end's share of the total."""
        return float(self.by_epoch[:, self.epochs - self.part :].sum()) / self.total

    @property
    def meaning(self) -> str:
        """What a smaller area is; nothing where neither end gives most of it, or the area isn't smaller."""
        if not self.part or self.total >= 0 or max(self.early, self.late) <= MAJORITY:
            return ""
        return "fewer late failures rather than faster convergence" if self.late > self.early else "a faster start"

    @property
    def start(self) -> str:
        """From which epoch on a difference is shown, judged by each epoch alone; nothing where that is the first one or none."""
        shown = [Sample.of(differences).p < LEVEL for differences in self.by_epoch.T]
        first = shown.index(True) + 1 if any(shown) else 1
        return f" Before epoch {first} no difference in loss is shown." if first > 1 else ""


def where_it_comes_from(area: Difference) -> list[str]:
    """Where along the curve the difference in area comes from, and what collapsed runs of the baseline give of it."""
    course = Course.of(area)
    if not course.part or not course.total:
        return []
    means = f": {course.meaning}" if course.meaning else ""
    return [
        f"Of the average difference in area the first {course.part} of {course.epochs} epochs give {percent(course.early, 0)}, "
        f"the last {course.part} {percent(course.late, 0)}{means}.{course.start}{_of_collapsed(course, area.pair.base)}"
    ]


def _of_collapsed(course: Course, base: Arm) -> str:
    collapsed = base.collapsed
    if not collapsed.any():
        return ""
    share = float(course.by_epoch[collapsed].sum()) / course.total
    gives = "gives" if collapsed.sum() == 1 else "give"
    return f" {counted(int(collapsed.sum()), 'seed')} whose run of {base.name} collapsed {gives} {percent(share, 0)} of it."
