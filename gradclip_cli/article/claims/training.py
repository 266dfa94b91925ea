"""Clipping by value improves training: the last epoch's training loss."""

from __future__ import annotations

from gradclip_cli.article.claim import Arms, PrimaryClaim, PrimaryTest
from gradclip_cli.article.effects import Amount, Effect
from gradclip_cli.article.measures import Difference, DifferenceTest
from gradclip_cli.evidence.comparison import compare_arms
from gradclip_cli.evidence.plans import PlannedTest
from gradclip_cli.evidence.remarks import collapse_sentence


class Training(PrimaryClaim):
    """From clipvalue against none; test accuracy and collapsed runs stand beside it."""

    id = "C2"
    statement = "Clipping by value improves training."
    rule = (
        "Primary test: the typical difference in the last epoch's training loss, clipvalue against none at the article's assumed "
        "rate, paired by seed (signed-rank test). The average, test accuracy and what is left at each arm's best rate are "
        "description."
    )
    written = (
        "Metric and arms were fixed before any run. The test was changed after the runs had been seen, from the mean's to the "
        "typical difference's, because a test of a mean doesn't hold its level on differences as skewed as these."
    )
    arms = ("none", "clipvalue")
    planned = PlannedTest(arm="clipvalue", baseline="none", metric="loss")

    def test(self, arms: Arms) -> PrimaryTest:
        none, clipvalue = arms["none"], arms["clipvalue"]
        accuracy = Difference.of(clipvalue, none, "val_accuracy")
        collapses = collapse_sentence(compare_arms([none, clipvalue], none.name))
        return DifferenceTest(
            Difference.of(clipvalue, none, "loss"),
            beside=[accuracy.sentence, *([collapses] if collapses else [])],
            figures={"val_accuracy": accuracy.figures},
        )

    def effects(self, arms: Arms) -> list[Effect]:
        return [Amount.of_difference(arms["none"], arms["clipvalue"], "loss")]
