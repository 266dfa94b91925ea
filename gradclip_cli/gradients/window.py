"""The norms of the latest steps, kept in any array namespace: their percentiles, mean and deviation, without a sort."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradclip_cli.arrays import Array


def empty(size: int) -> dict[str, Array]:
    """An empty memory of the last `size` norms: in order of arrival, sorted (infinite where empty), and the count of all."""
    import numpy as np  # only here: a config is read without it

    nothing = np.full(size, np.inf, np.float32)
    return {"recent": nothing, "sorted": nothing.copy(), "count": np.zeros((), np.int32)}


def remembered(memory: Mapping[str, Any], norm: Any, xp: Any) -> dict[str, Any]:
    """Put a norm in the oldest one's place, in as many operations as the window is long: no sort. Not if it isn't finite."""
    recent, ordered, count = memory["recent"], memory["sorted"], memory["count"]
    places = xp.arange(recent.shape[0])
    slot = count % recent.shape[0]
    # Close the gap that the oldest leaves, then open one for the new norm.
    # (XLA would compile a plain recent[slot] anew for each slot.)
    oldest = xp.amin(xp.where(places == slot, recent, xp.full_like(recent, math.inf)))
    gap = xp.count_nonzero(ordered < oldest)
    following = xp.concatenate([ordered[1:], xp.full_like(ordered[:1], math.inf)])
    closed = xp.where(places < gap, ordered, following)
    place = xp.count_nonzero(closed < norm)
    preceding = xp.concatenate([closed[:1], closed[:-1]])
    opened = xp.where(places < place, closed, xp.where(places == place, norm, preceding))
    keep = xp.isfinite(norm)
    return {
        "recent": xp.where(xp.logical_and(keep, places == slot), norm, recent),
        "sorted": xp.where(keep, opened, ordered),
        "count": xp.where(keep, count + 1, count),
    }


def percentile(memory: Mapping[str, Any], percent: float, xp: Any) -> Any:
    """The percentile of the norms in a memory, interpolated as `numpy.percentile` does; infinite where it is empty."""
    ordered = memory["sorted"]
    last = xp.clip(memory["count"] - 1, 0, ordered.shape[0] - 1)
    position = xp.multiply(last, percent / 100)
    share = xp.clip(1 - xp.abs(xp.subtract(xp.arange(ordered.shape[0]), position)), 0, 1)
    return xp.sum(share * xp.where(share > 0, ordered, xp.zeros_like(ordered)))


def mean_and_deviation(memory: Mapping[str, Any], xp: Any) -> tuple[Any, Any]:
    """Mean of the norms in a memory and their standard deviation over n - 1; 0 where there are too few."""
    ordered = memory["sorted"]
    count = xp.clip(memory["count"], 0, ordered.shape[0])
    seen = xp.arange(ordered.shape[0]) < count
    norms = xp.where(seen, ordered, xp.zeros_like(ordered))
    # Taken of units, as norms are: no square over- or underflows.
    largest = xp.amax(norms)
    scale = xp.where(largest > 0, largest, xp.ones_like(largest))
    units = norms / scale
    mean = xp.sum(units) / xp.multiply(xp.clip(count, 1, ordered.shape[0]), 1.0)
    squares = xp.where(seen, xp.square(units - mean), xp.zeros_like(units))
    variance = xp.sum(squares) / xp.multiply(xp.clip(count - 1, 1, ordered.shape[0]), 1.0)
    return scale * mean, scale * xp.sqrt(variance)
