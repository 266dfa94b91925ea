"""The values of all pairs: those that are found without making all are those that all of them have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli.arrays import FloatArray
from gradclip_cli.evidence import pairs
from gradclip_cli.evidence.pairs import Pairs

SCORES = st.lists(st.floats(-1e3, 1e3) | st.integers(-3, 3).map(float), min_size=1, max_size=12).map(np.array)


def averages(values: FloatArray, rounding: float) -> FloatArray:
    first, second = np.triu_indices(len(values))
    return in_order((values[first] + values[second]) / 2, rounding)


def differences(ours: FloatArray, theirs: FloatArray, rounding: float) -> FloatArray:
    return in_order(np.subtract.outer(ours, theirs).ravel(), rounding)


def in_order(values: FloatArray, rounding: float) -> FloatArray:
    return np.sort(np.where(np.abs(values) <= rounding, 0.0, values))


def require_same(found: Pairs, expected: FloatArray) -> None:
    assert [found[rank] for rank in range(len(found))] == expected.tolist()
    assert [found[-rank] for rank in range(1, 4) if rank <= len(found)] == expected[::-1][:3].tolist()
    assert found.median == np.median(expected)
    assert (found.positive, found.negative) == ((expected > 0).sum(), (expected < 0).sum())


@given(values=SCORES)
@pytest.mark.parametrize("made", [pairs.MADE, 3])
def test_averages(values: FloatArray, made: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pairs, "MADE", made)
        require_same(Pairs.averages(values, 1e-12), averages(values, 1e-12))


@given(ours=SCORES, theirs=SCORES)
@pytest.mark.parametrize("made", [pairs.MADE, 3])
def test_differences(ours: FloatArray, theirs: FloatArray, made: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pairs, "MADE", made)
        require_same(Pairs.differences(ours, theirs, 1e-12), differences(ours, theirs, 1e-12))


def test_of_thousands_the_middle_and_the_ends_are_those_of_all() -> None:
    values = np.round(np.random.default_rng(0).normal(size=2000), 3)
    found, expected = Pairs.averages(values, 1e-12), averages(values, 1e-12)
    ranks = [0, 1, 1000, len(expected) // 3, len(expected) - 1]
    assert [found[rank] for rank in ranks] == expected[ranks].tolist()
    assert found.median == np.median(expected)
    assert (found.positive, found.negative) == ((expected > 0).sum(), (expected < 0).sum())


def test_beyond_either_end_there_is_none() -> None:
    found = Pairs.averages(np.arange(3.0), 0.0)
    for rank in (6, -7):
        with pytest.raises(IndexError, match=str(rank)):
            found[rank]
