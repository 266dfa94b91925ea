"""A user's own model, built by his factory in either framework: seeded, and told apart from what is no model."""

from __future__ import annotations

import inspect
import random
from pathlib import Path
from typing import Any

import numpy as np

from gradclip_cli.config.own import OwnConfig
from gradclip_cli.problems.own.calls import call, tell_at_once
from gradclip_cli.problems.own.code import load_function
from gradclip_cli.problems.own.references import Reference


def built(config: OwnConfig, seed: int, *, again: bool = False) -> Any:
    """What the model's factory returns for a seed, with Python's and NumPy's generators seeded; a framework's its caller seeds.

    A factory that takes an argument called `seed` gets it, unless the config says another. What it prints is not heard where it
    builds `again`. Raises ConfigError and OwnCodeError.
    """
    assert config.model.factory
    random.seed(seed)
    np.random.seed(seed)
    reference = Reference.parse(config.model.factory)
    factory = load_function(reference, Path(config.folder), tell_at_once)
    seeded = {"seed": seed} if "seed" in _parameters(factory) and "seed" not in config.model.args else {}
    return call(factory, {**config.model.args, **seeded}, str(reference), quiet=again)


def _parameters(factory: Any) -> set[str]:
    try:
        return set(inspect.signature(factory).parameters)
    except (TypeError, ValueError):
        return set()


def own_function(reference: str, config: OwnConfig) -> Any:
    """A function of the user's that is no factory: a loss, a metric. Raises ConfigError and OwnCodeError."""
    return load_function(Reference.parse(reference), Path(config.folder), tell_at_once)
