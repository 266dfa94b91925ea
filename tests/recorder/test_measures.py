"""What recorders measure: whether clipping acted is told from both measures, by one tolerance on all frameworks."""

from __future__ import annotations

import numpy as np
import pytest

from gradclip_cli.recorder.measures import changed, shortening


@pytest.mark.parametrize(
    ("before", "after", "acted"),
    [
        (1.0, 1.0, False),
        (1.0, 1 - 1.5e-6, False),  # the same gradient, measured otherwise
        (1.0, 1 - 3e-6, True),
        (1e30, 1.0, True),
        (np.inf, 1.0, True),
        (np.inf, np.inf, False),
        (np.nan, np.nan, False),
        (np.nan, 1.0, True),
        (0.0, 0.0, False),
    ],
)
def test_clipping_acted_where_a_measure_is_another_one(before: float, after: float, acted: bool) -> None:
    rows = np.array([[2.0, before], [2.0, 3.0]]), np.array([[2.0, after], [2.0, 3.0]])
    assert changed(*rows).tolist() == [acted, False]


def test_how_much_shorter_is_told_beyond_the_same_tolerance() -> None:
    before = np.array([[1.0, 4.0], [1.0, 1.0], [1.0, 1.0]])
    after = np.array([[1.0, 2.0], [1 - 1.5e-6, 1.0], [2.0, 1.0]])
    assert shortening(before, after).tolist() == [2.0, 0.0, 0.0]
