"""How far axes reach: values that lie far from all others must not flatten these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from gradclip_cli.arrays import FloatArray
from gradclip_cli.plots.style import known, positive, set_log_limits

NEAR = 1e3
"""A threshold farther than this factor from the curves would flatten them: it is named at the edge instead."""
DEEP = 1e6
"""A variable whose values are all smaller than the largest variable's typical one by this factor would flatten the others."""
DEEPEST = 1e12
"""How far beneath the typical value an axis reaches at most where it shows the middle of the values."""
MIDDLE = 0.99
"""Share of the values that such an axis shows at least, and all within `DEEP` of the typical one."""

FENCE = 3.0
"""So many interquartile ranges beyond its quartiles a sample's bulk ends: Tukey's outer fence (Exploratory Data Analysis)."""
FEW_OUTSIDE = 0.1
"""Of a sample at most so many lie beyond its bulk, or one: more are no outliers."""
FEWEST = 6
"""Of fewer values none can be told to lie far from the others."""
WORTH = 0.6
"""An axis of the bulk alone takes at most this share of one that holds all; else all are shown."""


def below(curves: Mapping[str, FloatArray]) -> set[str]:
    """Names of the curves that lie far beneath the others throughout, as the bias of attention's keys does by its mathematics."""
    found = {name: there for name, values in curves.items() if len(there := known(positive(values)))}
    typical = max((float(np.median(there)) for there in found.values()), default=0.0)
    return {name for name, there in found.items() if there.max() < typical / DEEP}


def set_range(
    axes: Axes, centre: FloatArray, others: Sequence[FloatArray], thresholds: Mapping[str, float], *, middle: bool = False
) -> None:
    """Make the y axis logarithmic, from least to largest and at least a power of ten either side of the median.

    So a healthy run looks flat, whatever its noise, and a spike or a growth stands out. With `middle` what is far beneath the
    median is shown only as long as it isn't among the few least values.
    """
    centre, values = (known(positive(each)) for each in (centre, np.concatenate([centre, *others])))
    typical = float(np.median(centre if len(centre) else values)) if len(values) else 1.0
    least = _least(values, typical) if middle and len(values) else min([typical, *values])
    low, high = min(typical / 10, least), max([typical * 10, *values])
    near = [threshold for threshold in thresholds.values() if low / NEAR <= threshold <= high * NEAR]
    set_log_limits(axes, min([low, *near]), max([high, *near]))


def _least(values: FloatArray, typical: float) -> float:
    """The least value that has to be seen."""
    least, few = float(values.min()), float(np.quantile(values, (1 - MIDDLE) / 2))
    return least if least >= typical / DEEP else min(typical / DEEP, max(few, typical / DEEPEST))


def bulk_limits(samples: Sequence[FloatArray], seen: FloatArray) -> tuple[float, float]:
    """From where to where an axis must reach to show each sample's bulk, what else must be `seen`, and zero.

    This is all of them unless a few values lie so far off that they would flatten the others.
    """
    whole = np.concatenate([*samples, known(seen), [0.0]])
    bulk = np.concatenate([*map(_bulk, samples), known(seen), [0.0]])
    wide, narrow = np.ptp(whole), np.ptp(bulk)
    kept = bulk if 0 < narrow <= WORTH * wide else whole
    return float(kept.min()), float(kept.max())


def _bulk(sample: FloatArray) -> FloatArray:
    """The values within the fences, or all."""
    if len(sample) < FEWEST:
        return sample
    first, third = np.quantile(sample, [0.25, 0.75])
    reach = FENCE * (third - first)
    inside = sample[(sample >= first - reach) & (sample <= third + reach)]
    few = max(1, int(FEW_OUTSIDE * len(sample)))
    return inside if reach > 0 and len(sample) - len(inside) <= few else sample
