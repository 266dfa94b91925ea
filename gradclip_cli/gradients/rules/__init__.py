"""The clipping rules, one a file: each is found by being here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gradclip_cli import discovery
from gradclip_cli.gradients.clipping_rule import ClippingRule


def _found() -> list[type[ClippingRule]]:
    """The rules of this folder's files, in the order of tables."""
    there = [value for module in discovery.modules(__name__).values() for value in vars(module).values()]
    rules = {value for value in there if isinstance(value, type) and issubclass(value, ClippingRule)}
    bases = {base for rule in rules for base in rule.__mro__[1:]}
    return sorted(rules - bases, key=lambda rule: rule.place)


RULES: Mapping[str, type[ClippingRule]] = MappingProxyType({rule.model_fields["mode"].default: rule for rule in _found()})
"""All rules, by their modes."""
