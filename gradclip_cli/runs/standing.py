"""How far a run is that another process trains: by the ends of its files, however long they are."""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import re
from pathlib import Path

from gradclip_cli.errors import StoreError
from gradclip_cli.files import opened
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.texts import counted

TAIL = 8192
"""Bytes at a file's end in which its last lines are looked for."""
_COUNT = re.compile(r"[0-9]{1,15}")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def standing(directory: RunDirectory) -> str:
    """A run's whole epochs and recorded steps in words, with its last loss; empty before its first step is on the disk."""
    epochs, steps = (_last_row(path) for path in (directory.metrics_path, directory.steps_path))
    parts = [counted(int(row[0]), noun) for row, noun in ((epochs, "epoch"), (steps, "step")) if _COUNT.fullmatch(row[0])]
    with contextlib.suppress(ValueError, IndexError):
        parts.append(f"loss {float(epochs[1]):#.4g}")
    return ", ".join(parts)


def last_lines(path: Path, most: int) -> list[str]:
    """The last lines of a text that are not empty, as a terminal shows them: without colours, each as it was last drawn."""
    lines = (_COLOURS.sub("", line).rstrip().rpartition("\r")[2] for line in _end(path).split("\n"))
    return [line for line in lines if line.strip()][-most:]


def line_with(path: Path, words: str) -> str:
    """What a text, however long it is, says from some words to the end of their line; empty where it doesn't have them."""
    mapped = functools.partial(mmap.mmap, length=0, access=mmap.ACCESS_READ)
    with contextlib.suppress(StoreError, ValueError), opened(path) as file, mapped(file.fileno()) as content:
        if (start := content.find(words.encode())) >= 0:
            return content[start : start + TAIL].decode(errors="replace").splitlines()[0]
    return ""  # of an empty file too, which can't be mapped


def _last_row(path: Path) -> list[str]:
    """The fields of a CSV's last whole line; one that is empty where there is none."""
    return "".join(_end(path).split("\n")[-2:-1]).split(",")


def _end(path: Path) -> str:
    """The last bytes of a text; none where it can't be read."""
    try:
        with opened(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            return file.read().decode(errors="replace")
    except StoreError:
        return ""
