"""What is said before training begins counts the workers that there will be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gradclip_cli.cli import planning, trial
from gradclip_cli.config import loading
from gradclip_cli.runs import many, memory
from gradclip_cli.runs.workers import in_worker_processes

WAY = replace(in_worker_processes(), at_once=4, cores=4)


def test_an_estimate_counts_the_workers_that_memory_has_room_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    planned = many.plan([loading.load("none"), loading.load("clipnorm")], range(10), tmp_path)
    alone, together = (planning.estimate(planned, replace(WAY, at_once=workers)) for workers in (1, 4))
    assert alone != together
    monkeypatch.setattr(memory, "free", lambda: 1)
    assert planning.estimate(planned, WAY) == alone
    chosen = replace(WAY, number_chosen=True)
    assert planning.estimate(planned, chosen) == together


@pytest.mark.parametrize(("free", "workers"), [(10**12, 4), (2 * 10**9, 2), (1, 1)])
def test_a_trial_counts_them_by_what_a_worker_was_measured_to_take(
    free: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free", lambda: free)
    checked: Any = SimpleNamespace(worker_memory=10**9, config=loading.load("none"))
    options: Any = SimpleNamespace(way=WAY)
    assert trial._workers(checked, options) == workers
