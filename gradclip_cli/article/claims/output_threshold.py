"""The output layer may take a wider threshold than the hidden layers: what it costs in training loss."""

from __future__ import annotations

import math

from gradclip_cli.article.claim import Answer, Arms, ClaimVerdict, SeparateClaim
from gradclip_cli.article.effects import Amount, Effect
from gradclip_cli.article.measures import Difference
from gradclip_cli.evidence.comparison import AgainstBaseline

TOLERATED_RISE = 0.05
"""Nats of training loss, the effect that `compare` plans for."""


class OutputThreshold(SeparateClaim):
    """From wide-output against clipnorm."""

    id = "C7"
    statement = "The output layer may take a wider threshold than the hidden layers."
    rule = (
        "The last epoch's training loss with clipnorm 1 and a threshold of 5 for the output layer, against 1 for all layers, "
        f"paired by seed. Supported where the 95% interval lies below a rise of {TOLERATED_RISE:g} nats, contradicted where it "
        "lies above it."
    )
    arms = ("clipnorm", "wide-output")

    def answer(self, arms: Arms) -> Answer:
        loss = Difference.of(arms["wide-output"], arms["clipnorm"], "loss")
        return Answer(_verdict(loss.against), loss.sentence, loss.figures)

    def effects(self, arms: Arms) -> list[Effect]:
        return [Amount.of_difference(arms["clipnorm"], arms["wide-output"], "loss")]


def _verdict(against: AgainstBaseline) -> ClaimVerdict:
    if not math.isfinite(against.low):
        return ClaimVerdict.NOT_SHOWN
    if against.high < TOLERATED_RISE:
        return ClaimVerdict.SUPPORTED
    return ClaimVerdict.CONTRADICTED if against.low > TOLERATED_RISE else ClaimVerdict.NOT_SHOWN
