"""Clipping makes training converge faster: the area under the training-loss curve."""

from __future__ import annotations

from gradclip_cli.arrays import FloatArray
from gradclip_cli.article.claim import Arms, PrimaryClaim, PrimaryTest
from gradclip_cli.article.effects import Amount, Effect
from gradclip_cli.article.measures import MAJORITY, Difference, DifferenceTest
from gradclip_cli.evidence.arms import Arm
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

    def test(self, arms: Arms) -> PrimaryTest:
        steps = Difference.of(arms["clipvalue"], arms["none"], "steps_to_target")
        by_norm = Difference.of(arms["clipnorm"], arms["none"], "loss_area")
        figures = {"steps_to_target": steps.figures, "target_loss": steps.pair.yardstick.target_loss}
        return DifferenceTest(
            Difference.of(arms["clipvalue"], arms["none"], "loss_area"),
            beside=[steps.sentence, by_norm.sentence],
            figures=figures,
            explained=where_it_comes_from,
        )

    def effects(self, arms: Arms) -> list[Effect]:
        return [Amount.of_difference(arms["none"], arms["clipvalue"], "loss_area")]


def where_it_comes_from(area: Difference) -> list[str]:
    """Where along the curve the difference in area comes from, and what collapsed runs of the baseline give of it."""
    arm, base = area.pair.arm, area.pair.base
    by_epoch = arm.scored_throughout("loss") - base.scored_throughout("loss")
    total, part = float(by_epoch.sum()), by_epoch.shape[1] // PARTS
    if not part or not total:
        return []
    early, late = float(by_epoch[:, :part].sum()) / total, float(by_epoch[:, -part:].sum()) / total
    told = (
        f"Of the average difference in area the first {part} of {by_epoch.shape[1]} epochs give {percent(early, 0)}, the last "
        f"{part} {percent(late, 0)}{_meaning(early, late, total)}.{_start(by_epoch)}"
    )
    return [f"{told}{_of_collapsed(by_epoch, base)}"]


def _meaning(early: float, late: float, total: float) -> str:
    if total > 0 or max(early, late) <= MAJORITY:
        return ""
    return ": fewer late failures rather than faster convergence" if late > early else ": a faster start"


def _start(by_epoch: FloatArray) -> str:
    """From which epoch on a difference is shown, judged by each epoch alone; nothing where that is the first one or none."""
    shown = [Sample.of(differences).p < LEVEL for differences in by_epoch.T]
    first = shown.index(True) + 1 if any(shown) else 1
    return f" Before epoch {first} no difference in loss is shown." if first > 1 else ""


def _of_collapsed(by_epoch: FloatArray, base: Arm) -> str:
    collapsed = base.collapsed
    if not collapsed.any():
        return ""
    share = float(by_epoch[collapsed].sum() / by_epoch.sum())
    gives = "gives" if collapsed.sum() == 1 else "give"
    return f" {counted(int(collapsed.sum()), 'seed')} whose run of {base.name} collapsed {gives} {percent(share, 0)} of it."
