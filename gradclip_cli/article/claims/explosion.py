"""Exploding gradients end in NaN or in a model that learns nothing: the share of unclipped runs that did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gradclip_cli.arrays import BoolArray
from gradclip_cli.article.claim import Arms, PrimaryClaim, PrimaryTest
from gradclip_cli.article.claims.remedies import COUNTERPARTS
from gradclip_cli.article.effects import Effect, Event
from gradclip_cli.article.measures import MAJORITY, NOTHING_LEARNT, ShareTest, exploded
from gradclip_cli.evidence.arms import Arm, StoredRun
from gradclip_cli.evidence.plans import BINOMIAL, PlannedTest
from gradclip_cli.gradients.health import EXPLOSION
from gradclip_cli.texts import counted

SETTING = "explode-"
"""How the names of the explosive setting and its variants begin."""
CLOSE = 3
"""Steps before a run's end within which an explosion is hardly another event."""


class Explosion(PrimaryClaim):
    """From the explosive setting, unclipped; all unclipped runs whose gradients exploded stand beside it."""

    id = "C4"
    statement = "Exploding gradients end in NaN or in a model that learns nothing."
    rule = (
        "Primary test: in most unclipped runs of the explosive setting a loss or weight becomes NaN or infinite, or test "
        f"accuracy ends below {NOTHING_LEARNT:g} (binomial test against {MAJORITY:.0%}, Clopper-Pearson interval). The setting "
        "was chosen because it diverges, so this can only illustrate the claim. How all unclipped runs ended whose gradient "
        "exploded stands beside."
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
    """How the unclipped runs of all arms ended, with and without an explosion of the gradient, by arm."""
    unclipped = [arm for arm in arms.values() if arm.config.clipping.mode == "none"]
    if any("health" not in run.metadata for arm in unclipped for run in arm.runs):
        return []
    loud = {arm.name: np.array([_steps_left(run) is not None for run in arm.runs]) for arm in unclipped}
    bad = {arm.name: exploded(arm) for arm in unclipped}
    if not any(each.any() for each in loud.values()):
        return []
    return [" ".join([_by_arm(loud, bad), *_close_to_the_end(unclipped), _without_one(loud, bad)])]


def _steps_left(run: StoredRun) -> int | None:
    """Steps from a run's explosion to its end; None without one."""
    explosion = (run.metadata["health"] or {}).get("first_explosion")
    return run.metadata["steps"] - explosion["step"] if explosion else None


def _by_arm(loud: Mapping[str, BoolArray], bad: Mapping[str, BoolArray]) -> str:
    total, runs = sum(each.sum() for each in loud.values()), sum(map(len, loud.values()))
    both = sum((loud[arm] & bad[arm]).sum() for arm in loud)
    variants = all(arm.startswith(SETTING) for arm, each in loud.items() if each.any())
    which = "all of this setting and its variants" if variants else "not of this setting's variants alone"
    by_arm = ", ".join(f"{arm} {each.sum()} of {len(each)}" for arm, each in loud.items() if each.any())
    built = [arm for arm in COUNTERPARTS if loud[arm].any()]
    on_purpose = f"; {' and '.join(built)} {'was' if len(built) == 1 else 'were'} built to blow up" if built else ""
    return (
        f"Of {counted(runs, 'unclipped run')} of {counted(len(loud), 'arm')}, {total} had a gradient norm above {EXPLOSION:,.0f} "
        f"times the running median, {which} ({by_arm}{on_purpose}); {both} of them diverged or learnt nothing."
    )


def _close_to_the_end(unclipped: Sequence[Arm]) -> list[str]:
    """A sentence where a run that exploded mostly has hardly a step left."""
    left = [steps for arm in unclipped for run in arm.runs if (steps := _steps_left(run)) is not None]
    close = sum(steps <= CLOSE for steps in left)
    if close <= MAJORITY * len(left):
        return []
    return [f"In {close} of {len(left)} this came within {CLOSE} steps of the end: explosion and end are nearly one event."]


def _without_one(loud: Mapping[str, BoolArray], bad: Mapping[str, BoolArray]) -> str:
    quiet = sum((~each).sum() for each in loud.values())
    by_arm = {arm: (bad[arm] & ~each).sum() for arm, each in loud.items()}
    where = ", ".join(f"{arm} {count}" for arm, count in by_arm.items() if count)
    return f"Of the {quiet} without one {sum(by_arm.values())} ended so{f' ({where})' if where else ''}."
