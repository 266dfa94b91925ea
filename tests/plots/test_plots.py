"""Figures show what they are given: every arm named, divergence marked, nothing on top of each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import UNRELATED
from matplotlib.figure import Figure
from readable import (
    ARMS,
    HOSTILE,
    MARKS,
    as_read,
    assert_readable,
    stability,
    texts,
    trace,
)

from gradclip_cli.plots import (
    Curve,
    DifferenceRow,
    Panel,
    comparison_figure,
    differences_figure,
    gradients_figure,
    save,
    stability_figure,
)


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


CASES = [
    pytest.param(names, seeds, id=f"{case}, {seeds}", marks=MARKS.get(case, ()))
    for (case, names), seeds in zip(ARMS.items(), itertools.cycle([1, 2, 30]), strict=False)
]


@pytest.mark.filterwarnings("error", UNRELATED)
@pytest.mark.parametrize(("names", "seeds"), CASES)
def test_arms_of_any_number_and_length_are_compared_readably(names: list[str], seeds: int) -> None:
    made = [
        replace(panel, thresholds={name: (0.5 + index % 3, "each element") for index, name in enumerate(names)})
        for panel in panels(names, seeds, 5)[1:5]
    ]
    figure = comparison_figure(made)
    assert_readable(figure)
    assert max(figure.get_size_inches()) < 40


@pytest.mark.filterwarnings("error", UNRELATED)
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


@pytest.mark.filterwarnings("error", UNRELATED)
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


@pytest.mark.filterwarnings("error", UNRELATED)
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


@pytest.mark.filterwarnings("error", UNRELATED)
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


@pytest.mark.filterwarnings("error", UNRELATED)
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
