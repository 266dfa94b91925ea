"""The steps that detectors read, of runs in a results folder: from each run's `steps.csv`, or from one small file for all.

That file, `signals.csv.xz`, holds a row a step: arm, seed, and the quantities that signals are made of, as `steps.csv` has
them. It is a sixth of the packed steps, so it can travel where these are too large.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from gradclip_cli.errors import StoreError
from gradclip_cli.evidence.arms import StoredRun
from gradclip_cli.evidence.detectors import QUANTITIES
from gradclip_cli.files import opened, write_atomically
from gradclip_cli.runs.csv_files import steps_line
from gradclip_cli.runs.metadata import recorded_every
from gradclip_cli.runs.packs import STEPS

SIGNALS_FILE = "signals.csv.xz"
COLUMNS = tuple(QUANTITIES)
_NAME = ["arm", "seed"]
MOST_BYTES = 1_000_000_000
"""Of the file, decompressed."""

RunName = tuple[str, int]
"""A run's arm and seed."""
Steps = Mapping[RunName, pd.DataFrame]
"""Each run's steps, in order from 1: a row a step, with the quantities as numbers."""


def name_of(run: StoredRun) -> RunName:
    """What a run is called here."""
    return run.directory.arm, run.seed


def steps_of(run: StoredRun) -> pd.DataFrame | None:
    """A run's steps from its `steps.csv`; None where it has none. Raises StoreError where that is broken or lacks steps."""
    if (every := recorded_every(run.metadata)) > 1:
        raise StoreError(f"{run.directory.path}: recorded only one step in {every}, and detectors need all")
    return run.directory.steps(COLUMNS)[list(COLUMNS)] if run.directory.has(STEPS) else None


def write(results: Path, steps: Steps) -> None:
    """Write the steps of all these runs into a results folder's `signals.csv.xz`. Raises OSError."""
    header = ",".join((*_NAME, *COLUMNS))
    lines = [header, *(line for name in sorted(steps) for line in _lines(name, steps[name]))]
    content = "".join(f"{line}\n" for line in lines).encode()
    write_atomically(results / SIGNALS_FILE, lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


def _lines(name: RunName, frame: pd.DataFrame) -> Iterator[str]:
    beginning = f"{name[0]},{name[1]},"
    return (beginning + steps_line(row) for row in frame[list(COLUMNS)].to_numpy(float).tolist())


def holds(results: Path, steps: Steps) -> bool:
    """Whether a results folder's `signals.csv.xz` holds just these steps."""
    kept = read(results)
    return kept.keys() == steps.keys() and all(kept[name].equals(frame) for name, frame in steps.items())


def read(results: Path) -> Steps:
    """What a results folder's `signals.csv.xz` holds; nothing where there is none. Raises StoreError where it is broken."""
    path = results / SIGNALS_FILE
    if not path.exists():
        return {}
    try:
        with opened(path) as file, lzma.open(file) as decompressed:
            found = _parsed(decompressed.read(MOST_BYTES + 1))
    except (ValueError, EOFError, lzma.LZMAError) as error:
        raise StoreError(f"{path}: can't be read: {str(error).splitlines()[0]}. Get it anew from where it came") from None
    arms = found.groupby("arm")
    by_name = {(str(arm), seed): frame for arm, part in arms for seed, frame in part.groupby("seed")}
    return {(arm, int(str(seed))): frame[list(COLUMNS)].reset_index(drop=True) for (arm, seed), frame in by_name.items()}


def _parsed(content: bytes) -> pd.DataFrame:
    if len(content) > MOST_BYTES:
        raise ValueError(f"over {MOST_BYTES:,} bytes")
    kinds = {"arm": str, "seed": int, **dict.fromkeys(COLUMNS, float)}
    not_known = {column: ["nan"] for column in COLUMNS}  # An arm may be called null.
    return pd.read_csv(io.BytesIO(content), usecols=list(kinds), dtype=kinds, keep_default_na=False, na_values=not_known)
