"""A run's gradients as a figure: norms, thresholds, spikes and divergence where they are, whatever the values."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import UNRELATED, slowly
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from readable import (
    NAMES,
    VARIABLES,
    assert_nothing_is_cut,
    assert_readable,
    marked,
    texts,
    trace,
)

from gradclip_cli.plots import (
    Applied,
    GradientTrace,
    Updates,
    gradients_figure,
    save,
)
from gradclip_cli.plots.style import PLAIN_STYLES, luminance


def clipped_trace(bins: int = 40, **changes: Any) -> GradientTrace:
    """The same, clipped to 1 all together, with updates of a hundredth of what was left."""
    made = trace(bins)
    median, largest = np.minimum(made.median_norm, 1), np.minimum(made.largest_norm, 1)
    left = {name: 0.5 * norm for name, norm in made.variables.items()}
    applied = Applied(median, largest, left, dict(zip(VARIABLES, (0.5, 0.25, 0.0, 1.0, 0.004), strict=True)))
    updates = Updates(0.01 * median, 0.01 * largest)
    return replace(made, **{"applied": applied, "updates": updates, "thresholds": {"all together": 1.0}, **changes})


def curves_of(axes: Axes) -> list[list[float]]:
    """The values of each line over 40 bins."""
    return [np.asarray(line.get_ydata(), float).tolist() for line in axes.lines if len(line.get_xdata()) == 40]


def strip(figure: Figure) -> Axes:
    """The strip of clipped steps: the one beneath the first panel."""
    [found] = figure.axes[0].child_axes
    return found


@pytest.mark.filterwarnings("error", UNRELATED)
@pytest.mark.parametrize("names", NAMES)
def test_gradients_with_names_of_any_length_are_readable(names: list[str]) -> None:
    norms = {name: np.full(40, 1.0 + index) for index, name in enumerate(names)}
    thresholds = {f"each element of {name}": 1.0 + index for index, name in enumerate(names)}
    figure = gradients_figure(trace(title=f"{names[-1]}, seed 0", variables=norms, thresholds=thresholds, diverged=400))
    assert_readable(figure)
    assert max(figure.get_size_inches()) < 40


def test_norms_before_and_after_stand_with_the_threshold_in_one_panel() -> None:
    made = clipped_trace()
    axes = gradients_figure(made).axes[0]
    assert made.applied
    shown = (made.median_norm, made.largest_norm, made.applied.median_norm, made.applied.largest_norm)
    assert all(values.tolist() in curves_of(axes) for values in shown)
    assert {"median before", "largest before", "median after", "largest after", "threshold 1 (all together)"} <= set(texts(axes))
    [shade] = [artist for artist in axes.collections if not isinstance(artist, QuadMesh)]
    edges = shade.get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == (made.applied.largest_norm.min(), made.largest_norm.max())
    inks = {line.get_color(): luminance(line.get_color()) for line in axes.lines if len(line.get_xdata()) == 40}
    assert len(inks) == 4
    assert min(abs(one - other) for one, other in itertools.combinations(inks.values(), 2)) > 0.02  # in grey too


@pytest.mark.parametrize(("bins", "which"), [(1, "the only step"), (3, "each step")])
def test_bins_of_a_single_step_have_one_line_that_says_so(bins: int, which: str) -> None:
    whole = clipped_trace(bins)
    norm, loss = whole.median_norm, whole.loss
    applied = replace(whole.applied, median_norm=norm / 2, largest_norm=norm / 2)  # type: ignore[type-var]
    made = replace(whole, largest_norm=norm, largest_loss=loss, applied=applied, updates=Updates(norm, norm), thresholds={})
    figure = gradients_figure(made)
    assert [texts(axes) for axes in figure.axes[::2]] == [[f"after, {which}", f"before, {which}"], [which]]
    assert texts(figure.axes[3]) == [which]
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == bins and line.get_marker() != "o"]
    assert [line.get_ydata().tolist() for line in lines] == [norm.tolist(), (norm / 2).tolist()]


def test_what_was_cut_off_a_variable_is_shaded_and_on_what_share_it_was_is_named() -> None:
    axes = gradients_figure(clipped_trace()).axes[1]
    assert len(axes.collections) == len(VARIABLES)
    assert {
        "lstm/kernel, clipped on 50%",
        "lstm/bias, never clipped",
        "dense/kernel, clipped on 100%",
        "dense/bias, clipped on <1%",
    } <= set(texts(axes))
    alike = clipped_trace()
    assert alike.applied
    same = replace(alike.applied, clipped=dict.fromkeys(VARIABLES, 0.5))
    assert set(VARIABLES) <= set(texts(gradients_figure(replace(alike, applied=same)).axes[1]))


def test_only_a_run_that_clips_is_said_to() -> None:
    titles = [[axes.get_title(loc="left") for axes in gradients_figure(made).axes] for made in (trace(), clipped_trace())]
    assert "not clipped" in titles[0][0]
    assert not any("before" in title for title in titles[0])
    assert all("before" in title for title in titles[1][:2])
    elements = gradients_figure(clipped_trace(of_elements=True)).axes[1]
    assert "largest gradient element" in elements.get_title(loc="left")


def test_updates_have_a_panel_where_they_are_known() -> None:
    made = clipped_trace()
    figure = gradients_figure(made)
    assert len(figure.axes) == 4
    assert made.updates
    assert {tuple(made.updates.median_norm), tuple(made.updates.largest_norm)} <= {*map(tuple, curves_of(figure.axes[2]))}
    assert len(gradients_figure(clipped_trace(updates=None)).axes) == 3
    assert_readable(figure)


@pytest.mark.filterwarnings("error", UNRELATED)
@pytest.mark.parametrize("bins", [1, *slowly(3), 1000])
@pytest.mark.parametrize("value", [math.nan, 0.0, 1e300])
def test_what_clipping_left_may_be_anything(bins: int, value: float) -> None:
    values = np.full(bins, value)
    applied, updates = Applied(values, values, dict.fromkeys(VARIABLES, values)), Updates(values, values)
    assert_readable(gradients_figure(replace(trace(bins), applied=applied, updates=updates)))


def test_norms_are_logarithmic_and_all_panels_share_the_steps() -> None:
    norm, variables, loss = gradients_figure(trace()).axes
    assert [axes.get_yscale() for axes in (norm, variables, loss)] == ["log", "log", "linear"]
    assert norm.get_shared_x_axes().joined(norm, variables)
    assert norm.get_shared_x_axes().joined(norm, loss)
    assert loss.get_xlabel() == "step"


def test_the_loss_is_logarithmic_only_where_it_spans_more_than_two_powers_of_ten() -> None:
    for largest, scale in ((1e3, "log"), (90.0, "linear")):
        loss = np.linspace(1, largest, 40)
        assert gradients_figure(trace(loss=loss, largest_loss=loss)).axes[2].get_yscale() == scale


def test_a_variable_far_beneath_the_others_does_not_flatten_them_and_is_named() -> None:
    made = trace()
    tiny = {"key/bias": np.full(40, 1e-9)}
    axes = gradients_figure(replace(made, variables={**made.variables, **tiny})).axes[1]
    assert axes.get_ylim()[0] > 1e-3
    assert {"key/bias, about 1e-09 ↓", "lstm/bias"} <= set(texts(axes))
    clipped = clipped_trace()
    assert clipped.applied
    after = replace(clipped.applied, variables={**clipped.applied.variables, **tiny}, clipped={})
    axes = gradients_figure(replace(clipped, variables={**clipped.variables, **tiny}, applied=after)).axes[1]
    assert axes.get_ylim()[0] > 1e-3
    many = {f"kernel_{index}": made.median_norm for index in range(PLAIN_STYLES)}
    assert f"and {len(VARIABLES) + 1} variables with smaller gradients, 1 of them ↓" in texts(
        gradients_figure(replace(made, variables={**made.variables, **many, **tiny})).axes[1]
    )


@pytest.mark.parametrize(("tail", "lowest"), [(1e-5, 1e-5), (1e-9, 1e-6), (1e-30, 1e-6)])
def test_a_single_tiny_value_is_seen_only_where_it_does_not_flatten_all(tail: float, lowest: float) -> None:
    norm = np.ones(400)
    norm[200] = tail
    low, high = gradients_figure(trace(400, variables={"a": norm})).axes[1].get_ylim()
    assert lowest / 10 < low < lowest
    assert high < 100


def test_what_vanishes_is_seen_down_to_twelve_powers_of_ten() -> None:
    for end, lowest in ((-10, 1e-10), (-40, 1e-32)):  # the median of the second is 1e-20
        values = np.logspace(0, end, 40)
        low, high = gradients_figure(trace(variables={"a": values})).axes[1].get_ylim()
        assert lowest / 1000 < low < lowest * 10
        assert high > 1


def test_a_healthy_norm_stays_in_the_middle_and_an_explosion_fills_the_panel() -> None:
    for factor, share in ((1.0, (0, 0.4)), (np.logspace(0, 30, 40), (0.8, 1)), (np.logspace(0, -8, 40), (0.8, 1))):
        healthy = trace(factor=factor)
        low, high = np.log10(gradients_figure(healthy).axes[0].get_ylim())
        assert high - low >= 2
        drawn = np.ptp(np.log10(healthy.median_norm)) / (high - low)
        assert share[0] <= drawn <= share[1]


def test_every_variable_is_named_beside_its_line_and_told_apart_in_grey() -> None:
    figure = gradients_figure(trace())
    lines = [line for line in figure.axes[1].lines if len(line.get_xdata()) == 40]
    assert set(VARIABLES) <= set(texts(figure.axes[1]))
    assert len({(line.get_color(), str(line.get_linestyle())) for line in lines}) == len(VARIABLES)
    boxes = sorted((text.get_window_extent() for text in figure.axes[1].texts), key=lambda box: box.y0)
    assert all(upper.y0 >= lower.y1 - 4 for lower, upper in itertools.pairwise(boxes))


def test_the_strip_is_darker_where_more_steps_were_clipped() -> None:
    drawn = strip(gradients_figure(trace(clipped=np.linspace(0, 0.5, 40))))
    [mesh] = [artist for artist in drawn.collections if isinstance(artist, QuadMesh)]
    shades = [luminance(colour) for colour in mesh.to_rgba(mesh.get_array()).reshape(-1, 4)]
    assert shades == sorted(shades, reverse=True)
    assert shades[0] == 1
    assert 0 < shades[-1] < 0.5  # Black is for bins of which all steps were clipped.
    assert mesh.get_coordinates()[0, [0, -1], 0].tolist() == [0.5, 400.5]
    assert texts(drawn) == ["clipped", "25% of steps"]


def test_spikes_stand_at_their_steps_and_norms_and_those_without_one_at_the_top() -> None:
    axes = gradients_figure(trace(spikes=[(31, 20.0), (77, math.inf), (120, 300.0), (350, math.nan)])).axes[0]
    places = marked(axes, "^")
    assert places[:2] == [(31, 20), (120, 300)]
    assert [step for step, _ in places[2:]] == [77, 350]
    assert all(0.9 < height <= 1 for _, height in places[2:])
    assert axes.get_ylim()[1] > 300
    assert {"▲ 2 spikes", "△ 2 not finite"} <= set(texts(axes))


def test_thresholds_stand_in_the_panel_of_what_they_bound() -> None:
    bounds = {"all together": 1.2, "each element": 0.4, "lstm/bias": 0.3, "dense/bias": 1e-20}
    norm, variables, _ = gradients_figure(trace(thresholds=bounds)).axes
    dotted = [{line.get_ydata()[0] for line in axes.lines if len(line.get_xdata()) == 2} for axes in (norm, variables)]
    assert dotted == [{1.2}, {0.4, 0.3}]
    assert "threshold 1.2 (all together)" in texts(norm)
    assert {"threshold 0.4 (each element)", "threshold 1e-20 (dense/bias) ↓"} <= set(texts(variables))
    assert variables.get_ylim()[0] > 1e-3  # A threshold that is far away doesn't flatten the curves.


def test_divergence_is_marked_in_every_panel_and_said() -> None:
    figure = gradients_figure(trace(diverged=1400))
    for axes in figure.axes:
        assert [step for step, _ in marked(axes, "X")] == [1400]
        assert axes.get_xlim()[1] > 1400
    assert "diverged at step 1,400" in texts(figure.axes[0])


def test_zero_norms_are_marked_at_the_bottom() -> None:
    norm = np.array([1.0, 0, 0, 1e-30, 1e38])
    made = trace(5, median_norm=norm, largest_norm=norm, variables={"a": norm, "dead": np.zeros(5)})
    axes = gradients_figure(made).axes
    assert [step for step, _ in marked(axes[0], "v")] == made.steps[1:3].tolist()
    assert "▽ zero" in texts(axes[0])
    assert "dead: all zero" in texts(axes[1])
    assert axes[0].get_ylim()[0] < 1e-30
    assert axes[0].get_ylim()[1] > 1e38


def test_an_axis_of_epochs_appears_with_the_second_epoch() -> None:
    for pace, labels in ((100, ["epoch"]), (400, [])):
        assert [axes.get_xlabel() for axes in gradients_figure(trace(steps_per_epoch=pace)).axes[2].child_axes] == labels


@pytest.mark.filterwarnings("error", UNRELATED)
@pytest.mark.parametrize("bins", [1, 3, 1000])
def test_a_trace_of_nothing_finite_is_drawn(bins: int, tmp_path: Path) -> None:
    nothing = np.full(bins, np.nan)
    figure = gradients_figure(
        trace(
            bins,
            median_norm=nothing,
            largest_norm=nothing,
            variables={"lstm/kernel": nothing},
            clipped=nothing,
            loss=nothing,
            largest_loss=nothing,
            spikes=[(1, math.nan)],
            diverged=1,
            thresholds={"all together": 1.0, "each variable": 1.0},
        )
    )
    save(figure, [tmp_path / "gradients.png"])
    assert "nothing finite above zero" in texts(figure.axes[0])
    assert "lstm/kernel: nothing finite" in texts(figure.axes[1])


@pytest.mark.filterwarnings("error", UNRELATED)
@pytest.mark.parametrize(
    "made",
    [
        trace(1),
        trace(1000),
        trace(factor=np.logspace(-30, 38, 40, dtype=np.float32)),
        trace(steps=np.linspace(500, 999_500, 40), thresholds={"all together": 1.0}),
        trace(variables={}, thresholds={"each variable": math.inf}),
        trace(variables={f"bidirectional/forward_lstm/kernel_{index}": np.full(40, 2.0**index) for index in range(20)}),
        trace(title="clipvalue+" + ",".join(f"optimizer.parameter_{index}=0.1" for index in range(8))),
    ],
    ids=["one bin", "most bins", "wide range", "a million steps", "no variable", "many variables", "long title"],
)
def test_gradients_of_any_length_and_range_are_drawn_whole(made: GradientTrace) -> None:
    assert_nothing_is_cut(gradients_figure(made))
