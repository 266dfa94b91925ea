"""With clipping, a model whose gradients explode learns: the share of clipped runs that did."""

from __future__ import annotations

from gradclip_cli.article.claim import Arms, PrimaryClaim, PrimaryTest
from gradclip_cli.article.measures import LEARNT, learnt, share_test
from gradclip_cli.evidence.plans import BINOMIAL, PlannedTest


class ClippedExplosion(PrimaryClaim):
    """From the explosive setting under clipnorm 1."""

    id = "C5"
    statement = "With clipping, such a model learns."
    rule = (
        "Primary test: most runs of the same setting under clipnorm 1 end complete with a test accuracy of at least "
        f"{LEARNT:g}; bounds as for C4."
    )
    arms = ("explode-clipnorm",)
    planned = PlannedTest(arm="explode-clipnorm", metric="share of runs that learnt", test=BINOMIAL)

    def test(self, arms: Arms) -> PrimaryTest:
        arm = arms["explode-clipnorm"]
        return share_test(arm, "learnt", learnt(arm))
