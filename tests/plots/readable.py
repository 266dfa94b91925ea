"""Figures to look at, and whether all that is written in one can be read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from gradclip_cli.plots import (
    GradientTrace,
    StabilityMap,
)

HOSTILE = [
    r"$\frac{$",
    "a$b$c",
    "[bold]x[/bold] | <script>alert(1)</script>",
    "\x1b[31mred\n\x00\x85",
    "漢字-🎉",
    "x" * 200,
    "clipvalue+" + ",".join(f"optimizer.parameter_{index}=0.1" for index in range(7)),
    "clipvalue+" + ",".join(f"optimizer.parameter_{index}=0.{2 if index == 4 else 1}" for index in range(7)),
]


ARMS = {
    "one": ["a"],
    "one long": ["WWW.learning_rate=0.1," * 9],
    "three": ["none", "clipnorm", "clipvalue"],
    "hostile": HOSTILE,
    "seventeen": ["none", *(f"explode-some-remedy-{index}" for index in range(16))],
    "cells": [
        f"{rule}+optimizer.learning_rate={rate}"
        for rule in ("none", "clipnorm-1", "global_clipnorm-0.5", "b")
        for rate in range(7)
    ],
    "a hundred": [f"none+optimizer.learning_rate=0.1,model.units={index}" for index in range(100)],
    "a hundred long": [f"{'none+optimizer.learning_rate=0.1,model.units=' * 4}{index:03}{'z' * 13}" for index in range(100)],
}


# Of few and of many arms others are drawn in the same way, and sooner.
MARKS = dict.fromkeys(("one long", "three", "cells", "a hundred long"), pytest.mark.slow)


NAMES = [pytest.param(names, id=case, marks=MARKS.get(case, ())) for case, names in ARMS.items()]


VARIABLES = ("lstm/kernel", "lstm/recurrent_kernel", "lstm/bias", "dense/kernel", "dense/bias")


def trace(bins: int = 40, factor: Any = 1.0, **changes: Any) -> GradientTrace:
    """A run of ten steps a bin whose norms lie about 1, times `factor`."""
    generator = np.random.default_rng(0)
    norm = np.exp(generator.normal(0, 0.1, bins)) * factor
    variables = {name: norm * share for name, share in zip(VARIABLES, (0.6, 0.5, 0.4, 0.3, 0.2), strict=True)}
    steps, clipped, loss = 10.0 * np.arange(bins) + 5.5, np.linspace(0, 1, bins), np.linspace(2.3, 1, bins)
    made = GradientTrace("none, seed 0", steps, norm, 1.5 * norm, variables, clipped, loss, 1.2 * loss, [], None, {}, 100)
    return replace(made, **changes)


def stability(height: int = 3, width: int = 4, **changes: Any) -> StabilityMap:
    values = np.arange(height * width, dtype=float).reshape(height, width) + 50
    made = StabilityMap(
        metric="holdout accuracy (%)",
        axis="learning rate",
        columns=[f"{10.0 ** (index - width):g}" for index in range(width)],
        rows=[f"clipnorm {index + 1}" for index in range(height)],
        values=values,
        diverged=np.zeros_like(values),
        best=[width - 1] * height,
        higher_is_better=True,
    )
    return replace(made, **changes)


def drawn_texts(figure: Figure) -> list[Text]:
    """Every text that is seen in a figure that was drawn, without rotated ones, whose boxes say little."""
    found = list(figure.texts)
    legends = list(figure.legends)
    for axes in figure.axes:
        found += [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        ticks = [tick for axis in (axes.xaxis, axes.yaxis) if axis.get_visible() for tick in axis._update_ticks()]
        found += [tick.label1 for tick in ticks if tick.label1.get_visible()]
        legends += [axes.get_legend()] if axes.get_legend() else []
        for child in axes.child_axes:
            found += child.texts
    found += [text for legend in legends for text in (legend.get_title(), *legend.get_texts())]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def assert_readable(figure: Figure) -> None:
    """Every text lies inside the picture, and no two lie upon each other, but for a pixel of rounding."""
    assert_nothing_is_cut(figure)
    told = drawn_texts(figure)
    boxes = np.array([text.get_window_extent().extents for text in told])
    width, height = figure.bbox.size
    for (left, bottom, right, top), text in zip(boxes, told, strict=True):
        assert left >= -1, text
        assert bottom >= -1, text
        assert right <= width + 1, text
        assert top <= height + 1, text
    flat = [index for index, text in enumerate(told) if text.get_rotation() in (0, 90)]
    left, bottom, right, top = boxes[flat].T
    over_x = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    over_y = np.minimum(top[:, None], top) - np.maximum(bottom[:, None], bottom)
    upon = (over_x > 1) & (over_y > 4)
    np.fill_diagonal(upon, val=False)
    assert [(told[flat[one]].get_text(), told[flat[other]].get_text()) for one, other in np.argwhere(upon)] == []


def as_read(figure: Figure) -> str:
    """All texts, without line breaks and escapes."""
    figure.draw_without_rendering()
    return "\n".join(text.get_text().replace("\n", "").replace(" ", "").replace(r"\$", "$") for text in drawn_texts(figure))


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def marked(axes: Axes, marker: str) -> list[tuple[float, float]]:
    """Where these markers stand, in the axes' units or, where they stand at an edge, its share of the height."""
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return [(float(x), float(y)) for line in lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def assert_nothing_is_cut(figure: Figure) -> None:
    """All that is drawn outside the axes too lies inside the picture, but for rounding."""
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= -0.01
    assert box.y0 >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01
