"""What is found by being there: the modules of a folder, for a rule, a framework, a dataset or a claim that is one file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType


def modules(package: str, *, first: str = "") -> Mapping[str, ModuleType]:
    """The modules in a package's folder, imported, by their names: the one called `first`, then the alphabet's order."""
    names = sorted(
        (module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)),
        key=lambda name: (name != first, name),
    )
    return {name: importlib.import_module(f"{package}.{name}") for name in names}
