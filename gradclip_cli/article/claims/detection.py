"""Exploding gradients can be spotted while training: the warnings that unclipped runs recorded before they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from gradclip_cli.article.claim import Answer, Arms, ClaimVerdict, SeparateClaim
from gradclip_cli.article.effects import Amount, Effect
from gradclip_cli.article.measures import LEARNT, MAJORITY, Share, exploded, learnt
from gradclip_cli.evidence.arms import Arm, StoredRun
from gradclip_cli.evidence.metrics import POINTS
from gradclip_cli.gradients.health import EXPLOSION, SPIKE

KINDS = ("first_spike", "first_explosion")
"""Of warnings; the claim's rule asks for the first."""
SAME_SHARE = 10
"""Points within which two shares of a seed's runs agree."""


class Detection(SeparateClaim):
    """From all unclipped runs that there are, by how they ended."""

    id = "C8"
    statement = "Exploding gradients can be spotted while training."
    rule = (
        "All unclipped runs of the reproduction. A run is warned of at its first gradient norm above "
        f"{SPIKE:.0f} times the running median. Supported where most runs that diverged or learnt nothing had been warned of at "
        f"an earlier step (95% interval above {MAJORITY:.0%}) and most that ended with a test accuracy of at least {LEARNT:g} "
        "had not; contradicted where most that ended badly had not. The stronger warning, above "
        f"{EXPLOSION:,.0f} times, stands beside it."
    )
    arms = ("none", "explode-none")

    def answer(self, arms: Arms) -> Answer:
        unclipped = [arm for arm in arms.values() if arm.config.clipping.mode == "none"]
        if any("health" not in run.metadata for arm in unclipped for run in arm.runs):
            return Answer(ClaimVerdict.NOT_SHOWN, "Not all unclipped runs recorded whether they had been warned of.")
        ended = _by_end(unclipped)
        if not all(ended.values()):
            return Answer(ClaimVerdict.NOT_SHOWN, "Not enough unclipped runs: some must end badly, others well.")
        shares = {(kind, how): _warned(runs, kind) for how, runs in ended.items() for kind in KINDS}
        leads = {kind: sorted(_leads(ended["badly"], kind)) for kind in KINDS}
        figures = {f"{kind}, ended {how}": asdict(share) for (kind, how), share in shares.items()}
        verdict = _verdict(shares["first_spike", "badly"], shares["first_spike", "well"])
        return Answer(verdict, _measured(shares, leads), {**figures, "leads": leads})

    def effects(self, arms: Arms) -> list[Effect]:
        ended = _by_end([arm for arm in arms.values() if arm.config.clipping.mode == "none"])
        return [_share_by_seed(f"warned, of those that ended {how}", runs) for how, runs in ended.items() if runs]


def _share_by_seed(what: str, runs: Sequence[StoredRun]) -> Amount:
    """The share of a seed's runs that had been warned of: several runs of one seed are no evidence of their own."""
    warned: dict[int, list[bool]] = {}
    for run in runs:
        warned.setdefault(run.seed, []).append(_lead(run, "first_spike") is not None)
    return Amount(
        what, {seed: 100 * float(np.mean(each)) for seed, each in warned.items()}, POINTS, SAME_SHARE, is_difference=False
    )


def _by_end(unclipped: Sequence[Arm]) -> dict[str, list[StoredRun]]:
    return {
        "badly": [run for arm in unclipped for run, bad in zip(arm.runs, exploded(arm), strict=True) if bad],
        "well": [run for arm in unclipped for run, good in zip(arm.runs, learnt(arm), strict=True) if good],
    }


def _warned(runs: Sequence[StoredRun], kind: str) -> Share:
    return Share.of(np.array([_lead(run, kind) is not None for run in runs]))


def _lead(run: StoredRun, kind: str) -> int | None:
    """Steps from a run's first warning of a kind to its end; None if it came with it or never."""
    warning = (run.metadata["health"] or {}).get(kind)
    lead = run.metadata["steps"] - warning["step"] if warning else 0
    return lead if lead > 0 else None


def _leads(runs: Sequence[StoredRun], kind: str) -> list[int]:
    return [lead for run in runs if run.diverged and (lead := _lead(run, kind)) is not None]


def _verdict(bad: Share, well: Share) -> ClaimVerdict:
    if bad.is_most and well.is_few:
        return ClaimVerdict.SUPPORTED
    return ClaimVerdict.CONTRADICTED if bad.is_few else ClaimVerdict.NOT_SHOWN


def _measured(shares: Mapping[tuple[str, str], Share], leads: Mapping[str, Sequence[int]]) -> str:
    return (
        f"{shares['first_spike', 'badly'].text} unclipped runs that ended badly had been warned of "
        f"before{_early(leads['first_spike'])}, and so were {shares['first_spike', 'well'].text} that ended well. "
        f"Above {EXPLOSION:,.0f} times the running median: "
        f"{shares['first_explosion', 'badly'].text} that ended badly{_early(leads['first_explosion'])}, "
        f"{shares['first_explosion', 'well'].text} that ended well."
    )


def _early(leads: Sequence[int]) -> str:
    if not leads:
        return ""
    return f" (diverged ones {leads[0]} to {leads[-1]} steps before, median {np.median(leads):.0f})"
