"""A results folder's summary: what its runs' files say, kept beside them, so that thousands need not be read again.

It is a cache. A run's row counts only while its files have the stamps that they had when they were read, whoever changed them;
without a summary, or with a damaged one, one of another version or of another folder, all is as it is with it, but slower. Runs
in a pack have none: the pack is one file itself.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gradclip_cli.errors import StoreError
from gradclip_cli.files import read_bounded, write_atomically
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.summary_file import Row, Stamp, decode, encode

SUMMARY = ".gradclip-summary.zip"
SUMMARIZED = ("run.json", "config.yaml", "metrics.csv")
MOST_BYTES = 2_000_000_000
WORTHWHILE = 200
"""So many runs at least have a summary; fewer are read about as fast."""
SHARE = 0.02
"""Of the runs that a summary holds: where fewer have changed, they are read sooner than all is written."""
SETTLED = 2_000_000_000
"""Nanoseconds after its last change in which a file may change again without another stamp: on some disks time goes in steps."""

Key = tuple[str, str]
"""A run's arm and folder."""


@dataclass(frozen=True)
class Summary:
    """What is known of the runs in a results folder."""

    results: Path
    rows: Mapping[Key, Row] = field(default_factory=dict)

    @classmethod
    def read(cls, results: Path) -> Summary:
        """The summary of a results folder; an empty one where there is none that can be believed."""
        path = results / SUMMARY
        if not path.is_file():
            return cls(results)
        try:
            return cls(results, {(row.arm, row.folder): row for row in decode(read_bounded(path, MOST_BYTES))})
        except (StoreError, ValueError):
            return cls(results)

    def row(self, run: RunDirectory, stamps: tuple[Stamp, ...]) -> Row | None:
        """What is known of a run whose first files have these stamps now; None where it must be read."""
        row = self.rows.get(_key(run))
        return row if row and stamps and row.stamps[: len(stamps)] == stamps else None

    def keep(self, rows: Iterable[Row]) -> None:
        """Write what was read besides, where that saves time; what can't be written is only read again."""
        settled = time.time_ns() - SETTLED
        new = {(row.arm, row.folder): row for row in rows if all(max(each[:2]) < settled for each in row.stamps)}
        if new and len(new) >= SHARE * len(self.rows):
            others = {key: row for key, row in self.rows.items() if key not in new}
            self._write({**_still_there(self.results, others), **new})

    def _write(self, rows: Mapping[Key, Row]) -> None:
        with contextlib.suppress(OSError):
            if len(rows) < WORTHWHILE:
                (self.results / SUMMARY).unlink(missing_ok=True)
            else:
                write_atomically(self.results / SUMMARY, encode(list(rows.values())))

    def forget_removed(self) -> None:
        """Drop what is known of runs that are not there any more."""
        rows = _still_there(self.results, self.rows)
        if len(rows) < len(self.rows):
            self._write(rows)


def _key(run: RunDirectory) -> Key:
    return run.arm, run.path.name


def _still_there(results: Path, rows: Mapping[Key, Row]) -> dict[Key, Row]:
    return {key: row for key, row in rows.items() if os.path.lexists(results.joinpath(*key, SUMMARIZED[0]))}


def stamps(run: RunDirectory, files: Iterable[str] = SUMMARIZED) -> tuple[Stamp, ...]:
    """The stamps of a run's files; none where one is missing, no regular file, or in a pack."""
    try:
        return () if run.packed else tuple(_stamp(f"{run.path}/{name}") for name in files)
    except (OSError, ValueError):
        return ()


def _stamp(path: str) -> Stamp:
    """When a file, links followed, was last changed in any way, when in its content, its size, and which it is.

    Nobody can set the first one back. Raises OSError for a missing file, ValueError for what is none.
    """
    facts = os.stat(path)  # noqa: PTH116  # thousands of paths are not worth making
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError(f"{path}: not a regular file")
    return facts.st_ctime_ns, facts.st_mtime_ns, facts.st_size, facts.st_ino
