"""Folders with made-up runs, plans and looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conftest import store_run

from gradclip_cli.evidence import comparison, ledger
from gradclip_cli.evidence.questions import Question

WHOLE: dict[str, Any] = {
    "kind": "sweep",
    "written": "2030-01-01T00:00:00+00:00",
    "arms": {},
    "fresh_seeds": [],
    "fresh_arms": None,
    "metrics": [],
    "tests": [],
    "rules": {},
    "rules_sha256": "0" * 64,
    "versions": {},
    "git_commit": None,
    "seen": {"runs": {}, "looks": [], "unknown": []},
}
"""A plan with nothing in it."""


def store_arms(results: Path, seeds: range, *names: str) -> None:
    for name in names or ("none", "better"):
        for seed in seeds:
            store_run(results, name, seed, [2.0, 1.5, 1.0 + 0.01 * seed], base="none" if name.startswith("none") else "clipvalue")


def lay_down(path: Path, **content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": 1, **content}))


def write_plan(path: Path, **content: object) -> None:
    """A plan in the form that its file has."""
    lay_down(path, **{**(WHOLE if path.name == "plan.json" else {}), **content})


def record(results: Path, compared: comparison.Comparison) -> str | None:
    return ledger.record(results, compared.first_compared, [compared.look])


def look(results: Path, metric: str = "val_accuracy") -> comparison.Comparison:
    compared = comparison.compare(results, question=Question(metric))
    assert record(results, compared) is None
    return compared
