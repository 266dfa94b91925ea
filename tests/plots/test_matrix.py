"""The picture of problems and rules, and that of a tuning: all is written, framed, and on one scale."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from gradclip_cli import plots
from gradclip_cli.plots import Matrix, MatrixCell, TunedLine


def matrix(**changes: object) -> Matrix:
    cells = [
        [MatrixCell(["+9 points", "4 to 12"], 1.0, shown=True), None],
        [MatrixCell(["hardly acted"], None), MatrixCell(["-1"], -0.5)],
    ]
    given = {
        "title": "What",
        "columns": ["clipnorm", "agc"],
        "rows": [["order", "accuracy 20"], ["image"]],
        "cells": cells,
        **changes,
    }
    return Matrix(**given)  # type: ignore[arg-type]


def test_every_cell_is_written_and_only_what_is_shown_is_framed() -> None:
    axes, *_ = plots.matrix_figure(matrix()).axes
    texts = [text.get_text() for text in axes.texts]
    assert {"+9 points", "4 to 12", "hardly acted", "-1", "order", "accuracy 20", "image", "clipnorm", "agc"} <= set(texts)
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert len([box for box in boxes if box.get_fill()]) == 3  # the fourth was not trained
    assert len([box for box in boxes if not box.get_fill()]) == 1


def test_nothing_stands_outside_the_picture() -> None:
    long = [["a problem with quite a long name " * 2, "a line beneath it that is long as well"], ["short"]]
    figure = plots.matrix_figure(matrix(rows=long))
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    for text in [text for axes in figure.axes for text in axes.texts] + list(figure.texts):
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height


def test_a_tuning_has_a_line_an_arm_and_is_thick_where_it_is_good() -> None:
    values = np.array([0.1, 1.0, 10.0])
    lines = [
        TunedLine("none", values, np.array([[80.0, 80], [82, 82], [70, 70]])),
        TunedLine("clipnorm 1", values, np.full((3, 2), 81.0)),
    ]
    axes, *_ = plots.tuning_figure("accuracy (%)", "learning rate", 1.0, lines).axes
    thick = [line for line in axes.lines if line.get_linewidth() > 4]
    assert [int(np.isfinite(np.asarray(line.get_ydata(), float)).sum()) for line in thick] == [1, 3]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.texts] == ["none", "clipnorm 1"]
    assert axes.get_ylim()[1] == pytest.approx(82.6)
