"""The published datasets that can be trained on: a file each, which is found here by being there and loads nothing."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from gradclip_cli.config.dataset import PublishedDataset

DEFAULT_DATASET = "fashion_mnist"


def _found() -> dict[str, PublishedDataset]:
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    names.sort(key=lambda name: (name != DEFAULT_DATASET, name))
    return {name: importlib.import_module(f"{__name__}.{name}").DATASET for name in names}


DATASETS: Mapping[str, PublishedDataset] = MappingProxyType(_found())
"""All of them by name, the default first."""
