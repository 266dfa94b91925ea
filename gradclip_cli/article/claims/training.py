"""Clipping by value improves training: the last epoch's training loss."""

from __future__ import annotations

from gradclip_cli.article.claim import Arms, PrimaryClaim, PrimaryTest
from gradclip_cli.article.effects import Amount, Effect
from gradclip_cli.article.measures import Difference


class Training(PrimaryClaim):
    """From clipvalue against none."""

    id = "C2"
    statement = "Clipping by value improves training."
    rule = "Primary test: the last epoch's training loss, clipvalue against none, paired by seed. Accuracy is description."
    arms = ("none", "clipvalue")

    def test(self, arms: Arms) -> PrimaryTest:
        loss = Difference.of(arms["clipvalue"], arms["none"], "loss")
        return PrimaryTest(loss.against.p, loss.against.mean < 0, loss.sentence, loss.figures)

    def effects(self, arms: Arms) -> list[Effect]:
        return [Amount.of_difference(arms["none"], arms["clipvalue"], "loss")]
