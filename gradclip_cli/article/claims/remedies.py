"""Other remedies work too: each in the explosive setting, unclipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from gradclip_cli.arrays import BoolArray
from gradclip_cli.article.claim import Answer, Arms, ClaimVerdict, SeparateClaim, on_parts
from gradclip_cli.article.effects import Effect, Event
from gradclip_cli.article.measures import LEARNT, MAJORITY, Share, exploded, learnt, setting
from gradclip_cli.evidence import stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.verdicts import Judgement, judgements
from gradclip_cli.texts import counted, p_relation

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
ESCAPES, LEARNS = "escapes", "learns"
DID = {ESCAPES: "escaped", LEARNS: "learnt"}


class Remedies(SeparateClaim):
    """From the shares of each remedy's runs that escaped the explosion, and that learnt; a Holm family of their own."""

    id = "C6"
    statement = "Other remedies work too: a small rate, regularization, scaled inputs, another loss."
    rule = (
        "The explosive setting with each remedy in turn, unclipped, judged twice: by whether runs escape what C4 describes, and "
        f"by whether they learn as C5 asks of clipping (a test accuracy of at least {LEARNT:g}). Either way a remedy works where "
        f"most runs do, and fails where most don't: the share's Clopper-Pearson interval lies above, or below, {MAJORITY:.0%}, "
        "adjusted by Holm over both questions of all remedies. Supported where all work; in part where some work and some fail; "
        "contradicted where all fail. Runs without a remedy stand beside (exact McNemar tests, not adjusted)."
    )
    written = (
        "When two seeds of each remedy had been seen. Changed after all runs had been: it judged by escaping alone, a lower bar "
        "than C5's, and called a claim supported in part without asking for a remedy that fails. Changed again later: one remedy "
        "that fails contradicted where none was shown to work; now all must. The verdict names the steps that runs had."
    )
    arms = ("explode-none", *REMEDIES, *COUNTERPARTS)

    def answer(self, arms: Arms) -> Answer:
        happened = {(how, name): _happened(how, arms[name]) for how in (ESCAPES, LEARNS) for name in REMEDIES}
        judged = judgements([Share.of(runs).p for runs in happened.values()])
        by_question = dict(zip(happened, judged, strict=True))
        shares = {each: Share.of(happened[each], judgement.level) for each, judgement in by_question.items()}
        parts = {how: _verdict([shares[how, name] for name in REMEDIES]) for how in (ESCAPES, LEARNS)}
        figures = {name: {how: _figures(shares[how, name], by_question[how, name]) for how in parts} for name in REMEDIES}
        training = arms["explode-none"].config.training
        steps = training.epochs * training.steps_per_epoch
        verdict = on_parts({ESCAPES: parts[ESCAPES], f"{LEARNS} within {counted(steps, 'step')}": parts[LEARNS]})
        return Answer(verdict, _measured(arms, shares), {**figures, "parts": parts}, _beside(arms, happened))

    def effects(self, arms: Arms) -> list[Effect]:
        return [
            Event.of_runs(f"{what}: {did}", arms[name], _happened(how, arms[name]))
            for how, did in DID.items()
            for name, what in REMEDIES.items()
        ]


def _happened(how: str, arm: Arm) -> BoolArray:
    """Which runs escaped, or learnt, (seeds,)."""
    return ~exploded(arm) if how == ESCAPES else learnt(arm)


def _verdict(shares: Sequence[Share]) -> ClaimVerdict:
    """From the share of each remedy's runs for which it did what was asked."""
    works, fails = [share.is_most for share in shares], [share.is_few for share in shares]
    if all(works):
        return ClaimVerdict.SUPPORTED
    if all(fails):
        return ClaimVerdict.CONTRADICTED
    return ClaimVerdict.IN_PART if any(works) and any(fails) else ClaimVerdict.NOT_SHOWN


def _figures(share: Share, judgement: Judgement) -> dict[str, float]:
    return {**asdict(share), "p_adjusted": judgement.p_adjusted, "level": judgement.level}


def _measured(arms: Arms, shares: Mapping[tuple[str, str], Share]) -> str:
    config = arms["explode-none"].config
    remedies = "; ".join(
        f"{what}: {shares[ESCAPES, name].text} escaped, {shares[LEARNS, name].text} learnt" for name, what in REMEDIES.items()
    )
    where = f"{setting(config)} at {config.optimizer.label} but for the remedy, no rate tuned for it"
    return f"{where}, intervals at the levels of Holm's steps: {remedies}."


def _beside(arms: Arms, happened: Mapping[tuple[str, str], BoolArray]) -> list[str]:
    """How many runs escaped and learnt without a remedy, and with the opposite of two."""
    base = arms["explode-none"]
    parts = []
    for how, did in DID.items():
        theirs = _happened(how, base)
        with_remedy = "; ".join(
            f"{happened[how, name].sum()} with {what} ({p_relation(stats.mcnemar_p(theirs, happened[how, name]))})"
            for name, what in REMEDIES.items()
        )
        parts.append(f"Of the same {len(theirs)} seeds without a remedy {theirs.sum()} {did}, against {with_remedy}.")
    opposite = " and ".join(f"with {what} {Share.of(~exploded(arms[name])).text}" for name, what in COUNTERPARTS.items())
    return [*parts, f"The other way round, {opposite} escaped."]
