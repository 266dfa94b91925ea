"""Answers to all claims: the primary tests are one Holm family at 5%, each other claim is answered by itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gradclip_cli.article.best_rates import BestRates, with_best_rates
from gradclip_cli.article.claim import Answer, Arms, PrimaryClaim, SeparateClaim
from gradclip_cli.article.claims import CLAIMS
from gradclip_cli.evidence.verdicts import judgements

PRIMARY: Mapping[str, PrimaryClaim] = MappingProxyType(
    {name: claim for name, claim in CLAIMS.items() if isinstance(claim, PrimaryClaim)}
)
"""The claims whose tests are the family, by their ids."""


def answer_all(arms: Arms, best: BestRates | None = None) -> dict[str, Answer]:
    """The answers by the claims' ids, in their order; what is left of differences at best rates stands beside."""
    separate = {name: claim.answer(arms) for name, claim in CLAIMS.items() if isinstance(claim, SeparateClaim)}
    answers = {**_decided(arms, best), **separate}
    return {name: answers[name] for name in CLAIMS}


def _decided(arms: Arms, best: BestRates | None) -> dict[str, Answer]:
    tests = {name: with_best_rates(claim.test(arms), best) for name, claim in PRIMARY.items()}
    judged = judgements([test.p for test in tests.values()])
    return {name: test.answer(judgement) for (name, test), judgement in zip(tests.items(), judged, strict=True)}
