"""Made-up arms, whose figures are known."""

from __future__ import annotations

from pathlib import Path

from conftest import store_run

from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.judging import AgainstBaseline
from gradclip_cli.evidence.metrics import METRICS

OF_ONE_RUN = [name for name, metric in METRICS.items() if not metric.of_replicates]
"""Metrics that score a seed by one run."""


def store_arm(
    results: Path, name: str, finals: list[float], *, first_seed: int = 0, base: str = "none", **changes: object
) -> None:
    """An arm whose runs end at these training losses; its accuracy is 0.9 minus a third of them."""
    for seed, final in enumerate(finals, first_seed):
        store_run(results, name, seed, [2.0, 1.5, final], base=base, **changes)


def store_many(results: Path, arms: int, seeds: int) -> None:
    """So many arms of as many seeds: an unclipped one called `none`, and clipped ones of which each is a little better."""
    for arm in range(arms):
        losses = [1.0 + 0.01 * (7 * seed % seeds) - 0.005 * arm - 0.001 * (arm * seed % 5) for seed in range(seeds)]
        store_arm(results, f"rule-{arm}" if arm else "none", losses, base="clipvalue" if arm else "none")


BASE = [1.00, 1.05, 1.10, 0.95, 0.90, 1.20, 1.02, 0.98]


BETTER = [loss - 0.03 * seed for seed, loss in enumerate(BASE, 1)]


def against(compared: Comparison, arm: str) -> AgainstBaseline:
    found = next(part.against for part in compared.others if part.arm.name == arm)
    assert found is not None
    return found
