"""What `run.json` says of a run's end: how long it took, what its gradients were, what it left."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from gradclip_cli.gradients.health import Diagnosis, Spike
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.tally import Outcome


def ending_facts(outcome: Outcome, directory: RunDirectory, seconds: float) -> dict[str, Any]:
    """What `run.json` says of a run's end, and of the files that it left."""
    divergence = outcome.divergence
    return {
        "status": outcome.status,
        "epochs": outcome.epochs,
        "steps": outcome.steps,
        "diverged": {**asdict(divergence), "told": divergence.message} if divergence else None,
        "overflows": {"steps": outcome.overflow_steps, "first": outcome.first_overflow},
        "largest_applied": outcome.largest_applied,
        "clipped_steps": dict(outcome.clipped_steps),
        "health": _health(outcome.health) if outcome.health else None,
        "finished": now(),
        "seconds": round(seconds, 3),
        "config_sha256": directory.config_sha256(),
        "metrics_sha256": directory.metrics_sha256(),
        "steps_sha256": directory.steps_sha256(),
    }


def _health(health: Diagnosis) -> dict[str, Any]:
    """What `run.json` keeps of a diagnosis: enough to tell who was warned, when and how strongly."""
    warnings = {"first_spike": health.first_spike, "first_explosion": health.first_explosion}
    return {
        "word": health.word,
        "spikes": len(health.spikes),
        **{name: _spike(spike) if spike else None for name, spike in warnings.items()},
    }


def _spike(spike: Spike) -> dict[str, Any]:
    finite = {"norm": math.isfinite(spike.norm), "multiple": math.isfinite(spike.multiple)}
    return {name: value if finite.get(name, True) else None for name, value in asdict(spike).items()}


def now() -> str:
    """The time, as `run.json` says it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
