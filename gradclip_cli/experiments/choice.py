"""How one of several arms is chosen: by the best mean score over the seeds that were trained for that choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence.arms import Arm, held_together, read_arms
from gradclip_cli.evidence.comparison import require_metric, require_one_loss
from gradclip_cli.evidence.metrics import Metric, usual_metric
from gradclip_cli.evidence.tunings import ROUNDING


def read_all(configs: Sequence[Config], seeds: Sequence[int], results: Path) -> dict[str, Arm]:
    """The arms of these configs with these seeds, by name. Raises ReportError where a run can't be read."""
    names = [config.name for config in configs]
    read, warnings = read_arms(results, names)
    arms = {arm.name: arm for arm in held_together([arm.only(seeds) for arm in read])}
    missing = [name for name in names if name not in arms or set(arms[name].seeds) != set(seeds)]
    if missing:
        broken = "\n  ".join(warnings)
        raise ReportError(
            f"{results}: runs of {', '.join(missing)} can't be read. Remove them (gradclip rm), then give the same command "
            f"again.\n  {broken}"
        )
    return arms


def choosing_metric(arms: Sequence[Arm]) -> Metric:
    """What all arms are scored by: the usual metric of the first. Raises ReportError where another one doesn't have it."""
    metric = usual_metric(arms[0].metrics, evaluated=arms[0].evaluated).suited(arms[0])
    require_metric(arms, metric)
    if metric.of_loss:
        require_one_loss(arms)
    size = float(np.median([abs(score(metric, arm)) for arm in arms]))
    return metric._replace(unit=metric.unit.sized(size), title=metric.title.format(split=arms[0].evaluation_split))


def score(metric: Metric, arm: Arm) -> float:
    """An arm's mean score over seeds, as told; NaN where no run finished and chance isn't known."""
    return float(np.mean(metric.scores(arm))) * metric.unit.scale


def best_of(metric: Metric, scores: Sequence[float]) -> int | None:
    """The place of the best score, the first of those that rounding alone tells apart; None where none is a number."""
    sign = 1 if metric.higher_is_better else -1
    best = max((sign * value for value in scores if math.isfinite(value)), default=None)
    if best is None:
        return None
    return next(place for place, value in enumerate(scores) if math.isclose(sign * value, best, rel_tol=ROUNDING))
