"""Numbers as a page holds them: many of them in 16 bits each, single ones in a few digits."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from gradclip_cli.arrays import FloatArray

STEPS = 65_534
"""Into so many equal parts the range of packed numbers is cut."""


def packed(values: FloatArray, *, log: bool = False) -> dict[str, Any]:
    """Numbers (n,) as the page's script unpacks them: codes from 1 over their range, or over that of their logarithms.

    What is not finite, or on a logarithmic scale not above zero, has the code 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.log10(values) if log else np.asarray(values, dtype=float)
    there = np.isfinite(scaled)
    low, high = (float(scaled[there].min()), float(scaled[there].max())) if there.any() else (0.0, 0.0)
    codes = np.zeros(len(scaled), dtype="<u2")
    codes[there] = 1 + np.round((scaled[there] - low) / ((high - low) or 1.0) * STEPS)
    return {"low": low, "high": high, "log": log, "codes": base64.b64encode(codes.tobytes()).decode()}


def short(value: float, digits: int = 5) -> float | None:
    """A number in so many significant digits for JSON; None where it is not finite."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
