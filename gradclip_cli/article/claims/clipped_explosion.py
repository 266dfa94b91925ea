"""With clipping, a model whose gradients explode learns: the share of clipped runs that did."""

from __future__ import annotations

from gradclip_cli.article.claim import Arms, PrimaryClaim, PrimaryTest
from gradclip_cli.article.effects import Effect, Event
from gradclip_cli.article.measures import LEARNT, MAJORITY, ShareTest, learnt
from gradclip_cli.evidence import stats
from gradclip_cli.evidence.plans import BINOMIAL, PlannedTest
from gradclip_cli.evidence.treatment import acted
from gradclip_cli.texts import p_relation


class ClippedExplosion(PrimaryClaim):
    """From the explosive setting under clipnorm 1; its unclipped twins stand beside it."""

    id = "C5"
    statement = "With clipping, such a model learns."
    rule = (
        f"Primary test: most runs of the same setting under clipnorm 1 end complete with a test accuracy of at least {LEARNT:g} "
        f"(binomial test against {MAJORITY:.0%}, Clopper-Pearson interval). The unclipped runs of the same seeds stand beside "
        "(exact McNemar test)."
    )
    written = (
        f"The cut-off of {LEARNT:g} was set when test accuracies of seeds 0 to 7 had been seen. The contrast with the unclipped "
        "runs, and the condition in the verdict, were added after all runs had been seen."
    )
    arms = ("explode-none", "explode-clipnorm")
    planned = PlannedTest(arm="explode-clipnorm", metric="share of runs that learnt", test=BINOMIAL)

    def test(self, arms: Arms) -> PrimaryTest:
        base, arm = arms["explode-none"], arms["explode-clipnorm"]
        ours, theirs = learnt(arm), learnt(base)
        contrast = (
            f"Paired by seed: {ours.sum()} runs of {arm.name} learnt against {theirs.sum()} of {base.name}, of {len(ours)} each "
            f"({p_relation(stats.mcnemar_p(theirs, ours))}, exact McNemar test)."
        )
        return ShareTest(arm, "learnt", ours, "in the setting of C4", acted(base, arm), [contrast])

    def effects(self, arms: Arms) -> list[Effect]:
        arm = arms["explode-clipnorm"]
        return [Event.of_runs("learnt", arm, learnt(arm))]
