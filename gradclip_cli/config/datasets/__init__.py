"""The published datasets that can be trained on: a file each, which is found here by being there and loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gradclip_cli import discovery
from gradclip_cli.config.dataset import PublishedDataset

DEFAULT_DATASET = "fashion_mnist"


DATASETS: Mapping[str, PublishedDataset] = MappingProxyType(
    {name: module.DATASET for name, module in discovery.modules(__name__, first=DEFAULT_DATASET).items()}
)
"""All of them by name, the default first."""
