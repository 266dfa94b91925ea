"""What recording costs, as the benchmark measured it: from `results/bench/recorders.json`, where that is there.

    {"machine": "...", "versions": "...", "loops": [{"loop": "...", "plain_ms": 4.1, "recorded_ms": 4.6, "every_10_ms": 4.2}]}

All times are milliseconds a step: of the loop by itself, with a recorder, and with one that records one step in ten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frameworks.tables import table

MEASURED = Path(__file__).parents[2] / "results" / "bench" / "recorders.json"
HEADER = ("loop", "alone", "recorded", "one step in ten recorded")


def costs_section(measured: Path = MEASURED) -> str:
    """A section of the page; nothing where nothing was measured."""
    if not measured.exists():
        return ""
    found = json.loads(measured.read_text(encoding="utf-8"))
    times = table(HEADER, [row(loop) for loop in found["loops"]])
    told = f"Milliseconds a step, medians, on {found['machine']}, with {found['versions']}."
    noise = "The machine is shared: some percent are noise, and so it is where one step in ten seems dearer than each."
    return f"## What recording costs\n\n{told} {noise}\n\n{times}"


def row(loop: Mapping[str, Any]) -> list[str]:
    """A loop's times, and how much longer its steps take when they are recorded."""
    plain = loop["plain_ms"]
    recorded = [f"{loop[way]:.3g} ({loop[way] / plain - 1:+.0%})" for way in ("recorded_ms", "every_10_ms")]
    return [loop["loop"], f"{plain:.3g}", *recorded]
