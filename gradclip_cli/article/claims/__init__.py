"""The article's claims, one a file: each is found by being here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gradclip_cli import discovery
from gradclip_cli.article.claim import Claim, PrimaryClaim, SeparateClaim


def _found() -> list[Claim]:
    """The claims of this folder's files, by their numbers."""
    discovery.modules(__name__)
    kinds = (*PrimaryClaim.__subclasses__(), *SeparateClaim.__subclasses__())
    return sorted((kind() for kind in kinds), key=lambda claim: int(claim.id.removeprefix("C")))


CLAIMS: Mapping[str, Claim] = MappingProxyType({claim.id: claim for claim in _found()})
"""All claims, by their ids."""
