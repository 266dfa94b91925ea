"""Arrays in npz files: unpacked once a machine into gradclip's cache and mapped from there, so that workers share them.

What was not asked for in 30 days is dropped when another file is unpacked.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import MAGIC_PREFIX

from gradclip_cli.arrays import Array
from gradclip_cli.errors import DatasetError, StoreError
from gradclip_cli.files import cache_folder, folder_replaced_by, read_json, write_atomically
from gradclip_cli.problems.own_arrays.npz_entries import Entry, entry_of, unpack_array

Tell = Callable[[str], None]
"""Takes a sentence about what is being done."""

SCHEMA = 1
USED = re.compile(r"[xy]_(train|test)(/.+)?", re.DOTALL)
"""Names of the arrays that are unpacked: `x_train`, or `x_train/NAME` where there are several."""
HOW_TO_SAVE = "np.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)"
HELD_OUT = "the last fifth is held out where there is no x_test and y_test"
MOST_REMEMBERED = 1000  # files whose hash is known
SETTLED = 2  # seconds after which another change of a file shows in its time, whatever the file system's grain
KEPT_UNUSED = 30 * 86_400  # seconds
ENTRY = re.compile(r"\.?([0-9a-f]{64})")
"""Names of the cache's folders: a file's SHA-256, and with a dot before it what is being unpacked, or was as a process died."""
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
"""What reading a zip raises where it is cut off, altered, encrypted or packed in an unknown way."""


class Busy(Exception):
    """Another process is at work on an entry of the cache."""


@dataclass(frozen=True)
class NotFinite:
    """NaN and infinite values of an array: how many, and the index of one of the first."""

    count: int
    first: tuple[int, ...]


@dataclass(frozen=True)
class Unpacked:
    """What an npz file holds: its SHA-256, its used arrays by name, their values that are not finite, the names not used."""

    sha256: str
    arrays: Mapping[str, Array]
    not_finite: Mapping[str, NotFinite]
    unused: tuple[str, ...]


def unpacked(path: Path, tell: Tell) -> Unpacked:
    """The arrays of an npz file, mapped copy-on-write: what one process writes into them, no other sees, nor does the cache.

    Raises DatasetError where it is missing, damaged, not an npz, lacks `x_train` or `y_train`, or holds no numbers there.
    """
    _require_file(path)
    root = cache_folder() / "arrays"
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder = root / file_hash(path, root)
        if found := mapped(folder):
            _note_use(folder)
            return found
        found = _unpacked_once(path, folder, tell)
        _drop_unused(root)
        return found
    except OSError as error:
        hint = "GRADCLIP_CACHE names another folder"
        raise DatasetError(f"{root}: gradclip's cache can't be written ({error.strerror or error}); {hint}") from None


def near_names(name: str, known: Sequence[str]) -> str:
    """A hint at what may have been meant, to end a message with."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else "."


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise DatasetError(f"{path}: is a folder; name an npz file, made with {HOW_TO_SAVE}")
    if not path.parent.is_dir():
        raise DatasetError(f"{path}: there is no such folder as {path.parent}")
    if not path.exists():
        beside = sorted(each.name for each in path.parent.iterdir())
        raise DatasetError(f"{path}: no such file{near_names(path.name, beside)}")
    if not path.is_file():
        raise DatasetError(f"{path}: is not a regular file")


# A file's hash, remembered.


def file_hash(path: Path, root: Path) -> str:
    """The SHA-256 of a file, read only where its size or its time of change is new: `hashes.json` in `root` remembers."""
    known, place = root / "hashes.json", str(path.resolve())
    with _locked(root / "hashes.lock"):
        hashes, stamp = _remembered(known), _stamp(path)
        if hashes.get(place, [])[:-1] != stamp:
            hashes.pop(place, None)
            hashes[place] = [*stamp, _digest(path)]
            if time.time() - stamp[1] / 1e9 > SETTLED:
                latest = dict(list(hashes.items())[-MOST_REMEMBERED:])
                write_atomically(known, json.dumps({"schema": SCHEMA, "files": latest}))
        return str(hashes[place][-1])


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _remembered(known: Path) -> dict[str, list[Any]]:
    try:
        return {place: list(entry) for place, entry in read_json(known, SCHEMA)["files"].items() if len(entry) == 3}
    except (StoreError, KeyError, TypeError, AttributeError):
        return {}


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: can't be read: {error.strerror}") from None


@contextmanager
def _locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    import filelock

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


# The cache: a folder a file, named by its hash, with `arrays.json` and an .npy an array.


def mapped(folder: Path) -> Unpacked | None:
    """What was unpacked into a folder, mapped; None where nothing was, or it is damaged."""
    try:
        content = read_json(folder / "arrays.json", SCHEMA)
        arrays = {each["name"]: _map(folder / f"{place}.npy", each) for place, each in enumerate(content["arrays"])}
        found = {each["name"]: each["not_finite"] for each in content["arrays"] if each["not_finite"]}
        not_finite = {name: NotFinite(count, tuple(first)) for name, (count, first) in found.items()}
        return Unpacked(folder.name, arrays, not_finite, tuple(content["unused"]))
    except (StoreError, OSError, ValueError, KeyError, TypeError):
        return None


def _map(path: Path, known: Mapping[str, Any]) -> Array:
    if path.stat().st_size != known["bytes"]:
        raise ValueError("damaged")
    array: Array = np.load(path, mmap_mode="c", allow_pickle=False)
    if [array.dtype.str, list(array.shape)] != [known["dtype"], known["shape"]]:
        raise ValueError("damaged")
    return array


def _unpacked_once(path: Path, folder: Path, tell: Tell) -> Unpacked:
    """Unpack a file unless another process has done so meanwhile; the folder appears whole or not at all."""
    with _locked(folder.with_suffix(".lock"), lambda: tell(f"waiting for another process that unpacks {path.name}")):
        found = mapped(folder)
        if found is None:
            with folder_replaced_by(folder, folder.with_name(f".{folder.name}")) as temporary:
                _unpack(path, folder.name, temporary, tell)
            found = mapped(folder)
    if found is None:
        raise DatasetError(f"{folder}: what was just written there can't be read; remove this folder and try again")
    return found


def _note_use(folder: Path) -> None:
    with suppress(OSError):  # of a cache that is somebody else's
        os.utime(folder / "arrays.json")


def _unused(folder: Path) -> bool:
    """Whether nobody has asked for an entry for long."""
    known = folder / "arrays.json"
    with suppress(OSError):
        return time.time() - (known if known.exists() else folder).stat().st_mtime > KEPT_UNUSED
    return False


def _drop_unused(root: Path) -> None:
    """Make room: what was not used for long goes, under its lock. Who has its arrays mapped keeps them until he ends."""
    for folder in list(root.iterdir()):
        if (entry := ENTRY.fullmatch(folder.name)) and _unused(folder):
            with suppress(Busy, OSError), _locked(root / f"{entry[1]}.lock", _give_way):
                if _unused(folder):  # still
                    shutil.rmtree(folder, ignore_errors=True)


def _give_way() -> None:
    raise Busy


def _unpack(path: Path, sha256: str, folder: Path, tell: Tell) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            used = [name for name in names if USED.fullmatch(name)]
            _require_names(path, names)
            entries = [entry_of(path, archive, name) for name in used]
            _require_room(path, entries, folder)
            tell(f"unpacking {path.name} into {folder.parent}, once")
            arrays = [unpack_array(path, archive, entry, folder / f"{place}.npy") for place, entry in enumerate(entries)]
    except DAMAGED as error:
        raise DatasetError(_damaged(path, error)) from None
    if _digest(path) != sha256:
        raise DatasetError(f"{path}: was changed while it was read; try again when it is complete")
    unused = sorted(set(names) - set(used))
    write_atomically(folder / "arrays.json", json.dumps({"schema": SCHEMA, "arrays": arrays, "unused": unused}))


def _damaged(path: Path, error: Exception) -> str:
    with open(path, "rb") as file:
        beginning = file.read(len(MAGIC_PREFIX))
    if beginning == MAGIC_PREFIX:
        return f"{path}: is a single array, not an npz file; make one with {HOW_TO_SAVE}"
    if not beginning.startswith(b"PK"):
        return f"{path}: is not an npz file; make one with {HOW_TO_SAVE}"
    return f"{path}: is damaged or was not written to its end ({error}); save it again, or copy it again"


def _require_names(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in ("x_train", "y_train") if not any(each.split("/")[0] == name for each in names)]
    if missing:
        there = ", ".join(sorted(names)[:20]) or "no arrays"
        raise DatasetError(f"{path}: lacks {' and '.join(missing)} (it holds {there}); make it with {HOW_TO_SAVE}; {HELD_OUT}")


def _require_room(path: Path, entries: Sequence[Entry], folder: Path) -> None:
    needed, free = sum(entry.size for entry in entries), shutil.disk_usage(folder).free
    if needed > free:
        room = f"needs {needed / 1e9:.1f} GB in {folder.parent}, where {free / 1e9:.1f} GB are free"
        raise DatasetError(f"{path}: {room}; GRADCLIP_CACHE names another folder")
