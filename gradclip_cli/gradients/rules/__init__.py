"""The clipping rules, one a file: each is found by being here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gradclip_cli import discovery
from gradclip_cli.gradients.clipping_rule import ClippingRule


def _found() -> list[type[ClippingRule]]:
    """The rules of this folder's files, in the order of tables."""
    discovery.modules(__name__)
    return sorted(ClippingRule.__subclasses__(), key=lambda rule: rule.place)


RULES: Mapping[str, type[ClippingRule]] = MappingProxyType({rule.model_fields["mode"].default: rule for rule in _found()})
"""All rules, by their modes."""
