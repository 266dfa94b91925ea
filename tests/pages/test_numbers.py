"""Numbers as a page holds them: what is unpacked is what was packed, as near as 16 bits can tell."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import pytest

from gradclip_cli.arrays import FloatArray
from gradclip_cli.pages.numbers import STEPS, packed, short


def unpacked(held: dict[str, Any]) -> FloatArray:
    """As the page's script does it."""
    codes = np.frombuffer(base64.b64decode(held["codes"]), dtype="<u2").astype(float)
    values = held["low"] + (held["high"] - held["low"]) * (codes - 1) / STEPS
    return np.where(codes == 0, np.nan, 10**values if held["log"] else values)


def test_numbers_come_back_to_a_part_of_their_range() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    assert unpacked(packed(values)) == pytest.approx(values, abs=np.ptp(values) / STEPS)


def test_norms_come_back_to_a_thousandth_however_far_apart_they_are() -> None:
    values = 10.0 ** np.random.default_rng(0).uniform(-12, 12, size=1000)
    assert unpacked(packed(values, log=True)) == pytest.approx(values, rel=1e-3)


@pytest.mark.parametrize("log", [True, False])
def test_what_has_no_place_is_unknown(log: bool) -> None:
    found = unpacked(packed(np.array([1.0, np.nan, np.inf, 2.0]), log=log))
    assert found == pytest.approx([1.0, np.nan, np.nan, 2.0], nan_ok=True)
    assert np.isnan(unpacked(packed(np.array([np.nan]), log=log))).all()
    assert unpacked(packed(np.array([3.0, 3.0]), log=log)) == pytest.approx([3.0, 3.0])


def test_zero_has_no_place_among_logarithms() -> None:
    assert unpacked(packed(np.array([0.0, 5.0]), log=True)) == pytest.approx([np.nan, 5.0], nan_ok=True)


def test_a_single_number_has_few_digits_and_none_where_it_is_not_finite() -> None:
    assert [short(each) for each in (1.23456789, 0.0, math.nan, -math.inf)] == [1.2346, 0.0, None, None]
