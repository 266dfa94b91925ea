"""Figures show what they are given: every arm named, divergence marked, nothing on top of each other."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from gradclip_cli.plots import Curve, Panel, comparison_figure, save


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


def test_names_do_not_overlap() -> None:
    names = [f"arm-{index}" for index in range(6)]
    figure = comparison_figure(panels(names, 2, 4))
    for axes in figure.axes:
        boxes = sorted((text.get_window_extent() for text in axes.texts if text.get_text() in names), key=lambda box: box.y0)
        for lower, upper in itertools.pairwise(boxes):
            assert upper.y0 >= lower.y1 - 4


@pytest.mark.parametrize("diverged", [0.4, 2.5])
def test_a_diverged_run_ends_in_a_cross(diverged: float) -> None:
    for axes in comparison_figure(panels(["a"], 2, 4, diverged)).axes:
        crosses = [line for line in axes.lines if line.get_marker() == "X"]
        assert [line.get_xdata()[0] for line in crosses] == [diverged]


def test_one_epoch_and_no_epoch_can_be_drawn(tmp_path: Path) -> None:
    for epochs in (0, 1):
        save(comparison_figure(panels(["a", "b"], 1, epochs)), [tmp_path / f"{epochs}.png", tmp_path / f"{epochs}.svg"])
    assert len(list(tmp_path.iterdir())) == 4
