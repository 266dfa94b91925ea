"""Exploding gradients can be spotted while training: the warnings that unclipped runs recorded before they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from gradclip_cli.article.claim import Answer, Arms, ClaimVerdict, SeparateClaim
from gradclip_cli.article.effects import Amount, Effect
from gradclip_cli.article.measures import CELLS, LEARNT, MAJORITY, NOTHING_LEARNT, Share, article_model, exploded, learnt
from gradclip_cli.evidence.arms import Arm, StoredRun
from gradclip_cli.evidence.metrics import POINTS
from gradclip_cli.evidence.stats import LEVEL
from gradclip_cli.gradients.health import EXPLOSION, SPIKE
from gradclip_cli.texts import counted, percent

KINDS = ("first_spike", "first_explosion")
"""Of warnings; the claim's rule asks for the first."""
BADLY, BETWEEN, WELL = "badly", "in between", "well"
OTHERWISE = "otherwise"
"""In between or well."""
SAME_SHARE = 10
"""Points within which two shares of a seed's runs agree."""
QUESTIONS = 2
"""The rule asks of those that ended badly, and of the others."""


class Detection(SeparateClaim):
    """From all unclipped runs that there are, by how they ended."""

    id = "C8"
    statement = "Exploding gradients can be spotted while training."
    rule = (
        f"All unclipped runs of the reproduction. A run is warned of at its first gradient norm above {SPIKE:.0f} times the "
        "running median, in time where that is an earlier step than its last. Runs of one seed have much in common, so seeds are "
        "counted, not runs: those of which most runs were warned of in time, with a Clopper-Pearson interval at 95% for both "
        f"questions together. Supported where it lies above {MAJORITY:.0%} for runs that diverged or learnt nothing and below "
        f"{MAJORITY:.0%} for all others; contradicted where it lies on the wrong side for either: no warning, or false alarms. "
        f"The stronger warning, above {EXPLOSION:,.0f} times, stands beside it."
    )
    written = (
        "When gradient norms of twelve seeds of six arms had been seen; the factor of a thousand was chosen on these. Changed "
        "after all runs had been seen: false alarms alone contradict, since an alarm that always sounds spots nothing; runs that "
        f"ended between nothing learnt and {LEARNT:g} are counted too; seeds are counted, not runs."
    )
    arms = ("none", "explode-none")

    def answer(self, arms: Arms) -> Answer:
        unclipped = [arm for arm in arms.values() if arm.config.clipping.mode == "none"]
        if any("health" not in run.metadata for arm in unclipped for run in arm.runs):
            return Answer(ClaimVerdict.NOT_SHOWN, "Not all unclipped runs recorded whether they had been warned of.")
        ended = _by_end(unclipped)
        if not ended[BADLY] or not ended[OTHERWISE]:
            return Answer(ClaimVerdict.NOT_SHOWN, "Not enough unclipped runs: some must end badly, others not.")
        warned = {(kind, how): Warned.of(runs, kind) for how, runs in ended.items() if runs for kind in KINDS}
        verdict = _verdict(warned["first_spike", BADLY], warned["first_spike", OTHERWISE])
        figures = {f"{kind}, ended {how}": asdict(share) for (kind, how), share in warned.items()}
        beside = [*_by_cell(ended), _stronger(warned)]
        return Answer(verdict.under("for this detector"), _measured(unclipped, warned), figures, beside)

    def effects(self, arms: Arms) -> list[Effect]:
        ended = _by_end([arm for arm in arms.values() if arm.config.clipping.mode == "none"])
        return [_share_by_seed(f"warned, of those that ended {how}", ended[how]) for how in (BADLY, OTHERWISE) if ended[how]]


@dataclass(frozen=True)
class Warned:
    """How many of some runs had been warned of in time, and on how many seeds most of them."""

    count: int
    runs: int
    seeds: Share
    leads: Sequence[int]
    """Steps from the warning to the end of those that diverged, in ascending order."""

    @classmethod
    def of(cls, runs: Sequence[StoredRun], kind: str) -> Warned:
        """Of some runs by a kind of warning."""
        leads = [_lead(run, kind) for run in runs]
        happened, seeds = np.array([lead is not None for lead in leads]), np.array([run.seed for run in runs])
        mostly = np.array([happened[seeds == seed].mean() > MAJORITY for seed in np.unique(seeds)])
        of_diverged = sorted(lead for run, lead in zip(runs, leads, strict=True) if run.diverged and lead is not None)
        return cls(int(happened.sum()), len(runs), Share.of(mostly, LEVEL / QUESTIONS), of_diverged)

    @property
    def of_all(self) -> str:
        """Such as `9 of 10`."""
        return f"{self.count} of {self.runs}"

    @property
    def text(self) -> str:
        """How many, and over seeds, such as `9 of 10 (most of them on 5 of 6 seeds, 97.5% interval 31% to >99%)`."""
        interval = f"{percent(self.seeds.low, 0)} to {percent(self.seeds.high, 0)}"
        return f"{self.of_all} (most of them on {self.seeds.count} of {self.seeds.runs} seeds, 97.5% interval {interval})"


def _share_by_seed(what: str, runs: Sequence[StoredRun]) -> Amount:
    """The share of a seed's runs that had been warned of: several runs of one seed are no evidence of their own."""
    warned: dict[int, list[bool]] = {}
    for run in runs:
        warned.setdefault(run.seed, []).append(_lead(run, "first_spike") is not None)
    return Amount(
        what, {seed: 100 * float(np.mean(each)) for seed, each in warned.items()}, POINTS, SAME_SHARE, is_difference=False
    )


def _by_end(unclipped: Sequence[Arm]) -> dict[str, list[StoredRun]]:
    ended: dict[str, list[StoredRun]] = {BADLY: [], BETWEEN: [], WELL: []}
    for arm in unclipped:
        for run, bad, good in zip(arm.runs, exploded(arm), learnt(arm), strict=True):
            ended[BADLY if bad else WELL if good else BETWEEN].append(run)
    return {**ended, OTHERWISE: [*ended[BETWEEN], *ended[WELL]]}


def _lead(run: StoredRun, kind: str) -> int | None:
    """Steps from a run's first warning of a kind to its end; None if it came with it or never."""
    warning = (run.metadata["health"] or {}).get(kind)
    lead = run.metadata["steps"] - warning["step"] if warning else 0
    return lead if lead > 0 else None


def _verdict(bad: Warned, others: Warned) -> ClaimVerdict:
    if bad.seeds.is_few or others.seeds.is_most:
        return ClaimVerdict.CONTRADICTED
    return ClaimVerdict.SUPPORTED if bad.seeds.is_most and others.seeds.is_few else ClaimVerdict.NOT_SHOWN


def _measured(unclipped: Sequence[Arm], warned: Mapping[tuple[str, str], Warned]) -> str:
    bad, others = warned["first_spike", BADLY], warned["first_spike", OTHERWISE]
    by_end = " and ".join(
        f"{warned['first_spike', how].of_all} that ended {how}{told}"
        for how, told in ((WELL, f" (test accuracy of at least {LEARNT:g})"), (BETWEEN, f" ({NOTHING_LEARNT:g} to {LEARNT:g})"))
        if ("first_spike", how) in warned
    )
    return (
        f"{counted(bad.runs + others.runs, 'unclipped run')} of {counted(len(unclipped), 'arm')}. Warned of before they ended: "
        f"of those that diverged or learnt nothing {bad.text}{_early(bad.leads)}; of all others {others.text}: {by_end}."
    )


def _early(leads: Sequence[int]) -> str:
    if not leads:
        return ""
    return f", diverged ones {leads[0]:,} to {leads[-1]:,} steps before, median {np.median(leads):,.0f}"


def _by_cell(ended: Mapping[str, Sequence[StoredRun]]) -> list[str]:
    """Sentences that hold the architectures apart: warnings of each, and whether all bad ends are of one."""
    cells = dict.fromkeys(article_model(run.config).cell for runs in ended.values() for run in runs)
    told = "; ".join(f"{CELLS[cell]}: {_of_cell(cell, ended)}" for cell in cells)
    bad = {article_model(run.config).cell for run in ended[BADLY]}
    told = f"By architecture, warned of before they ended: {told}."
    if len(bad) > 1 or len(cells) == 1:
        return [told]
    only = f"All that ended badly are of {CELLS[bad.pop()]}"
    return [f"{told} {only}, so over all runs what goes with a bad end may go with the architecture."]


def _of_cell(cell: str, ended: Mapping[str, Sequence[StoredRun]]) -> str:
    parts = []
    for how in (BADLY, WELL, BETWEEN):
        runs = [run for run in ended[how] if article_model(run.config).cell == cell]
        parts.append(f"{Warned.of(runs, 'first_spike').of_all} that ended {how}" if runs else f"none ended {how}")
    return ", ".join(parts)


def _stronger(warned: Mapping[tuple[str, str], Warned]) -> str:
    bad, others = warned["first_explosion", BADLY], warned["first_explosion", OTHERWISE]
    return (
        f"Above {EXPLOSION:,.0f} times the running median: of those that diverged or learnt nothing "
        f"{bad.of_all}{_early(bad.leads)}; of all others {others.of_all}."
    )
