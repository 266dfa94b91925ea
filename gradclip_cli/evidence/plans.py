"""What was planned for the runs of a results folder, as it stands on record, and which seeds and metrics verdicts there rest on.

`reproduce` and `sweep` write `plan.json` before their first run (`intentions`). Before there was one, `reproduce` laid down its
seeds in `experiment.json`, and `sweep` named them in the `sweep.json` of its report: both are read as plans of seeds alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, NonNegativeInt, TypeAdapter, ValidationError

from gradclip_cli.errors import StoreError
from gradclip_cli.evidence.stats import LEVEL
from gradclip_cli.files import read_json

PLAN_SCHEMA = 1
EXPERIMENT_SCHEMA = 1
SWEEP_SCHEMA = 1
STUDY_SCHEMA = 1
COMPARISON_SCHEMA = 3

PLAN = "plan.json"
EXPERIMENT = "experiment.json"
SWEEP = "sweep.json"
STUDY = "study.json"
COMPARISON = "comparison.json"
BEST = "best"
"""Folder of a sweep's runs at each row's best column."""
TUNING = "tuning"
"""Folder of the candidates' runs of a study's tuned arms."""
MOST_PLAN_BYTES = 100_000_000
"""Of a plan, which holds the whole config of every arm."""

SIGNED_RANK = "exact signed-rank test of the typical difference, paired by seed, two-sided"
BINOMIAL = "exact binomial test of the share against one half, two-sided"

_SCHEMAS: Mapping[str, int] = {PLAN: PLAN_SCHEMA, EXPERIMENT: EXPERIMENT_SCHEMA, SWEEP: SWEEP_SCHEMA}
"""Of the files that may hold a plan, the one that counts first."""
_SEEDS: TypeAdapter[list[int]] = TypeAdapter(list[NonNegativeInt])


class OnRecord(BaseModel):
    """A part of a file that tells what was planned or looked at; what a newer gradclip says besides is passed over."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


Record = TypeVar("Record", bound=OnRecord)


class PlannedTest(OnRecord):
    """Which arm is held against which baseline by which metric, and how; without a baseline the arm is judged alone."""

    arm: str
    baseline: str | None = None
    metric: str
    test: str = SIGNED_RANK
    level: float = LEVEL
    family: str = ""
    """The tests that p is adjusted over by Holm."""


class Look(OnRecord):
    """One comparison of stored runs that somebody saw; what an older record doesn't tell is None."""

    when: str | None = None
    arms: list[str]
    baseline: str | None = None
    metric: str | None = None
    seeds: list[NonNegativeInt]

    def is_same(self, other: Look) -> bool:
        """Whether two looks show the same: these arms, against this baseline, by this metric, on these seeds."""
        ours, theirs = ((set(look.arms), look.baseline, look.metric, set(look.seeds)) for look in (self, other))
        return ours == theirs


class Seen(OnRecord):
    """What was there of a plan's runs already when it was written."""

    runs: dict[str, list[NonNegativeInt]]
    """By arm: the planned seeds that were finished; `best/` and an arm where these were a sweep's fresh ones."""
    looks: list[Look]
    unknown: list[str]
    """Sentences: records that could not be read."""


class PlanRecord(OnRecord):
    """A whole plan, as it stands in `plan.json`."""

    kind: str
    written: str
    arms: dict[str, dict[str, Any]]
    """By name: the whole config without the seed."""
    seeds: list[NonNegativeInt]
    fresh_seeds: list[NonNegativeInt]
    fresh_arms: str | None
    """Which arms are trained with the fresh seeds, in words."""
    tuned: dict[str, list[NonNegativeInt]] = {}
    """Arms that are chosen among others: by name, the seeds that these are trained with."""
    metrics: list[str]
    tests: list[PlannedTest]
    rules: dict[str, str]
    rules_sha256: str
    versions: dict[str, str]
    git_commit: str | None
    seen: Seen


class SeedsRecord(OnRecord):
    """A plan of seeds alone, from before there were others; `started` where it was written before the first run."""

    seeds: list[NonNegativeInt]
    fresh_seeds: list[NonNegativeInt] = []
    started: str | None = None


@dataclass(frozen=True)
class Plan:
    """What verdicts on a folder's runs rest on, and the name of the file that says so."""

    seeds: Sequence[int]
    file: str
    metrics: Sequence[str] = ()
    """None where only seeds were planned."""


def read_plan(results: Path) -> Plan | None:
    """What was planned for the runs in this folder; None where nothing was. Raises StoreError where the plan can't be read."""
    for path, schema, key in _places(results):
        if os.path.lexists(path):
            content = read_json(path, schema, MOST_PLAN_BYTES)
            seeds = _seeds(path, content, key)
            metrics = checked(PlanRecord, path, content).metrics if path.name == PLAN else ()
            return Plan(seeds, path.name, metrics) if seeds else None
    return None


def _places(results: Path) -> Iterator[tuple[Path, int, str]]:
    """Files that may hold a plan for this folder, the one that counts first, each with its schema and the key of the seeds."""
    yield from ((results / name, schema, "seeds") for name, schema in _SCHEMAS.items())
    if is_best_of_a_sweep(results):
        sweep = results.resolve().parent
        yield from ((sweep / name, _SCHEMAS[name], "fresh_seeds") for name in (PLAN, SWEEP))


def is_best_of_a_sweep(folder: Path) -> bool:
    """Whether a folder holds the runs, or the comparison, at the best columns of a sweep one folder up."""
    whole = folder.resolve()
    return whole.name == BEST and any(os.path.lexists(whole.parent / name) for name in (PLAN, SWEEP))


def plan_on_record(results: Path) -> tuple[Path, PlanRecord | SeedsRecord] | None:
    """The plan that stands in a folder, whole, with its file; None where none does. Raises StoreError where it can't be read."""
    for name, schema in _SCHEMAS.items():
        path = results / name
        if os.path.lexists(path):
            content = read_json(path, schema, MOST_PLAN_BYTES)
            return path, checked(PlanRecord, path, content) if name == PLAN else checked(SeedsRecord, path, content)
    return None


def is_planned(results: Path) -> bool:
    """Whether a folder has a plan, be it one that can't be read."""
    return any(os.path.lexists(results / name) for name in _SCHEMAS)


def checked(kind: type[Record], path: Path, content: Mapping[str, Any]) -> Record:
    """A file's content as the record that it should be. Raises StoreError where it is something else."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise StoreError(f"{path}: can't be read: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _seeds(path: Path, content: Mapping[str, Any], key: str) -> list[int]:
    try:
        return _SEEDS.validate_python(content.get(key), strict=True)
    except ValidationError as error:
        raise StoreError(f"{path}: can't be read: its {key} are missing or wrong ({error.errors()[0]['msg']})") from None
