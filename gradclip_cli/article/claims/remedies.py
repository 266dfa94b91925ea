"""Other remedies work too: each in the explosive setting, unclipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from gradclip_cli.article.claim import Answer, Arms, ClaimVerdict, SeparateClaim
from gradclip_cli.article.effects import Effect, Event
from gradclip_cli.article.measures import MAJORITY, Share, exploded, learnt
from gradclip_cli.evidence import stats

REMEDIES = {
    "explode-small-rate": "a tenth of the rate",
    "explode-l2": "L2 penalty 0.001",
    "explode-strong-l2": "L2 penalty 0.01",
    "explode-scaled-inputs": "inputs a tenth as large",
    "explode-mse": "squared error on one-hot targets",
}
COUNTERPARTS = {
    "explode-unscaled-inputs": "inputs of 0 to 255",
    "explode-large-targets": "squared error on targets of ten",
}
"""The opposite of two remedies, as description: what scaling the inputs and the targets spares one."""


class Remedies(SeparateClaim):
    """From the share of each remedy's runs that escaped the explosion; a Holm family of the remedies' own."""

    id = "C6"
    statement = "Other remedies work too: a small rate, regularization, scaled inputs, another loss."
    rule = (
        "The explosive setting with each remedy in turn, unclipped. A remedy works where most runs escape what C4 describes, "
        f"fails where most don't: the share's 95% Clopper-Pearson interval lies above, or below, {MAJORITY:.0%}, and its p, "
        "Holm-adjusted over the remedies, below 5%. Supported where all work, contradicted where none does and one fails, "
        "supported in part where some work and some don't."
    )
    arms = (*REMEDIES, *COUNTERPARTS)

    def answer(self, arms: Arms) -> Answer:
        shares = {name: Share.of(~exploded(arms[name])) for name in self.arms}
        learners = {name: int(learnt(arms[name]).sum()) for name in REMEDIES}
        adjusted = dict(zip(REMEDIES, stats.holm([shares[name].p for name in REMEDIES]), strict=True))
        escaped = [f"{what}: {shares[name].text} escaped, {learners[name]} learnt" for name, what in REMEDIES.items()]
        beside = [f"with {what} {shares[name].text} did" for name, what in COUNTERPARTS.items()]
        figures = {name: {**asdict(shares[name]), "p_adjusted": p, "learnt": learners[name]} for name, p in adjusted.items()}
        return Answer(
            _verdict([(shares[name], p) for name, p in adjusted.items()]),
            f"{'; '.join(escaped)}. The other way round, {' and '.join(beside)}.",
            figures,
        )

    def effects(self, arms: Arms) -> list[Effect]:
        return [Event.of_runs(f"{what}: escaped", arms[name], ~exploded(arms[name])) for name, what in REMEDIES.items()]


def _verdict(escaped: Sequence[tuple[Share, float]]) -> ClaimVerdict:
    """From each remedy's share of runs that escaped, and its adjusted p."""
    works = [share.is_most and p < stats.LEVEL for share, p in escaped]
    fails = [share.is_few and p < stats.LEVEL for share, p in escaped]
    if all(works):
        return ClaimVerdict.SUPPORTED
    if any(works):
        return ClaimVerdict.IN_PART
    return ClaimVerdict.CONTRADICTED if any(fails) else ClaimVerdict.NOT_SHOWN
