"""Exploding gradients end in NaN or in a model that learns nothing: the share of unclipped runs that did."""

from __future__ import annotations

from gradclip_cli.article.claim import Arms, PrimaryClaim, PrimaryTest
from gradclip_cli.article.measures import MAJORITY, NOTHING_LEARNT, exploded, share_test
from gradclip_cli.evidence.plans import BINOMIAL, PlannedTest


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
    planned = PlannedTest(arm="explode-none", metric="share of runs that diverged or learnt nothing", test=BINOMIAL)

    def test(self, arms: Arms) -> PrimaryTest:
        arm = arms["explode-none"]
        return share_test(arm, "diverged or learnt nothing", exploded(arm))
