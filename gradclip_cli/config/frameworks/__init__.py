"""The frameworks that can train: a file each, which is found here by being there and imports no framework."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from gradclip_cli.config.framework import Framework

DEFAULT_FRAMEWORK = "tensorflow"


def _found() -> dict[str, Framework]:
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    names.sort(key=lambda name: (name != DEFAULT_FRAMEWORK, name))
    return {name: importlib.import_module(f"{__name__}.{name}").FRAMEWORK for name in names}


FRAMEWORKS: Mapping[str, Framework] = MappingProxyType(_found())
"""All of them by name, the default first."""


def owners(setting: str) -> str:
    """The frameworks that a key of `engine` belongs to, in words."""
    return " and ".join(name for name, framework in FRAMEWORKS.items() if setting in framework.settings)
