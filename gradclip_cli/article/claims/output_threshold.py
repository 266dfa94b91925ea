"""The output layer may take a wider threshold than the hidden layers: what it costs in training loss."""

from __future__ import annotations

from gradclip_cli.article.claim import Answer, Arms, ClaimVerdict, SeparateClaim
from gradclip_cli.article.effects import Amount, Effect
from gradclip_cli.article.measures import Difference, setting
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.metrics import Unit
from gradclip_cli.evidence.treatment import HARDLY
from gradclip_cli.texts import counted, percent

TOLERATED_RISE = 0.05
"""Nats of training loss, the effect that `compare` plans for."""


class OutputThreshold(SeparateClaim):
    """From wide-output against clipnorm, where the wider threshold acts at all."""

    id = "C7"
    statement = "The output layer may take a wider threshold than the hidden layers."
    rule = (
        "The last epoch's training loss with clipnorm 1 and a threshold of 5 for the output layer, against 1 for all layers, "
        f"paired by seed. First it is asked whether the wider threshold acted: on less than {percent(HARDLY)} of the steps the "
        "claim is not testable here, and where the stored runs don't tell, nothing is shown. Else supported where neither the "
        f"typical difference's 95% interval nor the average reaches a rise of {TOLERATED_RISE:g} nats, contradicted where the "
        "interval lies above it."
    )
    written = (
        "When two seeds of wide-output had been seen. The question whether it acted was added after all runs had been seen, and "
        "so was the average, because runs that are alike in both arms say nothing about a wider threshold."
    )
    arms = ("clipnorm", "wide-output")

    def answer(self, arms: Arms) -> Answer:
        base, arm = arms["clipnorm"], arms["wide-output"]
        loss = Difference.of(arm, base, "loss", margin=TOLERATED_RISE)
        told = " ".join([_acted(loss, base, arm), _compared(loss), *_rounding(loss)])
        measured = f"{setting(arm.config)} at {arm.config.optimizer.label}: {told}"
        return Answer(_verdict(loss), measured, loss.figures)

    def effects(self, arms: Arms) -> list[Effect]:
        return [Amount.of_difference(arms["clipnorm"], arms["wide-output"], "loss")]


def _verdict(loss: Difference) -> ClaimVerdict:
    against = loss.against
    if against.acted is None:
        return ClaimVerdict.NOT_SHOWN
    if against.acted < HARDLY:
        return ClaimVerdict.NOT_TESTABLE
    if against.not_worse:
        return ClaimVerdict.SUPPORTED
    return ClaimVerdict.CONTRADICTED if against.low > TOLERATED_RISE else ClaimVerdict.NOT_SHOWN


def _acted(loss: Difference, base: Arm, arm: Arm) -> str:
    share = loss.pair.acted
    if share is None:
        return (
            "these runs were trained before run.json kept on how many steps each variable was clipped, so whether the wider "
            "threshold acted can't be checked, and nothing is shown."
        )
    steps = sum(run.metadata["steps"] for run in arm.runs)
    return f"on {round(share * steps):,} of {counted(steps, 'step')} did it clip otherwise than {base.name}."


def _compared(loss: Difference) -> str:
    against, unit = loss.against, loss.pair.yardstick.metric.unit
    return (
        f"Training loss differs by {_shown(against.typical, unit)} typically, {_shown(against.mean, unit)} on average (95% "
        f"interval of the typical difference {unit.shown(against.low)} to {unit.shown(against.high)}; better on "
        f"{against.won} of {counted(len(against.seeds), 'seed')})."
    )


def _shown(value: float, unit: Unit) -> str:
    """An amount, or less than the smallest that the unit's digits tell apart."""
    smallest = 10**-unit.digits
    return unit.amount(value, sign=True) if abs(value) >= smallest else f"less than {unit.amount(smallest)}"


def _rounding(loss: Difference) -> list[str]:
    """A sentence where nothing was clipped otherwise, and yet runs differ."""
    against, unit = loss.against, loss.pair.yardstick.metric.unit
    differences = loss.pair.differences
    apart = differences.seeds - differences.zero
    if against.acted != 0 or not apart:
        return []
    most = max(map(abs, differences.values.tolist()))
    return [f"Yet it differs on {counted(apart, 'seed')}, by up to {unit.amount(most)}: what differs is rounding."]
