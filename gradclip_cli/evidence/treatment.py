"""What a treatment did: on what share of steps an arm clipped otherwise than its baseline. What never acts can't be tested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradclip_cli.config.schema import Config
from gradclip_cli.evidence.arms import Arm, StoredRun
from gradclip_cli.runs.metadata import recorded_every

HARDLY = 0.001
"""Share of steps below which a treatment hardly acted."""
BOUNDS = {"threshold", "layers"}
"""Keys of a rule that say how much it bounds, by variable, and nothing else."""


def acted(base: Arm, arm: Arm) -> float | None:
    """The share of their steps on which two arms' clipping did something else, at least.

    None where they are clipped alike, or where stored runs don't tell: on steps that were not recorded it may have acted.

    Against an unclipped arm these are the clipped steps. Between two clipped arms they are the steps on which one of them clipped
    a variable that they treat differently: of these variables the one with the most counts.
    """
    if base.config.clipping == arm.config.clipping:
        return None
    share = _share_of_recorded(base, arm)
    unseen = any(recorded_every(run.metadata) > 1 for run in (*base.runs, *arm.runs))
    return None if share == 0 and unseen else share


def _share_of_recorded(base: Arm, arm: Arm) -> float | None:
    clipped = [each for each in (base, arm) if each.config.clipping.mode != "none"]
    if not any(map(_ever_clipped, clipped)):
        return 0.0
    if len(clipped) == 1:
        return _clipped_share(clipped[0].runs)
    return _clipped_share_of_variables(base, arm)


def _ever_clipped(arm: Arm) -> bool:
    """A run that ended in its first epoch has no record, and counts as if it were clipped."""
    return any(not len(run.metrics) or bool((run.metrics["clipped_fraction"] > 0).any()) for run in arm.runs)


def _clipped_share(runs: Sequence[StoredRun]) -> float | None:
    """Over all whole epochs of these runs; None where there is none."""
    shares = np.concatenate([run.metrics["clipped_fraction"] for run in runs])
    return float(shares.mean()) if len(shares) else None


def _clipped_share_of_variables(base: Arm, arm: Arm) -> float | None:
    runs = (*base.runs, *arm.runs)
    if any(run.metadata.get("clipped_steps") is None for run in runs):
        return None  # they were trained before that was kept
    differing = _treated_differently(base.config, arm.config, list(arm.runs[0].metadata["clipped_steps"]))
    shares = [max(share_of(variable, each.runs) for variable in differing) for each in (base, arm)] if differing else [0.0]
    return max(shares)


def share_of(variable: str, runs: Sequence[StoredRun]) -> float:
    """On what share of the recorded steps of all these runs a variable was clipped."""
    steps = sum(run.metadata["steps"] // recorded_every(run.metadata) for run in runs)
    return sum(run.metadata["clipped_steps"].get(variable, 0) for run in runs) / steps if steps else 0.0


def _treated_differently(one: Config, other: Config, variables: Sequence[str]) -> list[str]:
    """Variables whose gradients the two rules don't treat alike."""
    if one.clipping.model_dump(exclude=BOUNDS) != other.clipping.model_dump(exclude=BOUNDS):
        return list(variables)
    bounds = zip(variables, one.thresholds(variables), other.thresholds(variables), strict=True)
    return [variable for variable, first, second in bounds if first != second]
