"""Files of ours: read as input (regular files only, size bounded), written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

from gradclip_cli.errors import NewerSchemaError, StoreError

MOST_JSON_BYTES = 4_000_000


@dataclass(frozen=True)
class Packed:
    """A file in a pack: the path that it has where it is unpacked, and what opens it."""

    path: Path
    open: Callable[[], BinaryIO]

    def __str__(self) -> str:
        return str(self.path)


Readable = Path | Packed


@contextmanager
def opened(path: Readable) -> Iterator[BinaryIO]:
    """A regular file, opened for reading, links followed. Raises StoreError where it is missing or not a regular file."""
    with path.open() if isinstance(path, Packed) else _open_regular(path) as file:
        try:
            yield file
        except OSError as error:
            raise StoreError(f"{path}: can't be read: {error.strerror}") from None


def _open_regular(path: Path) -> BinaryIO:
    """A named pipe in a file's place would otherwise keep the reader waiting for ever."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise StoreError(f"{path}: can't be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StoreError(f"{path}: can't be read: not a regular file")
    return open(descriptor, "rb")


def same_bytes(one: Readable, other: Readable) -> bool:
    """Whether two files hold the same, however large they are. Raises StoreError where one can't be read."""
    with opened(one) as first, opened(other) as second:
        while block := first.read(1 << 20):
            if block != second.read(1 << 20):
                return False
        return not second.read(1)


def read_bounded(path: Readable, most: int) -> bytes:
    """A regular file's content. Raises StoreError where it is missing, not a regular file, or over `most` bytes."""
    with opened(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise StoreError(f"{path}: can't be read: over {most:,} bytes")
    return content


def require_ours(path: Path, mark: bytes, what: str, option: str, most: int = -1) -> None:
    """Raises StoreError where something stands at a path without our mark in its first `most` bytes: it is not written over."""
    if not os.path.lexists(path):
        return
    with opened(path) as file:
        if mark not in file.read(most):
            raise StoreError(f"{path}: is there already, and no {what} of gradclip's; name another file with {option}")


def read_json(path: Readable, schema: int, most: int = MOST_JSON_BYTES) -> dict[str, Any]:
    """A JSON file of ours with a schema number up to `schema`, which is the newest known here; older ones are read as well.

    Raises StoreError, with the reason, for anything else: damage, other content; NewerSchemaError for a newer schema.
    """
    try:
        content = json.loads(read_bounded(path, most), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: can't be read: {str(error).splitlines()[0]}") from None
    number = content.get("schema") if isinstance(content, dict) else None
    if type(number) is not int or number < 1:
        raise StoreError(f"{path}: is not one of gradclip's (it has no schema number)")
    if number > schema:
        known = f"schema {number}; this one reads up to {schema}"
        raise NewerSchemaError(f"{path}: was written by a newer gradclip ({known}): update gradclip to read it")
    return dict(content)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def shipped_folder(name: str) -> Path:
    """A folder of files that travel with gradclip: inside the wheel, or beside the package in a checkout."""
    package = Path(str(resources.files("gradclip_cli")))
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def cache_folder() -> Path:
    """The folder of what gradclip can make or fetch again; `GRADCLIP_CACHE` moves it."""
    if chosen := os.environ.get("GRADCLIP_CACHE"):
        return Path(chosen)
    import platformdirs

    return platformdirs.user_cache_path("gradclip")


def require_writable(folder: Path) -> None:
    """Create a folder and prove that it can be written. Raises StoreError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / ".gradclip-write-test", "")
        (folder / ".gradclip-write-test").unlink()
    except OSError as error:
        raise unwritable(folder, error) from None


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name, sync it, and move it into place; letters that UTF-8 has not are written out."""
    with replacing(path) as file:
        file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file under a temporary name that takes `path`'s place once it is written and synced; nothing is left of a failure."""
    with replaced_by(path, path.with_name(f".{path.name}.{os.getpid()}")) as temporary, open(temporary, "wb") as file:
        yield file


@contextmanager
def replaced_by(path: Path, temporary: Path) -> Iterator[Path]:
    """Let the file that is written at `temporary` take `path`'s place, as `replacing` does: for what writes only to a path."""
    try:
        yield temporary
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def folder_replaced_by(folder: Path, temporary: Path) -> Iterator[Path]:
    """Let the folder that is filled at `temporary` take `folder`'s place, whole or not at all; for one who holds a lock on it."""
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    temporary.mkdir()
    try:
        yield temporary
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write a file into StoreError that names it."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: can't be written: {error.strerror or error}") from None


def unwritable(path: Path, error: OSError, option: str = "--results") -> StoreError:
    """The error to raise where a folder can't be written; `option` names another one."""
    return StoreError(f"{path}: can't be written ({error.strerror})", hint=f"choose another folder with {option}")
