"""Exploding gradients end in NaN or in a model that learns nothing: the share of unclipped runs that did."""

from __future__ import annotations

from gradclip_cli.article.claim import Arms, PrimaryClaim, PrimaryTest
from gradclip_cli.article.effects import Effect, Event
from gradclip_cli.article.measures import MAJORITY, NOTHING_LEARNT, exploded, share_test


class Explosion(PrimaryClaim):
    """From the explosive setting, unclipped."""

    id = "C4"
    statement = "Exploding gradients end in NaN or in a model that learns nothing."
    rule = (
        "Primary test: in most unclipped runs of the explosive setting a loss or weight becomes NaN or infinite, or test "
        f"accuracy ends below {NOTHING_LEARNT:g}. Supported where the share's 95% Clopper-Pearson interval lies above "
        f"{MAJORITY:.0%}, contradicted where it lies below."
    )
    arms = ("explode-none",)

    def test(self, arms: Arms) -> PrimaryTest:
        arm = arms["explode-none"]
        return share_test(arm, "diverged or learnt nothing", exploded(arm))

    def effects(self, arms: Arms) -> list[Effect]:
        arm = arms["explode-none"]
        return [Event.of_runs("diverged or learnt nothing", arm, exploded(arm))]
