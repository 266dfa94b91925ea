"""With clipping, a model whose gradients explode learns: the share of clipped runs that did."""

from __future__ import annotations

from gradclip_cli.article.claim import Arms, PrimaryClaim, PrimaryTest
from gradclip_cli.article.effects import Effect, Event
from gradclip_cli.article.measures import LEARNT, learnt, share_test


class ClippedExplosion(PrimaryClaim):
    """From the explosive setting under clipnorm 1."""

    id = "C5"
    statement = "With clipping, such a model learns."
    rule = (
        "Primary test: most runs of the same setting under clipnorm 1 end complete with a test accuracy of at least "
        f"{LEARNT:g}; bounds as for C4."
    )
    arms = ("explode-clipnorm",)

    def test(self, arms: Arms) -> PrimaryTest:
        arm = arms["explode-clipnorm"]
        return share_test(arm, "learnt", learnt(arm))

    def effects(self, arms: Arms) -> list[Effect]:
        arm = arms["explode-clipnorm"]
        return [Event.of_runs("learnt", arm, learnt(arm))]
