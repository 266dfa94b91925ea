"""The ledger of looks: which comparisons of a results folder's runs somebody has seen, in `looks.json` there.

Whatever folder a comparison is written to, the look counts where the runs are. The same comparison seen again is no new look.
A `comparison.json` from before there was a ledger counts as a look, and so do the ledger's own entries of before looks were
described: what they were about isn't known.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import NonNegativeInt

from gradclip_cli.errors import StoreError
from gradclip_cli.evidence.plans import COMPARISON, COMPARISON_SCHEMA, Look, OnRecord, checked
from gradclip_cli.files import read_json, write_atomically
from gradclip_cli.runs import locks

LOOKS = "looks.json"
LOOKS_SCHEMA = 2

FirstCompared = Mapping[str, Sequence[int]]
"""By arm: its seeds at the first comparison."""


class _Record(OnRecord):
    """What a ledger holds."""

    first_compared: dict[str, list[NonNegativeInt]]
    looks: list[Look] = []


@dataclass(frozen=True)
class Ledger:
    """The looks on record for a folder, in the order of the first ones, and each arm's seeds at its first one."""

    looks: Sequence[Look] = ()
    first_compared: FirstCompared = field(default_factory=dict)


def read_ledger(results: Path) -> tuple[Ledger, list[str]]:
    """The looks on record for this folder, and a warning for each record that can't be read."""
    found, warnings = [], []
    for name, schema in ((LOOKS, LOOKS_SCHEMA), (COMPARISON, COMPARISON_SCHEMA)):
        try:
            found += [_read(results / name, schema)] if os.path.lexists(results / name) else []
        except StoreError as error:
            warnings.append(f"earlier looks are not known: {error}")
    first = {arm: seeds for each in reversed(found) for arm, seeds in each.first_compared.items()}  # the ledger wins
    return Ledger(found[0].looks if found else (), first), warnings


def record(results: Path, first_compared: FirstCompared, looks: Sequence[Look]) -> str | None:
    """Add looks to a folder's ledger, and arms with their seeds; what is in it stays as it is.

    Returns None, or why the looks could not be recorded: that must not keep anybody from looking.
    """
    try:
        with locks.locked(results, lambda: True):
            _add(results, first_compared, looks)
    except (StoreError, OSError) as error:
        why = str(error) if isinstance(error, StoreError) else f"{results / LOOKS}: can't be written ({error.strerror})"
        return f"this look is not on record, so what comes after it won't be told as exploratory: {why}"
    return None


def _add(results: Path, first_compared: FirstCompared, looks: Sequence[Look]) -> None:
    path = results / LOOKS
    if os.path.lexists(path):
        _read(path, LOOKS_SCHEMA)  # what can't be read is left as it is
    known, _ = read_ledger(results)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    kept = [*known.looks]
    for look in looks:
        if not any(look.is_same(earlier) for earlier in kept):
            kept.append(look.model_copy(update={"when": now}))
    ordered = {arm: sorted(seeds) for arm, seeds in {**first_compared, **known.first_compared}.items()}
    content = {"schema": LOOKS_SCHEMA, "first_compared": ordered, "looks": [look.model_dump() for look in kept]}
    if not os.path.lexists(path) or content != read_json(path, LOOKS_SCHEMA):
        write_atomically(path, json.dumps(content) + "\n")


def _read(path: Path, schema: int) -> Ledger:
    content = read_json(path, schema)
    if path.name == COMPARISON:
        content.setdefault("first_compared", {})  # the oldest ones say nothing of looks
        content.pop("looks", None)
    found = checked(_Record, path, content)
    return Ledger(found.looks or _not_described(found.first_compared), found.first_compared)


def _not_described(first_compared: Mapping[str, Sequence[int]]) -> list[Look]:
    """The looks that a record without them tells of: at least one, at arms that were there."""
    seeds = sorted({seed for each in first_compared.values() for seed in each})
    return [Look(arms=[*first_compared], seeds=seeds)] if first_compared else []
