"""Answers to all claims: the primary tests are one Holm family at 5%, each other claim is answered by itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gradclip_cli.article.claim import Answer, Arms, PrimaryClaim, SeparateClaim
from gradclip_cli.article.claims import CLAIMS
from gradclip_cli.evidence import stats

PRIMARY: Mapping[str, PrimaryClaim] = MappingProxyType(
    {name: claim for name, claim in CLAIMS.items() if isinstance(claim, PrimaryClaim)}
)
"""The claims whose tests are the family, by their ids."""


def answer_all(arms: Arms) -> dict[str, Answer]:
    """The answers by the claims' ids, in their order."""
    separate = {name: claim.answer(arms) for name, claim in CLAIMS.items() if isinstance(claim, SeparateClaim)}
    answers = {**_decided(arms), **separate}
    return {name: answers[name] for name in CLAIMS}


def _decided(arms: Arms) -> dict[str, Answer]:
    tests = {name: claim.test(arms) for name, claim in PRIMARY.items()}
    adjusted = stats.holm([test.p for test in tests.values()])
    return {name: test.decided(p) for (name, test), p in zip(tests.items(), adjusted, strict=True)}
