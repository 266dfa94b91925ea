"""Comparisons as pictures: what clipping did has panels of its own, where it is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gradclip_cli.evidence import comparison, figures
from gradclip_cli.plots import Panel


def drawn(results: Path) -> list[Panel]:
    return figures.panels(comparison.compare(results, []))


def test_norms_before_and_after_clipping_stand_side_by_side_on_one_scale(two_arms: Path) -> None:
    *_, before, after, clipped, cut = panels = drawn(two_arms)
    assert len(panels) == 8
    assert "before" in before.title
    assert "after" in after.title
    assert before.thresholds == after.thresholds == {"clipvalue": (0.5, "each element")}
    assert (before.beside, after.beside) == (after.curves, before.curves)
    for curve, steps in zip(after.curves, before.curves, strict=True):
        assert (curve.values <= steps.values).all()
        assert curve.peaks is not None
    assert (clipped.bounds, cut.bounds) == ((0, 1), (0, 1))
    assert np.nanmax(cut.curves[1].values) > 0.5


def test_without_steps_there_is_no_row_of_what_clipping_left(two_arms: Path) -> None:
    for path in two_arms.glob("*/seed-*/steps.csv"):
        path.unlink()
    assert [panel.title for panel in drawn(two_arms)][4:] == [
        "Gradient norm before clipping: median and largest",
        "Clipped steps",
    ]


def test_an_arm_whose_steps_are_not_stored_is_named(two_arms: Path) -> None:
    for path in two_arms.glob("clipvalue/seed-*/steps.csv"):
        path.unlink()
    panels = drawn(two_arms)
    assert len(panels) == 8
    assert panels[5].without_line() == {"clipvalue": "not stored"}
