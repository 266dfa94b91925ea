"""Clipping makes training converge faster: the area under the training-loss curve."""

from __future__ import annotations

from gradclip_cli.article.claim import Arms, PrimaryClaim, PrimaryTest
from gradclip_cli.article.effects import Amount, Effect
from gradclip_cli.article.measures import Difference


class Convergence(PrimaryClaim):
    """From clipvalue against none; steps to a target loss and clipnorm stand beside it."""

    id = "C3"
    statement = "Clipping makes training converge faster."
    rule = (
        "Primary test: the area under the training-loss curve, clipvalue against none, paired by seed. Steps to a target "
        "loss and clipnorm stand beside it as description."
    )
    arms = ("none", "clipnorm", "clipvalue")

    def test(self, arms: Arms) -> PrimaryTest:
        area = Difference.of(arms["clipvalue"], arms["none"], "loss_area")
        steps = Difference.of(arms["clipvalue"], arms["none"], "steps_to_target")
        by_norm = Difference.of(arms["clipnorm"], arms["none"], "loss_area")
        figures = {**area.figures, "steps_to_target": steps.figures, "target_loss": steps.yardstick.target_loss}
        measured = f"{area.sentence} Beside it: {steps.sentence} {by_norm.sentence}"
        return PrimaryTest(area.against.p, area.against.mean < 0, measured, figures)

    def effects(self, arms: Arms) -> list[Effect]:
        return [Amount.of_difference(arms["none"], arms["clipvalue"], "loss_area")]
