"""Reproductions with made-up figures: every arm stored as if it had been trained, so that each claim's answer is known."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import store_run
from matplotlib.figure import Figure

from gradclip_cli import plots
from gradclip_cli.article.claims.remedies import COUNTERPARTS, REMEDIES
from gradclip_cli.article.reproduce import config_name

SEEDS = list(range(9))


# On how many of twelve steps each variable was clipped, in arms whose output layer has thresholds of its own or not.
CLIPPED = {"lstm/kernel": 6, "dense/kernel": 3}
# All arms of the reproduction with figures that support every claim.
SUPPORTING: dict[str, dict[str, Any]] = {
    "none": {"loss": 1.0},
    "clipnorm": {"loss": 0.95, "largest_applied": 1.0, "clipped_steps": CLIPPED},
    "clipvalue": {"loss": 0.9, "largest_applied": 1.0},
    "control": {"loss": 1.0},
    "wide-output": {"loss": 0.96, "largest_applied": 1.0, "clipped_steps": CLIPPED},
    "explode-none": {"loss": 1.0, "status": "diverged"},
    "explode-clipnorm": {"loss": 0.5, "largest_applied": 1.0 + 5e-7},
    **{arm: {"loss": 0.8} for arm in REMEDIES},
    **{arm: {"loss": 1.0, "status": "diverged"} for arm in COUNTERPARTS},
    "adam-none": {"loss": 0.5},
    "adam-clipnorm": {"loss": 0.5, "largest_applied": 1.0},
    "adam-clipvalue": {"loss": 0.5, "largest_applied": 1.0},
}

# The verdicts on them.
SUPPORTED = {
    "C1": "supported",
    "C2": "supported at SGD 0.01",
    "C3": "supported at SGD 0.01",
    "C4": "supported in a setting chosen to diverge",
    "C5": "supported in the setting of C4",
    "C6": "escapes: supported; learns within 12 steps: supported",
    "C7": "supported",
    "C8": "supported for this detector",
}


def figures_of(arm: str, changes: dict[str, Any]) -> dict[str, Any]:
    figures = {"health": {"first_spike": None, "first_explosion": None}, "status": "complete"}
    figures |= SUPPORTING[arm] | changes.get(arm.replace("-", "_"), {})
    if figures["status"] == "diverged":  # a run of one epoch of four steps, warned of at its second
        figures["health"] = {"first_spike": {"step": 2}, "first_explosion": None, **changes.get("warnings", {})}
    return figures


def store_arm(results: Path, arm: str, figures: dict[str, Any]) -> None:
    others, base = {key: value for key, value in figures.items() if key != "loss"}, config_name(arm)
    for seed in SEEDS:
        losses, diverged = [2.0, 1.5 * figures["loss"], figures["loss"] + 0.01 * np.sin(seed + len(arm))], None
        if figures["status"] == "diverged":
            losses, diverged = [2.0], {"step": 40 + seed, "told": "x"}
        store_run(results, arm, seed, losses, base=base, diverged=diverged, **others)


@functools.cache
def supporting(settings: tuple[str, ...] = ()) -> tempfile.TemporaryDirectory[str]:
    """The arms that support every claim, stored once to be copied."""
    folder = tempfile.TemporaryDirectory()
    for arm in SUPPORTING:
        store_arm(Path(folder.name), arm, {**figures_of(arm, {}), "settings": settings})
    return folder


def store_all(results: Path, settings: Sequence[str] = (), **changes: Any) -> None:
    """All arms with figures that support every claim, but for what `changes` says of an arm."""
    for arm in SUPPORTING:
        figures = figures_of(arm, changes)
        if figures != figures_of(arm, {}):
            store_arm(results, arm, {**figures, "settings": settings})
        else:
            shutil.copytree(Path(supporting(tuple(settings)).name) / arm, results / arm)


def save_only(monkeypatch: pytest.MonkeyPatch, suffix: str, name: str = "") -> None:
    """Let pictures be composed as ever, but saved only where their files are called so: those at which a test looks."""
    save = plots.save

    def chosen(figure: Figure, paths: Sequence[Path]) -> None:
        save(figure, [path for path in paths if path.suffix == suffix and path.name.startswith(name)])

    monkeypatch.setattr(plots, "save", chosen)
