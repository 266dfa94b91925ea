"""Exploding gradients end in NaN or in a model that learns nothing: the share of unclipped runs that did."""

from __future__ import annotations

import numpy as np

from gradclip_cli.article.claim import Arms, PrimaryClaim, PrimaryTest
from gradclip_cli.article.effects import Effect, Event
from gradclip_cli.article.measures import CELLS, MAJORITY, NOTHING_LEARNT, ShareTest, exploded
from gradclip_cli.evidence.plans import BINOMIAL, PlannedTest
from gradclip_cli.gradients.health import EXPLOSION
from gradclip_cli.texts import counted


class Explosion(PrimaryClaim):
    """From the explosive setting, unclipped; all unclipped runs whose gradients exploded stand beside it."""

    id = "C4"
    statement = "Exploding gradients end in NaN or in a model that learns nothing."
    rule = (
        "Primary test: in most unclipped runs of the explosive setting a loss or weight becomes NaN or infinite, or test "
        f"accuracy ends below {NOTHING_LEARNT:g} (binomial test against {MAJORITY:.0%}, Clopper-Pearson interval). The setting "
        "was chosen because it diverges, so this can only illustrate the claim. What speaks for it without that choice stands "
        "beside: how all unclipped runs ended whose gradient exploded."
    )
    written = (
        f"The setting was chosen before the test, by trying. The cut-off of {NOTHING_LEARNT:g} was set when test accuracies of "
        "seeds 0 to 7 had been seen. What stands beside, and the condition in the verdict, were added after all runs had been "
        "seen."
    )
    arms = ("explode-none",)
    planned = PlannedTest(arm="explode-none", metric="share of runs that diverged or learnt nothing", test=BINOMIAL)

    def test(self, arms: Arms) -> PrimaryTest:
        arm = arms["explode-none"]
        return ShareTest(
            arm, "diverged or learnt nothing", exploded(arm), "in a setting chosen to diverge", beside=_ends_of_explosions(arms)
        )

    def effects(self, arms: Arms) -> list[Effect]:
        arm = arms["explode-none"]
        return [Event.of_runs("diverged or learnt nothing", arm, exploded(arm))]


def _ends_of_explosions(arms: Arms) -> list[str]:
    """A sentence on how the unclipped runs of all arms ended, with and without an explosion of the gradient."""
    unclipped = [arm for arm in arms.values() if arm.config.clipping.mode == "none"]
    runs = [run for arm in unclipped for run in arm.runs]
    if any("health" not in run.metadata for run in runs):
        return []
    bad = np.concatenate([exploded(arm) for arm in unclipped])
    loud = np.array([(run.metadata["health"] or {}).get("first_explosion") is not None for run in runs])
    if not loud.any():
        return []
    cells = sorted({CELLS[run.config.model.cell] for run, is_loud in zip(runs, loud, strict=True) if is_loud})
    return [
        f"Whatever the setting: of {counted(len(runs), 'unclipped run')} of {counted(len(unclipped), 'arm')}, {loud.sum()} had a "
        f"gradient norm above {EXPLOSION:,.0f} times the running median, and {(bad & loud).sum()} of these diverged or learnt "
        f"nothing; of the {(~loud).sum()} without one {(bad & ~loud).sum()} did. All with one are of {' or '.join(cells)}."
    ]
