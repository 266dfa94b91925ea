"""The window of recent norms against NumPy's own figures."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli.gradients import window

NORMS = st.lists(st.floats(0, 2.0**120, width=32, allow_subnormal=False), max_size=30)


@given(norms=NORMS, size=st.integers(1, 12))
def test_mean_and_deviation_are_numpy_s(norms: list[float], size: int) -> None:
    """Also where squares overflow float32."""
    memory: Any = window.empty(size)
    for norm in norms:
        memory = window.remembered(memory, np.float32(norm), np)
    mean, deviation = window.mean_and_deviation(memory, np)
    seen = np.array(norms[-size:], np.float64)
    largest = seen.max(initial=0)
    np.testing.assert_allclose(mean, seen.mean() if len(seen) else 0, rtol=1e-5, atol=1e-37)
    np.testing.assert_allclose(deviation, seen.std(ddof=1) if len(seen) > 1 else 0, rtol=1e-4, atol=1e-6 * largest + 1e-37)
