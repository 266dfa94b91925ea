"""What a look at the user's own data shows: each array's range, and what often spoils a training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradclip_cli.arrays import Array
from gradclip_cli.problems.own_arrays.array_likes import blocks
from gradclip_cli.problems.own_arrays.splits import MOST_CLASSES, OwnArrays, find_not_finite
from gradclip_cli.texts import counted

BRIGHTEST = 255
LIKELY_PIXELS = 100  # above which the largest of whole numbers up to 255 is taken for a pixel's


@dataclass(frozen=True)
class Summary:
    """An array in a few numbers, over its finite values, and findings: sentences for the user.

    `smallest`, `largest` and `mean` are NaN where no value is finite; `class_counts` is empty where it holds no classes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    smallest: float
    largest: float
    mean: float
    class_counts: Mapping[int, int]
    findings: tuple[str, ...]


def describe(arrays: OwnArrays) -> list[Summary]:
    """Each array of both splits, read block by block: `x_train`, `y_train`, then `x_test`, `y_test` (or `x_holdout`, ...)."""
    named = arrays.train.named("train") | arrays.evaluation.named(arrays.evaluation_split)
    return [_summary(name, array) for name, array in named.items()]


@dataclass
class _Tally:
    """What is known of an array's blocks so far."""

    smallest: float = np.inf
    largest: float = -np.inf
    total: float = 0.0
    values: int = 0
    whole: bool = True
    lowest: Any = None
    highest: Any = None

    def add(self, block: Array) -> None:
        """Count a block in."""
        values = block[np.isfinite(block)] if block.dtype.kind == "f" else block
        if values.size:
            self.smallest, self.largest = min(self.smallest, float(values.min())), max(self.largest, float(values.max()))
            self.total += float(values.sum(dtype=np.float64))
            self.values += values.size
            self.whole = self.whole and (values.dtype.kind != "f" or bool((values == np.floor(values)).all()))
        lowest, highest = np.fmin.reduce(block, axis=0), np.fmax.reduce(block, axis=0)
        self.lowest = lowest if self.lowest is None else np.fmin(self.lowest, lowest)
        self.highest = highest if self.highest is None else np.fmax(self.highest, highest)


def _summary(name: str, array: Array) -> Summary:
    tally = _Tally()
    for _, block in blocks(array):
        tally.add(block)
    is_input, classes = name.startswith("x"), {} if name.startswith("x") else class_counts(array)
    findings = [*_not_finite(array), *(_of_inputs(array, tally) if is_input else _of_targets(classes, tally, array))]
    some = tally.values > 0
    smallest, largest = (tally.smallest, tally.largest) if some else (np.nan, np.nan)
    mean = tally.total / tally.values if some else np.nan
    return Summary(name, array.shape, str(array.dtype), smallest, largest, mean, classes, tuple(findings))


def class_counts(targets: Array) -> dict[int, int]:
    """How many samples each class has; empty where targets are not one integer (or truth) a sample, or of too many values."""
    counts: Counter[int] = Counter()
    for _, block in blocks(targets) if targets.dtype.kind in "iub" and targets.size == len(targets) else ():
        values, numbers = np.unique(block, return_counts=True)
        counts.update(dict(zip(map(int, values), map(int, numbers), strict=True)))
        if len(counts) > MOST_CLASSES:
            return {}
    return dict(sorted(counts.items()))


def _not_finite(array: Array) -> list[str]:
    found = find_not_finite(array)
    return [f"{counted(found.count, 'value')} NaN or infinite, the first at {list(found.first)}"] if found else []


def _of_inputs(array: Array, tally: _Tally) -> list[str]:
    findings = []
    pixels = array.dtype.kind == "f" or array.dtype == np.uint8 or array.ndim > 2
    if pixels and tally.whole and tally.smallest >= 0 and LIKELY_PIXELS < tally.largest <= BRIGHTEST:
        findings.append(f"whole numbers up to {tally.largest:.0f}: if they are pixels, divide them by {BRIGHTEST}")
    constant = int(np.count_nonzero(np.equal(tally.lowest, tally.highest)))
    if constant and len(array) > 1:
        findings.append(f"{constant:,} of {counted(np.size(tally.lowest), 'column')} constant over all samples")
    return findings


def _of_targets(classes: Mapping[int, int], tally: _Tally, array: Array) -> list[str]:
    if len(classes) == 1 or (tally.values == array.size and tally.smallest == tally.largest):
        return [f"all targets are {tally.smallest:g}: there is nothing to learn"]
    if not classes:
        return []
    few, many = min(classes.values()), max(classes.values())
    each = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    return [f"{len(classes)} classes of {each} samples"]
