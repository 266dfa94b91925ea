"""What XLA compiled, kept in gradclip's cache: a later process that trains the same kind of run on this machine loads it.

TensorFlow's own persistent cache does the keeping. It reads once a process where that is, loads whatever has the right name
there, and what it can't write ends the training. So each process gives it a folder that no other process has: before something
is compiled it is filled with what is unharmed, and emptied afterwards. Of a user's own models nothing is kept.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.util import Finalize
from pathlib import Path

from gradclip_cli.errors import EngineError, StoreError
from gradclip_cli.files import cache_folder, opened, write_atomically

SWITCH = "GRADCLIP_COMPILED"
"""The variable of the environment that leaves the cache alone where it is `off`."""
FLAGS = "TF_XLA_FLAGS"
# In this order and with quotes, since TensorFlow reads no further than to what it takes for no option.
OPTIONS = "--tf_xla_persistent_cache_device_types=CPU --tf_xla_persistent_cache_directory='{folder}'"
ROOM = 100_000_000
"""Bytes that must be free where TensorFlow writes: a kind takes about one million."""
MOST_OF_A_KIND = 16
"""Files: the same is kept twice where a process had compiled others before it."""
MOST_KINDS = 256
KEPT_UNUSED = 30 * 86_400  # seconds
LEFT = 86_400
"""Seconds after which a folder goes whose process was killed."""
PREFIX = "gradclip-compiled-"
DIGITS = 32  # of hashes
CHANGING = ("processor", "cpu MHz", "bogomips", "BogoMIPS", "apicid", "initial apicid", "core id", "physical id", "microcode")
"""Lines of /proc/cpuinfo that say which processor was asked, or when."""


@contextmanager
def keeping() -> Iterator[None]:
    """Import TensorFlow in the block, and it will write what it compiles to this process's own folder, where `kept` awaits it."""
    folder = _own_folder(os.getpid())
    if folder is None:
        yield
        return
    os.environ[FLAGS] = OPTIONS.format(folder=folder)
    try:
        yield
    finally:
        del os.environ[FLAGS]  # or processes that this one starts would share the folder


@contextmanager
def kept(kind: str | None, version: str) -> Iterator[None]:
    """Compile in the block: what is kept of a kind, which this version of TensorFlow compiled, is loaded instead; new is kept.

    Where the kind is None nothing is.

    Raises EngineError where TensorFlow can't write what it compiled, and in place of any other error where something kept was
    there to be loaded: that is dropped then.
    """
    own = _own_folder(os.getpid())
    if own is None:
        yield
        return
    there = _folder_of(kind, version) if kind else None
    fetched = _fetched(there, own) if there else []
    try:
        yield
        if there:
            with suppress(OSError):  # of a cache that is somebody else's, or full
                _keep(own, there, {path.stem for path in fetched})
    except Exception as error:
        if str(own) in str(error):
            reason = f"TensorFlow can't keep in {own.parent.parent} what it compiled"
            raise EngineError(f"{reason}: make room there, or set {SWITCH}=off and train without ({error})") from None
        if not fetched:
            raise
        for path in fetched:
            _remove(path)
        dropped = f"what was kept compiled of this kind of run is dropped, so that it is compiled anew; {SWITCH}=off does without"
        raise EngineError(f"{error} ({dropped})") from error
    finally:
        shutil.rmtree(own, ignore_errors=True)


@functools.cache
def _own_folder(process: int) -> Path | None:
    """A folder to be made in one that only this user can look into, until the process ends.

    None where nothing is to be kept, where there is no room, and where flags of a user's own are to be respected.
    """
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "no", "false") or os.environ.get(FLAGS):
        return None
    if not (os.environ.get("XLA_FLAGS") or "-").startswith("-"):  # They name a file that may change.
        return None
    try:
        _drop_left()
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{process}-"))
        Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=0)  # at the end of worker processes too
        usable = str(folder).isprintable() and "'" not in str(folder) and shutil.disk_usage(folder).free > ROOM
    except OSError:
        return None
    return folder / "code" if usable else None


def _drop_left() -> None:
    """Remove folders of processes that were killed; not on Windows, where to ask for a process by its number may end it."""
    if not hasattr(os, "geteuid"):
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError):
            is_old = time.time() - folder.lstat().st_mtime > LEFT
            if is_old and _is_ours(folder.lstat()) and not _runs(int(folder.name.removeprefix(PREFIX).partition("-")[0])):
                shutil.rmtree(folder, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _folder_of(kind: str, version: str) -> Path | None:
    """Where a kind is kept; None for somebody without a home, such as a number that a container gives its process for a user."""
    cache = cache_folder()
    if cache.parts[:1] == ("~",):
        return None
    return cache / "compiled" / _digest(json.dumps([version, *_machine()]).encode()) / _digest(kind.encode())


def _fetched(there: Path, own: Path) -> list[Path]:
    """Copy what is unharmed; a file's name ends with the hash of what it held when it was written. The files that were copied."""
    found = []
    try:
        own.mkdir()
        for path in there.iterdir():
            content = None if path.name.startswith(".") else _content(path)  # with a dot it is being written
            if content is None:
                continue
            if path.suffix == f".{_digest(content)}":
                (own / path.stem).write_bytes(content)
                found.append(path)
            else:
                _remove(path)
        with suppress(OSError):  # of a cache that can only be read
            os.utime(there)
    except OSError:  # of a cache that is not there, or of a disk that is full: of a part nothing may be loaded
        shutil.rmtree(own, ignore_errors=True)
        return []
    return found


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _content(path: Path) -> bytes | None:
    """Of a file of this user's or of root's, which nobody else can write; None for all else."""
    if path.is_symlink():
        return None
    with suppress(StoreError), opened(path) as file:
        return file.read() if _is_ours(os.fstat(file.fileno())) else None
    return None


def _is_ours(about: os.stat_result) -> bool:
    if not hasattr(os, "geteuid"):
        return True
    return about.st_uid in (0, os.geteuid()) and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _keep(own: Path, there: Path, known: set[str]) -> None:
    new = [path for path in own.iterdir() if path.suffix == ".pb" and path.name not in known]
    if not new:
        return
    there.mkdir(parents=True, exist_ok=True)
    for path in new:
        content = path.read_bytes()
        entry = there / f"{path.name}.{_digest(content)}"
        write_atomically(entry, content)
        entry.chmod(0o600)
    for path in _oldest_first(list(there.iterdir()))[:-MOST_OF_A_KIND]:
        _remove(path)
    kinds = _oldest_first(list(there.parent.parent.glob("*/*")))
    for folder in [each for place, each in enumerate(kinds) if place < len(kinds) - MOST_KINDS or _unused(each)]:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # It holds others.
            folder.parent.rmdir()


def _oldest_first(paths: Sequence[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: path.stat().st_mtime)


def _unused(folder: Path) -> bool:
    return time.time() - folder.stat().st_mtime > KEPT_UNUSED


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def _machine() -> list[str]:
    """All that XLA's code for a processor may depend on: which one it is and can do, how many there are, and flags."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    flags = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(("XLA_", "TF_"))]
    return [platform.system(), platform.machine(), *_processor(), str(os.cpu_count()), str(cores), *flags]


def _processor() -> list[str]:
    """The first processor as Linux describes it, but for what changes from moment to moment; elsewhere the machine's name."""
    try:
        first = Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        first = []
    lines = [line for line in first if line and not line.startswith(CHANGING)]
    return lines or [platform.processor(), platform.node(), platform.version()]
