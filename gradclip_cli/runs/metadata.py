"""run.json: how a run stands and what is known of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

RUN_SCHEMA = 1


class Status(StrEnum):
    """How a run stands, in the words that are stored and shown."""

    RUNNING = "running"
    COMPLETE = "complete"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    BUSY = "busy"
    """Another process is training it. This and the following are never stored."""
    NONE = "none"
    """There is no run."""
    UNREADABLE = "unreadable"
    """Its `run.json` is broken or gone."""


FINISHED = frozenset({Status.COMPLETE, Status.DIVERGED})
"""Statuses of runs that need no more training."""


METRICS_OF_OLDER_RUNS: Mapping[str, bool] = {"accuracy": True}
"""What runs have that were trained before there were others."""


def metrics_of(metadata: Mapping[str, Any]) -> dict[str, bool]:
    """A run's metrics by name, in the order of its columns, each with whether higher is better, by what `run.json` says."""
    stored = metadata.get("metrics")
    if stored is None:
        return dict(METRICS_OF_OLDER_RUNS)
    return {name: metric["higher_is_better"] for name, metric in stored.items()}


def counts_correct(metadata: Mapping[str, Any]) -> bool:
    """Whether a run's steps say how many samples were classified correctly, by what `run.json` says."""
    return metadata.get("counts_correct") is not False


def is_evaluated(metadata: Mapping[str, Any]) -> bool:
    """Whether a run's epochs are evaluated on other samples than those of its steps, by what `run.json` says."""
    return metadata.get("evaluated") is not False


def recorded_every(metadata: Mapping[str, Any]) -> int:
    """Of how many steps one stands in `steps.csv`, by what `run.json` says."""
    return int(metadata.get("every") or 1)


def metadata_json(metadata: Mapping[str, Any]) -> str:
    """What a `run.json` holds that says this."""
    return json.dumps({"schema": RUN_SCHEMA, **metadata}, indent=2, allow_nan=False) + "\n"
