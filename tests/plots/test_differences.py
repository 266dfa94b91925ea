"""The figure of differences: its axis is that of most of them, and what lies beyond is told."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from gradclip_cli.plots import DifferenceRow, differences_figure
from gradclip_cli.texts import MINUS


def drawn(*rows: DifferenceRow, possible: tuple[float, float] = (-100, 100)) -> Axes:
    return differences_figure("difference", rows, possible).axes[0]


def row(differences: list[float], **changes: float) -> DifferenceRow:
    whole = {"typical": 0.1, "low": -0.5, "high": 0.5, **changes}
    return DifferenceRow("clipnorm", differences, **whole)


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def arrows(axes: Axes) -> list[tuple[str, float]]:
    return [(line.get_marker(), float(line.get_xdata()[0])) for line in axes.lines if line.get_marker() in ("<", ">")]


BULK = list(np.linspace(-2, 2, 28))


def test_outliers_do_not_flatten_the_others_and_are_told_at_the_edge() -> None:
    axes = drawn(row([*BULK, 17.3, 15.82]))
    low, high = axes.get_xlim()
    assert -2.5 < low < -2
    assert 2 < high < 2.5
    assert texts(axes) == ["2 beyond: +15.8, +17.3"]
    assert arrows(axes) == [(">", 1.0)]
    assert sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o") == len(BULK)


def test_each_edge_tells_its_own_and_of_many_the_nearest_and_farthest() -> None:
    spread = [*np.linspace(-2, 2, 90), -50.0, *(20.0 + number for number in range(5))]
    axes = drawn(row(spread, mean=-60.0))
    assert texts(axes) == [f"1 beyond: {MINUS}50; mean {MINUS}60", "5 beyond: +20 to +24"]
    assert arrows(axes) == [("<", 0.0), (">", 1.0)]


@pytest.mark.parametrize(
    "differences",
    [BULK, [0.0, 0.1, 50.0], [*BULK, *[40.0] * 9], [0.0] * 20 + [100.0] * 2, [*BULK, 4.0]],
    ids=["none", "too few to tell", "a second mode", "most alike", "near"],
)
def test_where_none_is_an_outlier_the_axis_holds_all(differences: list[float]) -> None:
    axes = drawn(row(differences))
    assert axes.get_xlim()[1] >= max(differences)
    assert not arrows(axes)


def test_an_arm_that_lies_elsewhere_is_no_outlier() -> None:
    axes = drawn(row(BULK), row([value - 60 for value in BULK], typical=-60, low=-61, high=-59))
    assert axes.get_xlim()[0] < -62
    assert not arrows(axes)


def test_the_axis_always_holds_zero_and_the_whole_interval() -> None:
    axes = drawn(row([value + 30 for value in BULK], typical=30, low=10, high=55))
    low, high = axes.get_xlim()
    assert low < 0 < 55 < high
