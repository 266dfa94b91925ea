"""Made-up runs of problems of the user's own, whose figures are known: none of his code is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import Scores, store_run

REGRESSION = """
data: {npz: houses.npz}
model: {factory: "nowhere.py:build"}
loss: mean_squared_error
metrics: [mae]
"""
CLASSES = """
data: {npz: reviews.npz}
model: {factory: "nowhere.py:build"}
loss: sparse_categorical_crossentropy
"""
ERRORS: Scores = {"mae": (False, lambda loss: 1000 * loss)}
SHARES: Scores = {"top_3": (True, lambda loss: 1.5 - loss / 3), "accuracy": (True, lambda loss: 1 - loss / 3)}
LOSS_ALONE: Scores = {}
ENDS = [1.00, 1.05, 1.10, 0.95, 0.90, 1.20, 1.02, 0.98]
LOWER = [loss - 0.03 * seed for seed, loss in enumerate(ENDS, 1)]


def store_own(results: Path, arm: str, ends: list[float], *, text: str = REGRESSION, **changes: Any) -> None:
    """An arm whose runs end at these training losses; of a regression unless something else is said."""
    results.mkdir(parents=True, exist_ok=True)
    path = results.parent / f"mine{abs(hash(text))}.yaml"
    path.write_text(text)
    clipped = [] if arm.startswith("none") else ["clipping={mode: clipnorm, threshold: 1}"]
    given = {"scores": ERRORS, "chance": {}, "settings": clipped, **changes}
    for seed, end in enumerate(ends):
        store_run(results, arm, seed, [2.0, 1.5, end], base=str(path), **given)


def store_diverged(results: Path, arm: str, seed: int, losses: list[float], *, text: str = REGRESSION, **changes: Any) -> None:
    """A run that diverged after these epochs."""
    store_own(results, arm, [], text=text)
    given = {"scores": ERRORS, "chance": {}, "settings": ["clipping={mode: clipnorm, threshold: 1}"], **changes}
    base = str(results.parent / f"mine{abs(hash(text))}.yaml")
    store_run(results, arm, seed, losses, base=base, status="diverged", **given)
