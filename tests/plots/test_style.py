"""What all figures share."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import numpy.typing as npt
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from gradclip_cli.plots import DifferenceRow, differences_figure, save
from gradclip_cli.plots.comparison import FEW
from gradclip_cli.plots.style import ascending, ink, line_style, luminance, percent


def test_a_picture_of_any_size_has_a_number_of_pixels_that_can_be_drawn(tmp_path: Path) -> None:
    save(Figure(figsize=(900, 2)), [tmp_path / "wide.png"])
    assert matplotlib.image.imread(tmp_path / "wide.png").shape[1] < 2**16


def test_the_backend_that_somebody_chose_stays() -> None:
    code = (
        "import matplotlib\nmatplotlib.use('svg')\nimport matplotlib.pyplot\n"
        "import gradclip_cli.plots\nassert matplotlib.get_backend() == 'svg', matplotlib.get_backend()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_figure_looks_the_same_whoever_saves_it_in_whatever_style(tmp_path: Path) -> None:
    rows = [DifferenceRow("clipvalue", [0.1, 0.2, -0.1], 0.1, -0.1, 0.2, 0.07)]
    save(differences_figure("difference", rows), [tmp_path / "ours.png"])
    with matplotlib.rc_context({"font.size": 20, "grid.color": "red"}):
        differences_figure("difference", rows).savefig(tmp_path / "theirs.png", dpi=120)
    ours, theirs = (matplotlib.image.imread(tmp_path / name) for name in ("ours.png", "theirs.png"))
    assert np.array_equal(ours, theirs)


def test_a_notebook_shows_a_figure_by_itself_in_twice_as_many_dots() -> None:
    figure = differences_figure("difference", [])
    png, shown = figure._repr_png_()
    drawn = matplotlib.image.imread(io.BytesIO(png))
    assert drawn.shape[:2] == pytest.approx((2 * shown["height"], 2 * shown["width"]), abs=1)


def test_percentages_say_none_and_all_only_where_that_is_so() -> None:
    assert [percent(share) for share in (0, 1e-9, 0.5, 0.999, 1)] == ["0%", "<1%", "50%", ">99%", "100%"]


@given(st.lists(st.floats(-1, 2), min_size=1, max_size=9).map(np.array))
def test_names_are_moved_apart_as_little_as_possible(places: npt.NDArray[Any]) -> None:
    assert ascending(places) == pytest.approx(scipy.optimize.isotonic_regression(places).x)


def test_pale_colours_are_darkened_for_text() -> None:
    contrasts: npt.NDArray[Any] = np.array(
        [1.05 / (luminance(ink(colour)) + 0.05) for colour in ("#E69F00", "#56B4E9", "#CC79A7")]
    )
    assert (contrasts > 3).all()
    assert ink("#0072B2") == "#0072b2"


# Colours as they look without the cones for green: Machado, Oliveira and Fernandes 2009, severity 1, on linear channels.
DEUTERANOPIA = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
UNLIKE = 14
"""Steps of lightness, of 100, that two lines of one dash differ by at least."""


def lightness(colour: str, *, deuteranopia: bool) -> float:
    """CIE L*, 0 to 100."""
    if not deuteranopia:
        return float(116 * luminance(colour) ** (1 / 3) - 16) if luminance(colour) > 0.008856 else 0.0
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    light = float(np.clip(DEUTERANOPIA @ linear, 0, 1) @ [0.2126, 0.7152, 0.0722])
    return 116 * light ** (1 / 3) - 16 if light > 0.008856 else 0.0


@pytest.mark.parametrize("deuteranopia", [False, True], ids=["grey", "deuteranopia"])
def test_lines_that_share_axes_are_told_apart_by_dash_or_lightness(deuteranopia: bool) -> None:
    for one, other in itertools.combinations(map(line_style, range(FEW)), 2):
        apart = abs(lightness(one["color"], deuteranopia=deuteranopia) - lightness(other["color"], deuteranopia=deuteranopia))
        assert one["linestyle"] != other["linestyle"] or apart >= UNLIKE
