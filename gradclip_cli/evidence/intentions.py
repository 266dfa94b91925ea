"""What an experiment is about to do, written into the results folder before its first run, with what was there already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gradclip_cli.config.schema import Config
from gradclip_cli.evidence.ledger import read_ledger
from gradclip_cli.evidence.plans import BEST, PLAN, PLAN_SCHEMA, TUNING, PlannedTest, PlanRecord, Seen, is_planned
from gradclip_cli.files import require_writable, write_atomically
from gradclip_cli.runs.metadata import FINISHED
from gradclip_cli.runs.provenance import provenance
from gradclip_cli.runs.store import runs


@dataclass(frozen=True, kw_only=True)
class Intention:
    """What an experiment trains, what it tests, and by which rules it decides."""

    kind: str
    configs: Sequence[Config]
    """One an arm; their seeds don't matter."""
    seeds: Sequence[int]
    fresh_seeds: Sequence[int] = ()
    fresh_arms: str | None = None
    """Which arms are trained with the fresh seeds, in words."""
    tuned: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Arms that are chosen among candidates, which stand among the configs: by name, the seeds that these are trained with."""
    tests: Sequence[PlannedTest] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
    """Texts by name."""

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        """Each arm's whole config but for the seed, by name."""
        return {config.name: config.model_dump(mode="json", exclude={"training": {"seed"}}) for config in self.configs}

    @property
    def metrics(self) -> list[str]:
        """What the tests go by, in their order."""
        return list(dict.fromkeys(test.metric for test in self.tests))

    @property
    def rules_sha256(self) -> str:
        """One SHA-256 over all rules, whatever their order."""
        return hashlib.sha256(json.dumps(dict(self.rules), sort_keys=True).encode()).hexdigest()

    @property
    def framework(self) -> str:
        """What trains."""
        return self.configs[0].engine.framework


def record_plan(results: Path, intention: Intention) -> None:
    """Lay down a plan before its first run; one that is there stays as it is. Raises StoreError."""
    if not is_planned(results):
        seen = _seen(results, intention)
        require_writable(results)
        content = {"schema": PLAN_SCHEMA, **_plan(intention, seen).model_dump()}
        write_atomically(results / PLAN, json.dumps(content, indent=1) + "\n")


def _plan(intention: Intention, seen: Seen) -> PlanRecord:
    found = provenance(intention.framework)
    return PlanRecord(
        kind=intention.kind,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        arms=intention.arms,
        seeds=list(intention.seeds),
        fresh_seeds=list(intention.fresh_seeds),
        fresh_arms=intention.fresh_arms,
        tuned={name: list(seeds) for name, seeds in intention.tuned.items()},
        metrics=intention.metrics,
        tests=list(intention.tests),
        rules=dict(intention.rules),
        rules_sha256=intention.rules_sha256,
        versions=found["versions"],
        git_commit=found["git_commit"],
        seen=seen,
    )


def _seen(results: Path, intention: Intention) -> Seen:
    """What is there of an intention's runs, and the looks that were taken. Raises StoreError where a pack is damaged."""
    grid, best = read_ledger(results), read_ledger(results / BEST)
    fresh = {f"{BEST}/{arm}": seeds for arm, seeds in _finished(results / BEST, intention.arms, intention.fresh_seeds).items()}
    tuning = {seed for seeds in intention.tuned.values() for seed in seeds}
    candidates = {f"{TUNING}/{arm}": seeds for arm, seeds in _finished(results / TUNING, intention.arms, tuning).items()}
    return Seen(
        runs=_finished(results, {*intention.arms, *intention.tuned}, intention.seeds) | candidates | fresh,
        looks=[*grid[0].looks, *best[0].looks],
        unknown=[*grid[1], *best[1]],
    )


def _finished(results: Path, arms: Collection[str], seeds: Collection[int]) -> dict[str, list[int]]:
    """By arm, the seeds among these whose runs are finished."""
    found: dict[str, list[int]] = {}
    planned = set(seeds)
    for run in runs(results) if planned else []:
        if run.arm in arms and run.seed in planned and run.status() in FINISHED:
            found.setdefault(run.arm, []).append(run.seed)
    return found
