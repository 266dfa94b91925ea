"""A sweep's map as a figure: each cell says its value, the best are framed, and all of it can be read."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import UNRELATED, slowly
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.patches import Rectangle
from readable import (
    NAMES,
    assert_nothing_is_cut,
    assert_readable,
    marked,
    stability,
    texts,
)

from gradclip_cli.plots import (
    StabilityMap,
    stability_figure,
)
from gradclip_cli.plots.style import luminance


def frames(axes: Axes) -> set[tuple[int, int]]:
    """Row and column of each framed cell."""
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    return {(int(patch.get_y()), int(patch.get_x())) for patch in found}


@pytest.mark.filterwarnings("error", UNRELATED)
@pytest.mark.parametrize("names", NAMES)
def test_maps_with_labels_of_any_length_are_readable(names: list[str]) -> None:
    few = names[:30]
    for made in (
        stability(len(names), 3, rows=names),
        stability(3, len(few), columns=few),
        stability(2, 2, metric=names[-1], axis=names[-1]),
    ):
        figure = stability_figure(made)
        assert_readable(figure)


def test_the_best_cell_of_each_row_is_framed_and_arrows_point_beyond_the_grid() -> None:
    figure = stability_figure(stability(4, 5, best=[2, None, 0, 4]))
    axes = figure.axes[0]
    assert frames(axes) == {(0, 2), (2, 0), (3, 4)}
    assert [(math.floor(x), math.floor(y)) for x, y in marked(axes, "<")] == [(0, 2)]
    assert [(math.floor(x), math.floor(y)) for x, y in marked(axes, ">")] == [(4, 3)]
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["best of its row", "best at the grid's edge: a better one may lie beyond"]


def test_cells_say_their_value_and_only_where_runs_diverged_their_share() -> None:
    values = np.array([[85.34, 9.999, 0.01234], [100, 1234567, np.nan]])
    diverged = np.array([[0, 0.6, 0.001], [1, 0, np.nan]])
    figure = stability_figure(stability(2, 3, values=values, diverged=diverged, best=[0, None]))
    cells = ["85.3", "10.0\n60% div.", "0.0123\n<1% div.", "100\n100% div.", "1.23e+06"]
    assert texts(figure.axes[0]) == cells
    hatched = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
    assert [(int(patch.get_y()), int(patch.get_x())) for patch in hatched] == [(1, 2)]
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told[-2:] == ["no run", "div.: share of runs that diverged"]


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_better_is_brighter_and_the_texts_stand_out(higher_is_better: bool) -> None:
    figure = stability_figure(stability(6, 8, higher_is_better=higher_is_better))
    [mesh] = [artist for artist in figure.axes[0].collections if isinstance(artist, QuadMesh)]
    shades = [luminance(colour) for colour in mesh.to_rgba(mesh.get_array()).reshape(-1, 4)]
    assert shades == sorted(shades, reverse=not higher_is_better)
    for shade, text in zip(shades, figure.axes[0].texts, strict=True):
        low, high = sorted((shade, luminance(text.get_color())))
        assert (high + 0.05) / (low + 0.05) >= 4.5
    assert figure.axes[1].get_ylabel().replace("\n", " ").startswith("holdout accuracy (%)")


@pytest.mark.filterwarnings("error", UNRELATED)
@pytest.mark.parametrize(
    "made",
    [
        stability(1, 1),
        *slowly(stability(20, 12, diverged=np.ones((20, 12)))),
        stability(12, 20),
        stability(1, 2, metric="area under the training-loss curve of the holdout split (nats)"),
        stability(3, 2, rows=["none", "clipvalue 0.5", "global_clipnorm 1 with optimizer.momentum=0.9, model.units=64"]),
        stability(3, 3, columns=["optimizer.momentum=0.9 and more", "short", "optimizer.nesterov=true"]),
        stability(2, 2, values=np.full((2, 2), np.nan), diverged=np.full((2, 2), np.nan), best=[None, None]),
        stability(2, 2, values=np.array([[np.inf, -np.inf], [0, 0]])),
    ],
    ids=["one cell", "tall", "wide", "long metric", "long rows", "long columns", "no run", "infinite"],
)
def test_maps_of_any_size_are_drawn_whole(made: StabilityMap) -> None:
    figure = stability_figure(made)
    assert_nothing_is_cut(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(made.rows)
