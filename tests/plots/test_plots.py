"""Figures show what they are given: every arm named, divergence marked, nothing on top of each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import slowly
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from gradclip_cli.plots import (
    Applied,
    Curve,
    DifferenceRow,
    GradientTrace,
    Panel,
    StabilityMap,
    Updates,
    comparison_figure,
    differences_figure,
    gradients_figure,
    save,
    stability_figure,
)
from gradclip_cli.plots.style import PLAIN_STYLES, luminance


def panels(names: list[str], runs: int, epochs: int, diverged: float | None = None) -> list[Panel]:
    generator = np.random.default_rng(0)
    x = np.arange(1.0, epochs + 1)
    curves = []
    for name in names:
        values = 1 + generator.random((runs, epochs)) / 100
        if diverged is not None:
            values[0, int(diverged) :] = np.nan
        curves.append(Curve(name, x, values, [diverged, *[None] * (runs - 1)]))
    return [
        Panel(f"panel {index}", "unit", curves, log=index == 4, thresholds={names[0]: (0.5, "each element")})
        for index in range(6)
    ]


def test_every_arm_is_named_in_every_panel() -> None:
    names = [f"arm-{letter}" for letter in "abcde"]
    for axes in comparison_figure(panels(names, 3, 5)).axes:
        texts = [text.get_text() for text in axes.texts]
        assert all(name in texts for name in names)
        assert axes.get_ylabel() == "unit"
        assert axes.get_xlabel() == "epoch"


def test_an_odd_number_of_panels_leaves_the_last_place_empty() -> None:
    """As of runs that a recorder watched and nobody evaluated: a training loss, and four panels of gradients."""
    figure = comparison_figure(panels(["none", "clipped"], 2, 4)[:5])
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == [f"panel {index}" for index in range(5)]


def test_names_do_not_overlap() -> None:
    names = [f"arm-{index}" for index in range(6)]
    figure = comparison_figure(panels(names, 2, 4))
    for axes in figure.axes:
        boxes = sorted((text.get_window_extent() for text in axes.texts if text.get_text() in names), key=lambda box: box.y0)
        for lower, upper in itertools.pairwise(boxes):
            assert upper.y0 >= lower.y1 - 4


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
CASES = [
    pytest.param(names, seeds, id=f"{case}, {seeds}", marks=MARKS.get(case, ()))
    for (case, names), seeds in zip(ARMS.items(), itertools.cycle([1, 2, 30]), strict=False)
]


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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("names", "seeds"), CASES)
def test_arms_of_any_number_and_length_are_compared_readably(names: list[str], seeds: int) -> None:
    made = [
        replace(panel, thresholds={name: (0.5 + index % 3, "each element") for index, name in enumerate(names)})
        for panel in panels(names, seeds, 5)[1:5]
    ]
    figure = comparison_figure(made)
    assert_readable(figure)
    assert max(figure.get_size_inches()) < 40


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("names", "seeds"), CASES)
def test_differences_of_any_number_and_length_of_names_are_readable(names: list[str], seeds: int) -> None:
    rows = [
        DifferenceRow(name, [0.1 * seed for seed in range(seeds)], 0.2, -math.inf if seeds < 3 else 0.0, math.inf)
        for name in names
    ]
    figure = differences_figure(f"difference in test accuracy from {names[0]} (points; better to the right)", rows)
    assert_readable(figure)
    assert max(figure.get_size_inches()) < 60


def test_differences_say_which_are_paired() -> None:
    paired = DifferenceRow("a", [0.1, 0.2, 0.3], 0.2, 0.1, 0.3)
    unpaired = DifferenceRow("b", [0.1, 0.2, 0.3], 0.2, 0.1, 0.3, against=4)
    titles = {"Paired differences of 3 seeds: each seed (dots)": [paired]}
    titles["Unpaired differences of 3 runs against 4: each run from what the baseline typically has (dots)"] = [unpaired] * 2
    titles["Differences: each seed, or unpaired each run from what the baseline typically has (dots)"] = [paired, unpaired]
    for title, rows in titles.items():
        figure = differences_figure("difference", rows)
        assert " ".join(figure.texts[0].get_text().split()).startswith(title)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a\n3 seeds", "b\n3 runs against 4"]
    assert_readable(figure)


@pytest.mark.filterwarnings("error")
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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("names", NAMES)
def test_gradients_with_names_of_any_length_are_readable(names: list[str]) -> None:
    norms = {name: np.full(40, 1.0 + index) for index, name in enumerate(names)}
    thresholds = {f"each element of {name}": 1.0 + index for index, name in enumerate(names)}
    figure = gradients_figure(trace(title=f"{names[-1]}, seed 0", variables=norms, thresholds=thresholds, diverged=400))
    assert_readable(figure)
    assert max(figure.get_size_inches()) < 40


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "draw",
    [
        lambda: comparison_figure(panels(HOSTILE, 1, 2)[3:5]),
        lambda: differences_figure(HOSTILE[0], [DifferenceRow(name, [0.0], 0, 0, 0) for name in HOSTILE]),
        lambda: stability_figure(stability(8, 8, rows=HOSTILE, columns=HOSTILE, metric=HOSTILE[3], axis=HOSTILE[0])),
        lambda: gradients_figure(trace(title=HOSTILE[3], variables=dict.fromkeys(HOSTILE, np.ones(40)))),
    ],
    ids=["comparison", "differences", "stability", "gradients"],
)
def test_hostile_names_are_drawn_literally_and_their_svg_is_xml(draw: Callable[[], Figure], tmp_path: Path) -> None:
    figure = draw()
    told = as_read(figure)
    for literal in (
        r"$\frac{$",
        "[bold]x[/bold]|<script>alert(1)</script>",
        r"\x1b[31mred\n\x00\x85",
        r"\u6f22\u5b57-\U0001f389",
    ):
        assert literal in told
    save(figure, [tmp_path / "figure.svg"])
    ElementTree.parse(tmp_path / "figure.svg")


def test_what_names_share_is_told_once_and_every_arm_is_found() -> None:
    names = ARMS["a hundred"]
    figures = [
        comparison_figure(panels(names, 2, 5)[3:5]),
        differences_figure("x", [DifferenceRow(name, [0.0], 0, 0, 0) for name in names]),
    ]
    for figure in figures:
        told = as_read(figure)
        assert told.count("none+optimizer.learning_rate=0.1,model.units=") == 1
        assert {str(index) for index in range(100)} <= set(told.splitlines())


def test_every_line_differs_from_every_other() -> None:
    figure = comparison_figure(panels(ARMS["a hundred"], 2, 5)[:1])
    looks = {
        (line.get_color(), str(line._dash_pattern), line.get_marker())
        for line in figure.axes[0].lines
        if len(line.get_xdata()) == 5
    }
    assert len(looks) == 100
    assert len({(text.get_color(), text.get_text()) for text in figure.legends[0].get_texts()}) == 100


def test_thresholds_of_equal_value_are_told_together_and_those_of_no_curve_not_at_all() -> None:
    bounds = {
        "a": (0.5, "each element"),
        "b": (0.5, "each element"),
        "c": (2.0, "each variable"),
        "other": (3.0, "each variable"),
    }
    made = [replace(panel, thresholds=bounds) for panel in panels(["a", "b", "c"], 2, 5)]
    axes = comparison_figure(made).axes[4]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "threshold 2 (each variable): c",
        "threshold 0.5 (each element): a, b",
    ]
    assert sorted(line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":") == [0.5, 2.0]


def test_a_far_threshold_does_not_flatten_the_curves() -> None:
    made = [replace(panel, thresholds={"a": (1e-20, "each element")}) for panel in panels(["a"], 2, 5)]
    axes = comparison_figure(made).axes[4]
    assert axes.get_ylim()[0] > 1e-3
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["threshold 1e-20 (each element): a ↓"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.0, math.inf)])
def test_axes_end_where_values_do(bounds: tuple[float, float], seeds: int) -> None:
    x, values = np.arange(1.0, 6), np.linspace(0, 1, 5) * np.ones((seeds, 1))
    curve = Curve("a", x, values, [None] * seeds, band=(values[0] - 7, values[0] + 7))
    for axes in comparison_figure([Panel("p", "u", [curve], bounds=bounds)] * 2).axes:
        low, high = axes.get_ylim()
        assert bounds[0] <= low < high <= bounds[1]
        assert high < 3  # A band of two seeds is so wide that it would flatten the curves.


def test_axes_without_a_value_end_where_values_would() -> None:
    curve = Curve("a", np.arange(1.0, 6), np.full((2, 5), np.nan), [0.1, 0.1])
    assert comparison_figure([Panel("p", "u", [curve], bounds=(0, 1))] * 2).axes[0].get_ylim() == (0, 1)
    assert comparison_figure([Panel("p", "u", [curve], bounds=(0, math.inf))] * 2).axes[0].get_ylim() == (0, 1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, 1e308, 1e-308, -1e308])
def test_a_comparison_of_any_value_is_drawn(value: float, log: bool) -> None:
    values = np.full((3, 5), value)
    curves = [Curve(name, np.arange(1.0, 6), values, [1, None, None], values[0], (values[0], values[0])) for name in "ab"]
    figure = comparison_figure([Panel("p", "u", curves, log=log, thresholds={"a": (math.inf, "x"), "b": (0.0, "x")})] * 2)
    assert_readable(figure)
    nothing = not math.isfinite(value) or (log and value <= 0)
    for axes in figure.axes:
        assert any(text.startswith("nothing finite") for text in texts(axes)) == nothing


def test_arms_without_a_line_are_named_with_the_reason() -> None:
    curves = [
        Curve(name, np.arange(1.0, 6), np.full((2, 5), value), [None, None])
        for name, value in zip("abc", (1, math.nan, 0), strict=True)
    ]
    figure = comparison_figure([Panel("p", "u", curves, log=True)] * 2)
    assert {"a", "b: nothing finite", "c: all zero"} <= set(texts(figure.axes[0]))


@pytest.mark.filterwarnings("error")
def test_differences_that_cannot_be_drawn_are_said(tmp_path: Path) -> None:
    assert "noarmsharesaseedwiththebaseline" in as_read(differences_figure("x", []))
    figure = differences_figure(
        "x",
        [
            DifferenceRow("a", [math.nan, math.inf], math.nan, math.nan, math.nan),
            DifferenceRow("b", [0.0], 0.0, -math.inf, math.inf),
        ],
    )
    assert_readable(figure)
    assert "nothingfinite" in as_read(figure)
    save(figure, [tmp_path / "figure.png"])


def test_differences_of_shares_end_at_a_hundred_points() -> None:
    rows = [DifferenceRow("a", [100.0, -100.0], 0.0, -140, 140)]
    assert differences_figure("x", rows, (-100, 100)).axes[0].get_xlim() == (-100, 100)


@pytest.mark.parametrize("diverged", [0.4, 2.5])
def test_a_diverged_run_ends_in_a_cross(diverged: float) -> None:
    for axes in comparison_figure(panels(["a"], 2, 4, diverged)).axes:
        crosses = [line for line in axes.lines if line.get_marker() == "X"]
        assert [line.get_xdata()[0] for line in crosses] == [diverged]


def test_one_epoch_and_no_epoch_can_be_drawn(tmp_path: Path) -> None:
    for epochs in (0, 1):
        save(comparison_figure(panels(["a", "b"], 1, epochs)[3:5]), [tmp_path / f"{epochs}.png", tmp_path / f"{epochs}.svg"])
    assert len(list(tmp_path.iterdir())) == 4


VARIABLES = ("lstm/kernel", "lstm/recurrent_kernel", "lstm/bias", "dense/kernel", "dense/bias")


def trace(bins: int = 40, factor: Any = 1.0, **changes: Any) -> GradientTrace:
    """A run of ten steps a bin whose norms lie about 1, times `factor`."""
    generator = np.random.default_rng(0)
    norm = np.exp(generator.normal(0, 0.1, bins)) * factor
    variables = {name: norm * share for name, share in zip(VARIABLES, (0.6, 0.5, 0.4, 0.3, 0.2), strict=True)}
    steps, clipped, loss = 10.0 * np.arange(bins) + 5.5, np.linspace(0, 1, bins), np.linspace(2.3, 1, bins)
    made = GradientTrace("none, seed 0", steps, norm, 1.5 * norm, variables, clipped, loss, 1.2 * loss, [], None, {}, 100)
    return replace(made, **changes)


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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bins", [1, *slowly(3), 1000])
@pytest.mark.parametrize("value", [math.nan, 0.0, 1e300])
def test_what_clipping_left_may_be_anything(bins: int, value: float) -> None:
    values = np.full(bins, value)
    applied, updates = Applied(values, values, dict.fromkeys(VARIABLES, values)), Updates(values, values)
    assert_readable(gradients_figure(replace(trace(bins), applied=applied, updates=updates)))


def test_two_panels_may_share_their_scale() -> None:
    low, high = (
        [Curve("a", np.arange(1.0, 6), np.full((2, 5), value), [None, None], absent="not stored")] for value in (1e-3, 1e3)
    )
    made = [Panel("p", "u", low, log=True, beside=high), Panel("q", "u", high, log=True, beside=low)]
    figure = comparison_figure(made)
    assert len(figure.axes) == 2
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert figure.axes[0].get_ylim()[0] < 1e-3 < 1e3 < figure.axes[0].get_ylim()[1]
    assert_readable(figure)
    missing = [Curve("a", np.arange(1.0, 6), np.full((2, 5), np.nan), [None, None], absent="not stored"), *low]
    assert "a: not stored" in texts(comparison_figure([Panel("p", "u", [missing[0], replace(low[0], name="b")])] * 2).axes[0])


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


def marked(axes: Axes, marker: str) -> list[tuple[float, float]]:
    """Where these markers stand, in the axes' units or, where they stand at an edge, its share of the height."""
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return [(float(x), float(y)) for line in lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def strip(figure: Figure) -> Axes:
    """The strip of clipped steps: the one beneath the first panel."""
    [found] = figure.axes[0].child_axes
    return found


def assert_nothing_is_cut(figure: Figure) -> None:
    """All that is drawn outside the axes too lies inside the picture, but for rounding."""
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= -0.01
    assert box.y0 >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01


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


@pytest.mark.filterwarnings("error")
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


@pytest.mark.filterwarnings("error")
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


def frames(axes: Axes) -> set[tuple[int, int]]:
    """Row and column of each framed cell."""
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    return {(int(patch.get_y()), int(patch.get_x())) for patch in found}


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


@pytest.mark.filterwarnings("error")
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


@pytest.mark.parametrize(
    "draw",
    [
        lambda: comparison_figure(panels(["a", "b"], 2, 4)[3:5]),
        lambda: differences_figure("difference", [DifferenceRow("a", [0.1, 0.2], 0.15, -math.inf, math.inf)]),
        lambda: gradients_figure(trace(spikes=[(3, 9.0), (4, math.inf)], diverged=400, thresholds={"each element": 0.4})),
        lambda: stability_figure(stability(values=np.array([[1.0, np.nan]] * 3), diverged=np.zeros((3, 2)), best=[0] * 3)),
    ],
    ids=["comparison", "differences", "gradients", "stability"],
)
def test_the_same_picture_gives_the_same_bytes(draw: Callable[[], Figure], tmp_path: Path) -> None:
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    save(draw(), [first])
    save(draw(), [second])
    assert first.read_bytes() == second.read_bytes()
