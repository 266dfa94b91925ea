"""Components of variance: within a seed, between seeds, and the share within."""

from __future__ import annotations

import numpy as np
import pytest

from gradclip_cli.evidence.components import Components


def test_known_spreads_are_found() -> None:
    random = np.random.default_rng(0)
    seeds = 500
    found = Components.of(3 * random.normal(size=(seeds, 1)) + 2 * random.normal(size=(seeds, 8)))
    assert found.within.value == pytest.approx(2, rel=0.05)
    assert found.between.value == pytest.approx(3, rel=0.1)
    assert found.share_within.value == pytest.approx(4 / 13, rel=0.1)
    assert found.within.low < 2 < found.within.high
    assert found.between.low < 3 < found.between.high


def test_the_estimates_are_those_of_mean_squares() -> None:
    values = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 6.0], [0.0, 5.0, 1.0]])
    runs, means = values.shape[1], values.mean(axis=1)
    within = ((values - means[:, None]) ** 2).sum() / (3 * (runs - 1))
    between = runs * ((means - means.mean()) ** 2).sum() / 2
    found = Components.of(values)
    assert found.within.value**2 == pytest.approx(within)
    assert found.between.value**2 == pytest.approx(max(0.0, (between - within) / runs))


def test_seeds_that_differ_by_their_runs_only_do_not_spread() -> None:
    found = Components.of(np.array([[1.0, 3.0], [3.0, 1.0], [1.0, 3.0]]))
    assert (found.between.value, found.share_within.value) == (0.0, 1.0)


@pytest.mark.parametrize("values", [np.ones((3, 1)), np.array([[1.0, np.nan], [1.0, 2.0]]), np.ones(3)])
def test_what_has_no_spread_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="two finite values"):
        Components.of(values)
