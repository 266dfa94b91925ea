"""The frameworks that can train: a file each, which is found here by being there and imports no framework."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gradclip_cli import discovery
from gradclip_cli.config.framework import Framework

DEFAULT_FRAMEWORK = "tensorflow"


FRAMEWORKS: Mapping[str, Framework] = MappingProxyType(
    {name: module.FRAMEWORK for name, module in discovery.modules(__name__, first=DEFAULT_FRAMEWORK).items()}
)
"""All of them by name, the default first."""


def owners(setting: str) -> str:
    """The frameworks that a key of `engine` belongs to, in words."""
    return " and ".join(name for name, framework in FRAMEWORKS.items() if setting in framework.settings)
