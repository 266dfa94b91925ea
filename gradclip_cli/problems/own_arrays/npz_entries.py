"""One array of an npz file: its header, held against its size, and its values, streamed into a file that can be mapped."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from gradclip_cli.arrays import Array
from gradclip_cli.errors import DatasetError
from gradclip_cli.problems.own_arrays.array_likes import BLOCK, TAKEN_AS, fits, narrowed, taken_types, too_large


@dataclass(frozen=True)
class Entry:
    """An array in an npz file, as its header says; `by_columns` where its first index runs fastest."""

    name: str
    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Bytes that it has in the cache at most, while it is turned around."""
        widest = max(kind.itemsize for kind in TAKEN_AS[self.dtype.newbyteorder("=")])
        return math.prod(self.shape) * widest * (2 if self.by_columns else 1)


def entry_of(path: Path, archive: zipfile.ZipFile, name: str) -> Entry:
    """The header of an array, held against the bytes that follow it. Raises DatasetError for what can't be trained on."""
    with archive.open(f"{name}.npy") as stream:
        shape, by_columns, dtype = _header(stream)
        content = archive.getinfo(f"{name}.npy").file_size - stream.tell()
    taken_types(dtype, f"{path}: {name}")
    if not shape or not math.prod(shape):
        what = "is a single number" if not shape else f"is empty (its shape is {shape})"
        raise DatasetError(f"{path}: {name} {what}; it must hold samples along its first axis")
    if content != math.prod(shape) * dtype.itemsize:
        raise DatasetError(f"{path}: {name} is damaged: its header and its size differ; save the file again")
    return Entry(name, shape, by_columns and len(shape) > 1, dtype)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    if version not in readers:
        raise ValueError(f"an array of the format's version {version[0]}.{version[1]}")
    return readers[version](stream)


def unpack_array(path: Path, archive: zipfile.ZipFile, entry: Entry, target: Path) -> dict[str, Any]:
    """Write an array as an .npy file, and give what `arrays.json` says of it."""
    for dtype in taken_types(entry.dtype, entry.name):
        with archive.open(f"{entry.name}.npy") as stream, _writing(target, dtype, entry.shape, entry.by_columns) as file:
            _header(stream)
            not_finite = _copy(stream, file, entry, dtype)
        if not_finite is not None:
            break
    else:
        raise too_large(f"{path}: {entry.name}")
    if entry.by_columns:
        _turn(target, dtype, entry.shape)
    known = {"name": entry.name, "dtype": dtype.str, "shape": entry.shape, "bytes": target.stat().st_size}
    return {**known, "not_finite": not_finite}


@contextmanager
def _writing(target: Path, dtype: np.dtype[Any], shape: tuple[int, ...], by_columns: bool = False) -> Iterator[BinaryIO]:
    with open(target, "wb") as file:
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": by_columns, "shape": shape}
        npy.write_array_header_1_0(file, header)
        yield file
        file.flush()
        os.fsync(file.fileno())


def _copy(stream: IO[bytes], file: BinaryIO, entry: Entry, dtype: np.dtype[Any]) -> list[Any] | None:
    """Copy values in another type, block by block; give count and place of those not finite, None where one doesn't fit."""
    count, place = 0, 0
    first: Sequence[Any] | None = None
    for values in _blocks(stream, entry):
        if not fits(values, dtype):
            return None
        block = narrowed(values, dtype)
        file.write(block.data)
        unusable: Any = np.flatnonzero(~np.isfinite(block)) if dtype.kind == "f" else ()
        if len(unusable) and first is None:
            first = np.unravel_index(place + unusable[0], entry.shape, "F" if entry.by_columns else "C")
        count, place = count + len(unusable), place + len(values)
    return [] if first is None else [count, [int(index) for index in first]]


def _blocks(stream: IO[bytes], entry: Entry) -> Iterator[Array]:
    left = math.prod(entry.shape) * entry.dtype.itemsize
    while left:
        content = stream.read(min(left, BLOCK // entry.dtype.itemsize * entry.dtype.itemsize))
        if not content:
            raise EOFError(f"{entry.name} ends too early")
        left -= len(content)
        yield np.frombuffer(content, entry.dtype)


def _turn(target: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Write an array that was stored by columns anew, a sample after the other."""
    columns = target.with_suffix(".columns")
    target.rename(columns)
    array = np.load(columns, mmap_mode="r")
    rows = max(1, BLOCK * len(array) // array.nbytes)
    with _writing(target, dtype, shape) as file:
        for start in range(0, len(array), rows):
            file.write(np.ascontiguousarray(array[start : start + rows]).data)
    del array
    columns.unlink()
