"""What a summary of runs looks like on the disk: a zip of columns as JSON and of numbers as they are, with the SHA-256 of both.

It is read as input of unknown origin: whatever is not as it was written here is none, and nothing of it is ever executed.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from gradclip_cli import __version__
from gradclip_cli.config.stored import Seedless

SCHEMA = 1
"""To be raised where a row's content changes, or how files are read into it."""
ABOUT, ROWS, NUMBERS = "about.json", "rows.json", "epochs.float64"
NUMBER = 8  # bytes, little-endian

UNREAD = Seedless(b"", None)
"""Stands for a config that was not read."""

Stamp = tuple[int, ...]
"""What changes when a file does."""


@dataclass(frozen=True)
class Row:
    """What a run's files say, and their stamps."""

    arm: str
    folder: str
    stamps: tuple[Stamp, ...]
    """Of `run.json`; of `config.yaml` and `metrics.csv` too, where these were read and held against it."""
    metadata: Mapping[str, Any]
    config: Seedless = UNREAD
    seed: int = 0
    """What `config.yaml` says, where `config` has left it out."""
    columns: tuple[str, ...] = ()
    numbers: bytes | memoryview = b""
    """Of `metrics.csv`, row by row."""


def encode(rows: Sequence[Row]) -> bytes:
    """A summary of these runs."""
    columns: dict[str, Any] = {
        "arm": _coded(row.arm for row in rows),
        "folder": [row.folder for row in rows],
        "stamps": [row.stamps for row in rows],
        "before": _coded(row.config.before.decode("latin-1") for row in rows),
        "after": _coded(None if row.config.after is None else row.config.after.decode("latin-1") for row in rows),
        "seed": [row.seed for row in rows],
        "columns": _coded(row.columns for row in rows),
        "length": [len(row.numbers) // NUMBER for row in rows],
        "metadata": _coded_together([row.metadata for row in rows]),
    }
    members = {ROWS: json.dumps(columns, separators=(",", ":")).encode(), NUMBERS: b"".join(row.numbers for row in rows)}
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    about = json.dumps({"schema": SCHEMA, "gradclip": __version__, "sha256": sha256}).encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in {ABOUT: about, **members}.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def decode(content: bytes) -> list[Row]:
    """The runs of a summary. Raises ValueError for anything that `encode` of this version has not made."""
    try:
        return _rows(*_members(content))
    except Exception as error:  # whatever zipfile, JSON and what a stranger wrote raise
        raise ValueError(f"no summary: {error}") from None


def _members(content: bytes) -> tuple[bytes, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("compressed, which may be of any size")
        about = json.loads(archive.read(ABOUT))
        if (about["schema"], about["gradclip"]) != (SCHEMA, __version__):
            raise ValueError("another version's")
        members = archive.read(ROWS), archive.read(NUMBERS)
    for name, member in zip((ROWS, NUMBERS), members, strict=True):
        if about["sha256"][name] != hashlib.sha256(member).hexdigest():
            raise ValueError(f"{name} is damaged")
    return members


def _rows(table: bytes, numbers: bytes) -> list[Row]:
    columns = json.loads(table)
    ends = accumulate(columns["length"], initial=0)
    pieces = [memoryview(numbers)[NUMBER * start : NUMBER * end] for start, end in pairwise(ends)]
    configs = zip(_decoded(columns["before"]), _decoded(columns["after"]), strict=True)
    each = (
        _decoded(columns["arm"]),
        columns["folder"],
        [tuple(map(tuple, stamps)) for stamps in columns["stamps"]],
        _decoded_together(columns["metadata"]),
        [Seedless(before.encode("latin-1"), None if after is None else after.encode("latin-1")) for before, after in configs],
        columns["seed"],
        list(map(tuple, _decoded(columns["columns"]))),
        pieces,
    )
    return [Row(*values) for values in zip(*each, strict=True)]


def _coded(values: Iterable[Any]) -> dict[str, Any]:
    """A column in which values repeat: each once, and where it stands. Only what is written alike is the same: not 1 and 1.0."""
    places: dict[str, int] = {}
    distinct, at = [], []
    for value in values:
        known = len(places)
        place = places.setdefault(repr(value), known)
        if place == known:
            distinct.append(value)
        at.append(place)
    return {"values": distinct, "at": at}


def _decoded(column: Mapping[str, Any]) -> list[Any]:
    values = column["values"]
    return [values[place] for place in column["at"]]


def _coded_together(dictionaries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Dictionaries by their keys in order: of those with the same ones a column a key."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for index, dictionary in enumerate(dictionaries):
        alike.setdefault(tuple(dictionary), []).append(index)
    return [
        {"keys": keys, "rows": rows, "columns": [_coded(dictionaries[row][key] for row in rows) for key in keys]}
        for keys, rows in alike.items()
    ]


def _decoded_together(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for group in groups:
        columns = [_decoded(column) for column in group["columns"]]
        for row, *values in zip(group["rows"], *columns, strict=True):
            found[row] = dict(zip(group["keys"], values, strict=True))
    return [found[row] for row in range(len(found))]
