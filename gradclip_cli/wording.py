"""Numbers and things as they stand in a sentence or a table's cell. Imports nothing of ours, and nothing heavy."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"
MOST_PLACES = 8
"""Decimals of a small value, beyond which it is told with an exponent."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as 1 seed, 2 seeds or 5,000 steps."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def decimals(value: float, digits: int, *, sign: bool = False) -> str:
    """A finite value with so many decimals and a real minus; two significant digits where it would read as zero otherwise."""
    rounded = round(value, digits) + 0.0  # never minus zero
    if value and not rounded:
        places = 1 - math.floor(math.log10(abs(value)))
        shown = f"{value:.{places}f}".rstrip("0") if places <= MOST_PLACES else f"{value:.1e}"
    else:
        shown = f"{rounded:.{digits}f}"
    return f"{'+' if sign and value > 0 else ''}{shown}".replace("-", MINUS)


def percent(share: float, digits: int = 1) -> str:
    """A share such as 38.3%; none and all only where they are meant; a dash where it is not known."""
    if math.isnan(share):
        return "-"
    if share < 1 <= round(share, digits + 2):
        return f">{100 - 10**-digits:.{digits}f}%"
    return f"{decimals(100 * share, digits)}%"
