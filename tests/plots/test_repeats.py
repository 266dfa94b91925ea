"""The picture of runs of one seed: every run is there, on one scale, whatever an arm is called."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gradclip_cli import plots
from gradclip_cli.plots import RepeatPanel


def test_every_run_is_a_dot_and_the_widest_seed_is_first() -> None:
    values = np.array([[1.0, 2.0], [5.0, 9.0], [3.0, 3.0]])
    [axes] = plots.repeats_figure("accuracy (%)", "Runs", [RepeatPanel("none", values, "±2")]).axes
    dots = np.array([line.get_ydata() for line in axes.lines])
    assert sorted(dots.ravel()) == sorted(values.ravel())
    assert dots[:, 0].tolist() == [5.0, 9.0]
    assert axes.get_ylabel() == "accuracy (%)"


def test_all_panels_have_one_scale() -> None:
    panels = [RepeatPanel(f"arm {number}", np.full((2, 2), float(number))) for number in range(6)]
    figure = plots.repeats_figure("loss", "Runs", panels)
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert len(figure.axes) == 6


@pytest.mark.parametrize("panels", [[], [RepeatPanel("none", np.full((2, 2), np.nan))]])
def test_nothing_to_draw_is_said(panels: list[RepeatPanel]) -> None:
    figure = plots.repeats_figure("loss", "Runs", panels)
    assert [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize(
    ("arms", "in_rows"), [(2, [2]), (3, [3]), (4, [4]), (5, [5]), (6, [6]), (7, [4, 3]), (8, [4, 4]), (9, [3, 3, 3])]
)
def test_arms_stand_in_one_row_or_in_even_ones(arms: int, in_rows: list[int]) -> None:
    values = np.arange(60.0).reshape(30, 2)
    panels = [RepeatPanel(f"clipnorm-{number}", values, "±0.83 within a seed") for number in range(arms)]
    figure = plots.repeats_figure("test accuracy (%)", "Runs of one seed that rounding alone tells apart", panels)
    places = [axes.get_position() for axes in figure.axes]
    bottoms = sorted({place.y0 for place in places}, reverse=True)
    assert [sum(place.y0 == bottom for place in places) for bottom in bottoms] == in_rows
    assert len({round(place.width, 9) for place in places}) == 1
    assert figure.get_size_inches()[0] < 13.2
    figure.draw_without_rendering()
    labels = [text.get_window_extent() for axes in figure.axes for text in (axes._left_title, axes.xaxis.label)]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(labels, 2))
