"""Figures for a paper: as wide as asked for, with text that is text and can be read, and the same bytes each time."""

from __future__ import annotations

import io
import itertools
import re
import zlib
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import UNRELATED, slowly
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection, LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from gradclip_cli import plots
from gradclip_cli.plots import Curve, DifferenceRow, Names, Panel, Size, TooLowError
from gradclip_cli.plots.multiples import MOST

SVG = "{http://www.w3.org/2000/svg}"


def panel(arms: int, seeds: int = 3, title: str = "Training loss", **changes: Any) -> Panel:
    """Arms that learn at different paces, over ten epochs."""
    generator, x = np.random.default_rng(0), np.arange(1.0, 11)
    curves = []
    for arm in range(arms):
        values = np.exp(-x / (3 + arm)) + generator.random((seeds, 10)) / 20
        band = (values.mean(axis=0) - 0.02, values.mean(axis=0) + 0.02)
        curves.append(Curve(f"clipnorm-{arm}" if arm else "none", x, values, [None] * seeds, band=band))
    return Panel(title, "nats", curves, **changes)


def figure(*panels: Panel, width: float = 3.5, height: float | None = None) -> Figure:
    names = Names.of([curve.name for curve in panels[0].curves])
    return plots.paper_panels_figure(panels, names, Size(width, height))


def differences(arms: int = 2, width: float = 3.5, height: float | None = None) -> Figure:
    rows = [DifferenceRow(f"clipnorm-{arm}", [*np.linspace(-2, 2, 28), 30.0], 0.1, -0.5, 0.5, 0.4) for arm in range(arms)]
    names = Names.of(["none", *(row.name for row in rows)])
    axis = "difference in test accuracy from none (points; better to the right)"
    return plots.paper_differences_figure(axis, rows, (-100, 100), names, Size(width, height))


def saved(drawn: Figure, form: str) -> bytes:
    file = io.BytesIO()
    plots.save_printed(drawn, file, form)
    return file.getvalue()


def texts(drawn: Figure) -> list[Text]:
    """All that is written in a figure once it is saved."""
    saved(drawn, "svg")
    return [text for text in drawn.findobj(Text) if text.get_visible() and text.get_text().strip()]  # type: ignore[attr-defined]


CASES = {
    "two arms": lambda: figure(panel(2)),
    "three arms, two panels": lambda: figure(panel(3), panel(3, title="Test loss", log=True), width=5),
    "eight arms": lambda: figure(panel(8, 30)),
    "thirty arms": lambda: figure(panel(30)),
    "two panels of nine arms": lambda: figure(panel(9), panel(9)),
    "differences": differences,
    "differences of thirty": lambda: differences(30),
}


@pytest.mark.filterwarnings("error", UNRELATED)
@pytest.mark.parametrize("case", CASES)
def test_every_text_can_be_read_and_lies_inside(case: str) -> None:
    drawn = CASES[case]()
    width, height = drawn.get_size_inches() * 72
    for text in texts(drawn):
        assert text.get_fontsize() >= 6, text
    drawn.draw_without_rendering()
    for text in drawn.texts + [text for legend in drawn.legends for text in legend.get_texts()]:
        box = text.get_window_extent().transformed(drawn.dpi_scale_trans.inverted())
        assert box.x0 * 72 >= -0.5, text
        assert box.x1 * 72 <= width + 0.5, text
        assert box.y0 * 72 >= -0.5, text
        assert box.y1 * 72 <= height + 0.5, text


@pytest.mark.parametrize("draw", [lambda **size: figure(panel(3), **size), differences], ids=["panel", "differences"])
def test_a_file_is_as_wide_and_high_as_asked_for(draw: Any) -> None:
    drawn = draw(width=89 / 25.4, height=2.5)
    wide = 89 / 25.4
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", saved(drawn, "pdf"))
    assert box
    assert [float(side) for side in box.groups()] == pytest.approx([72 * wide, 180], abs=0.01)
    root = ElementTree.fromstring(saved(drawn, "svg"))
    assert float(root.attrib["width"].removesuffix("pt")) == pytest.approx(72 * wide, abs=0.01)
    with Image.open(io.BytesIO(saved(drawn, "png"))) as image:
        assert image.size == (int(300 * wide), 750)
        assert image.info["dpi"][0] == pytest.approx(300, abs=0.1)


def test_text_is_text_in_pdf_and_svg() -> None:
    drawn = figure(panel(3))
    root = ElementTree.fromstring(saved(drawn, "svg"))
    written = {"".join(element.itertext()) for element in root.iter(f"{SVG}text")}
    assert {"none", "clipnorm-1", "clipnorm-2", "epoch", "Training loss (nats)"} <= written
    content = saved(drawn, "pdf")
    assert b"/Type3" not in content
    assert b"/FontFile2" in content  # TrueType, embedded
    assert {"none", "clipnorm-1", "epoch"} <= set(pdf_texts(content))


def pdf_texts(content: bytes) -> list[str]:
    """What the streams of a PDF write, a text each time."""
    packed = re.findall(rb"FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    written = [found for each in packed for found in re.findall(rb"\[ (.*?) \]\s+TJ", zlib.decompress(each), re.DOTALL)]
    pieces = [b"".join(re.findall(rb"\(((?:\\.|[^\\)])*)\)", text, re.DOTALL)) for text in written]
    return [re.sub(rb"\\(.)", rb"\1", piece, flags=re.DOTALL).decode("utf-16-be") for piece in pieces]


@pytest.mark.parametrize(
    ("case", "form"),
    [
        *(("three arms, two panels", form) for form in ("pdf", "svg", "png")),
        *((case, "svg") for case in ("two panels of nine arms", "differences")),
        *(
            pytest.param(case, form, marks=pytest.mark.slow)
            for case, form in itertools.product(("two panels of nine arms", "differences"), ("pdf", "png"))
        ),
    ],
)
def test_the_same_runs_give_the_same_bytes(case: str, form: str) -> None:
    first, second = saved(CASES[case](), form), saved(CASES[case](), form)
    assert first == second
    assert plots.CREATOR.encode() in first
    assert b"Date" not in first.replace(b"FlateDecode", b"")


def test_a_figure_has_no_title_and_its_legend_stands_above_the_data() -> None:
    drawn = figure(panel(3))
    saved(drawn, "svg")
    [axes] = drawn.axes
    assert [axes.get_title(loc=place) for place in ("left", "center", "right")] == ["", "", ""]
    [legend] = drawn.legends
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1


def test_several_panels_share_a_legend_and_have_letters() -> None:
    drawn = figure(panel(3), panel(3, title="Test loss"), width=5)
    assert [axes.get_title(loc="left") for axes in drawn.axes] == ["(a)", "(b)"]
    assert [axes.get_ylabel().replace("\n", " ") for axes in drawn.axes] == ["Training loss (nats)", "Test loss (nats)"]
    assert len(drawn.legends) == 1


def test_thresholds_are_named_with_their_arm_and_those_out_of_sight_are_not() -> None:
    made = panel(3, thresholds={"clipnorm-1": (0.5, "each variable"), "clipnorm-2": (900.0, "each variable")})
    told = [text.get_text() for text in figure(made).legends[0].get_texts()]
    assert told == ["none", "clipnorm-1", "clipnorm-2", "threshold 0.5 (clipnorm-1)"]


def test_a_height_that_is_too_low_is_refused_with_what_it_takes() -> None:
    for draw in (
        lambda height: figure(panel(3), height=height),
        lambda height: figure(panel(30), height=height),
        differences_of_30,
    ):
        with pytest.raises(TooLowError) as refused:
            draw(0.5)
        drawn = draw(refused.value.least)
        assert drawn.get_size_inches()[1] == refused.value.least


def differences_of_30(height: float) -> Figure:
    return differences(30, height=height)


# Many arms.


def small_panels(drawn: Figure) -> dict[str, Axes]:
    return {axes.get_title(loc="left"): axes for axes in drawn.axes}


@pytest.mark.parametrize("arms", [9, *slowly(30), MOST])
def test_each_of_many_arms_stands_out_in_a_panel_of_its_own(arms: int) -> None:
    made = panel(arms)
    for drawn in (figure(made, width=7), plots.comparison_figure([made], columns=1)):
        found = small_panels(drawn)
        assert list(found) == [curve.name for curve in made.curves]
        assert len({(axes.get_xlim(), axes.get_ylim()) for axes in found.values()}) == 1
        for curve in made.curves:
            bold = max(found[curve.name].lines, key=lambda line: line.get_linewidth())
            assert bold.get_ydata() == pytest.approx(curve.values.mean(axis=0))
        places = [axes.get_position() for axes in found.values()]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(places, 2))


def test_a_small_panel_says_why_it_is_empty() -> None:
    made = panel(9)
    nothing = Curve("clipnorm-3", np.arange(1.0, 11), np.full((3, 10), np.nan), [None] * 3, absent="not stored")
    curves = [nothing if curve.name == nothing.name else curve for curve in made.curves]
    found = small_panels(figure(Panel("Training loss", "nats", curves)))
    assert [text.get_text() for text in found["clipnorm-3"].texts] == ["not stored"]
    assert not found["clipnorm-4"].texts


def test_what_long_names_share_is_told_once() -> None:
    names = Names.of([f"{rule}+optimizer.learning_rate={rate}" for rule in ("none", "clipnorm") for rate in (0.1, 1)])
    assert names.pattern == "*+optimizer.learning_rate=*"
    assert list(names.labels.values()) == ["none, 0.1", "none, 1", "clipnorm, 0.1", "clipnorm, 1"]
    assert Names.of(["explode-none", "explode-clipnorm"]).pattern == ""


# Many seeds.


def opacity(axes: Axes) -> float:
    """Of single runs."""
    [alpha] = {found.get_alpha() for found in axes.collections if isinstance(found, LineCollection)}
    assert alpha is not None
    return float(alpha)


def test_single_runs_fade_with_their_number_beneath_intervals_that_do_not() -> None:
    shown = {seeds: figure(panel(2, seeds)).axes[0] for seeds in (3, 30, 200)}
    assert opacity(shown[3]) > opacity(shown[30]) > opacity(shown[200]) > 0
    for seeds, axes in shown.items():
        bands = [found for found in axes.collections if isinstance(found, FillBetweenPolyCollection)]
        runs = [found for found in axes.collections if isinstance(found, LineCollection)]
        assert {band.get_alpha() for band in bands} == {0.2}
        assert min(band.get_zorder() for band in bands) > max(each.get_zorder() for each in runs)
        assert all(len(each.get_segments()) == seeds for each in runs)
