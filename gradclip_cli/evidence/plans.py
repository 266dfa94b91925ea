"""What p-values from a results folder are worth: the seeds that were planned there, and the looks that were taken since.

Seeds that somebody adds because of what a look has shown are no sample of their own. A plan is laid down by `reproduce` in
`experiment.json`, by `sweep` in `sweep.json`, which plans the fresh seeds of its `best/` too. The ledger of looks, `looks.json`,
holds each arm's seeds at the first one; a `comparison.json` from before there was a ledger counts as a look.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from gradclip_cli.errors import StoreError
from gradclip_cli.files import read_json, require_writable, write_atomically

EXPERIMENT_SCHEMA = 1
SWEEP_SCHEMA = 1
LOOKS_SCHEMA = 1
COMPARISON_SCHEMA = 3

EXPERIMENT = "experiment.json"
SWEEP = "sweep.json"
LOOKS = "looks.json"
COMPARISON = "comparison.json"
BEST = "best"
"""Folder of a sweep's runs at each row's best column."""

Looks = dict[str, list[int]]
"""By arm: its seeds at the first comparison."""

_SEEDS: TypeAdapter[list[int]] = TypeAdapter(list[NonNegativeInt])
_LOOKS: TypeAdapter[Looks] = TypeAdapter(dict[str, list[NonNegativeInt]])


@dataclass(frozen=True)
class Plan:
    """The seeds that an experiment planned, and the name of the file that says so."""

    seeds: Sequence[int]
    file: str


def read_plan(results: Path) -> Plan | None:
    """What was planned for the runs in this folder; None where nothing was. Raises StoreError where the plan can't be read."""
    places = [(results / EXPERIMENT, "seeds", EXPERIMENT_SCHEMA), (results / SWEEP, "seeds", SWEEP_SCHEMA)]
    if is_best_of_a_sweep(results):
        places.append((results.resolve().parent / SWEEP, "fresh_seeds", SWEEP_SCHEMA))
    for path, key, schema in places:
        if os.path.lexists(path):
            seeds = _checked(_SEEDS, path, read_json(path, schema), key)
            return Plan(seeds, path.name) if seeds else None
    return None


def is_best_of_a_sweep(folder: Path) -> bool:
    """Whether a folder holds the runs, or the comparison, at the best columns of a sweep one folder up."""
    whole = folder.resolve()
    return whole.name == BEST and os.path.lexists(whole.parent / SWEEP)


def record_plan(results: Path, seeds: Sequence[int]) -> None:
    """Lay down an experiment's seeds before its first run; a plan that is there already stays. Raises StoreError."""
    path = results / EXPERIMENT
    if not os.path.lexists(path):
        require_writable(results)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        content = {"schema": EXPERIMENT_SCHEMA, "seeds": list(seeds), "started": started}
        write_atomically(path, json.dumps(content, indent=2) + "\n")


def earlier_looks(results: Path) -> tuple[Looks, list[str]]:
    """The looks on record for this folder, and a warning for each record that can't be read."""
    looks: Looks = {}
    warnings = []
    for name, schema in ((COMPARISON, COMPARISON_SCHEMA), (LOOKS, LOOKS_SCHEMA)):  # what the ledger says wins
        try:
            looks |= _read_looks(results / name, schema)
        except StoreError as error:
            warnings.append(f"earlier looks are not known: {error}")
    return looks, warnings


def record_look(results: Path, looks: Mapping[str, Sequence[int]]) -> str | None:
    """Add arms with their seeds to the folder's ledger; an arm that is in it stays as it is.

    Returns None, or why the look could not be recorded: that must not keep anybody from looking.
    """
    path = results / LOOKS
    try:
        known = _read_looks(path, LOOKS_SCHEMA)
        added = {arm: sorted(seeds) for arm, seeds in looks.items() if arm not in known}
        if added:
            write_atomically(path, json.dumps({"schema": LOOKS_SCHEMA, "first_compared": {**known, **added}}) + "\n")
    except (StoreError, OSError) as error:
        why = str(error) if isinstance(error, StoreError) else f"{path}: can't be written ({error.strerror})"
        return f"this look is not on record, so seeds that are added after it won't be told as such: {why}"
    return None


def _read_looks(path: Path, schema: int) -> Looks:
    if not os.path.lexists(path):
        return {}
    content = read_json(path, schema)
    if path.name == COMPARISON:
        content.setdefault("first_compared", {})  # the oldest ones say nothing of looks
    looks: Looks = _checked(_LOOKS, path, content, "first_compared")
    return looks


def _checked(adapter: TypeAdapter[Any], path: Path, content: Mapping[str, Any], key: str) -> Any:
    try:
        return adapter.validate_python(content.get(key), strict=True)
    except ValidationError as error:
        raise StoreError(f"{path}: can't be read: its {key} are missing or wrong ({error.errors()[0]['msg']})") from None
