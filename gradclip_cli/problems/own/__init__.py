"""Problems of a user's own: his functions found, imported and called; his model in each framework."""

from __future__ import annotations

import importlib

from gradclip_cli.config.own import OwnConfig
from gradclip_cli.problems.contract import Dataset
from gradclip_cli.problems.own.brought import Brought


def brought(config: OwnConfig, dataset: Dataset) -> Brought:
    """What the model brings along, which is built for that: its framework must be set up before.

    Raises ConfigError and OwnCodeError.
    """
    found: Brought = importlib.import_module(f"{__name__}.{config.engine.framework}").brought(config, dataset)
    return found
