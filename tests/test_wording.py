"""A number reads as what it is: nothing that is not zero reads as zero, one thing is no plural."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli.wording import MINUS, counted, decimals, percent


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 3))
def test_only_zero_reads_as_zero(value: float, digits: int) -> None:
    told = decimals(value, digits, sign=True)
    assert (float(told.replace(MINUS, "-")) == 0) == (value == 0)
    assert told.startswith(MINUS if value < 0 else "+" if value > 0 else "0")


@pytest.mark.parametrize(
    ("value", "digits", "told"),
    [
        (-0.012, 1, f"{MINUS}0.012"),
        (-0.0, 1, "0.0"),
        (0.04, 1, "0.04"),
        (0.06, 1, "0.1"),
        (0.4, 0, "0.4"),
        (0.0000098, 3, "0.0000098"),
        (2e-12, 3, f"2.0e{MINUS}12"),
        (12, 0, "12"),
    ],
)
def test_decimals(value: float, digits: int, told: str) -> None:
    assert decimals(value, digits) == told


def test_shares_are_none_and_all_only_where_meant() -> None:
    shares = [0, 1e-6, 0.383, 0.99999, 1, math.nan]
    assert [percent(share) for share in shares] == ["0.0%", "0.0001%", "38.3%", ">99.9%", "100.0%", "-"]
    assert [percent(share, 0) for share in (0, 0.0033, 0.97, 0.998, 1)] == ["0%", "0.33%", "97%", ">99%", "100%"]


def test_plurals() -> None:
    assert [counted(number, "seed") for number in (0, 1, 2, 5000)] == ["0 seeds", "1 seed", "2 seeds", "5,000 seeds"]
