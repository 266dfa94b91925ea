"""Draws README's picture, docs/repeatability.png: three arms of the study of repeatability, from its stored figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gradclip_cli.evidence.samples import Sample
from gradclip_cli.plots import RepeatPanel, repeats_figure, save

DOCS = Path(__file__).parent
STUDY = DOCS.parent / "results" / "repeatability" / "study.json"
PICTURE = DOCS / "repeatability.png"
ARMS = {"none": "without clipping", "clipnorm": "clipped by norm", "clipvalue": "clipped by value"}


def panels() -> list[RepeatPanel]:
    """An arm's last test accuracies in percent, (seeds, runs of each), with the typical spread of a seed's runs."""
    stored = {arm["name"]: np.array(arm["last"]) for arm in json.loads(STUDY.read_text(encoding="utf-8"))["arms"]}
    spreads = {name: Sample.of(stored[name].std(axis=1, ddof=1)).typical for name in ARMS}
    return [RepeatPanel(title, stored[name], f"±{spreads[name]:.1f} points within a seed") for name, title in ARMS.items()]


if __name__ == "__main__":
    save(repeats_figure("test accuracy (%)", "8 runs of each of 30 seeds, which rounding alone tells apart", panels()), [PICTURE])
