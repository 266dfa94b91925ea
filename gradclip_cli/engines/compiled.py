"""What XLA compiled, kept in gradclip's cache: a later process that trains the same kind of run on this machine loads it.

TensorFlow's own persistent cache does the keeping. It reads once a process where that is, loads whatever has the right name
there, and what it can't write ends the training. So each process gives it a folder of its own: before something is compiled it
is filled with what is unharmed, and emptied afterwards. Nothing is kept of a user's own models, which may hold what can't be
written.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gradclip_cli.errors import EngineError
from gradclip_cli.files import cache_folder, write_atomically

SWITCH = "GRADCLIP_COMPILED"
"""The variable of the environment that leaves the cache alone where it is `off`."""
FLAGS = "TF_XLA_FLAGS"
OPTIONS = "--tf_xla_persistent_cache_directory={folder} --tf_xla_persistent_cache_device_types=CPU"
ROOM = 100_000_000
"""Bytes that must be free where TensorFlow writes: a kind takes about one million."""
MOST_OF_A_KIND = 8
"""Files: the same is kept twice where a process had compiled others before it."""
MOST_KINDS = 256
KEPT_UNUSED = 30 * 86_400  # seconds
CHANGING = ("processor", "cpu MHz", "bogomips", "BogoMIPS", "apicid", "initial apicid", "core id", "physical id", "microcode")
"""Lines of /proc/cpuinfo that say which processor was asked, or when."""


@contextmanager
def keeping() -> Iterator[None]:
    """Import TensorFlow in the block, and it will write what it compiles to this process's own folder, where `kept` awaits it."""
    before = os.environ.get(FLAGS)
    folder = _own_folder(os.getpid())
    if folder is None:
        yield
        return
    os.environ[FLAGS] = " ".join(filter(None, [before, OPTIONS.format(folder=folder)]))
    try:
        yield
    finally:  # or processes that this one starts would share the folder
        if before is None:
            del os.environ[FLAGS]
        else:
            os.environ[FLAGS] = before


@contextmanager
def kept(kind: str | None, version: str) -> Iterator[None]:
    """Compile in the block: what is kept of a kind, which this version of TensorFlow compiled, is loaded instead; new is kept.

    Where the kind is None nothing is.

    Raises EngineError where TensorFlow can't write what it compiled.
    """
    own = _own_folder(os.getpid())
    if own is None:
        yield
        return
    there = _folder_of(kind, version) if kind else None
    try:
        with suppress(OSError):  # of a cache that is not there, somebody else's, or full
            if there:
                _fetch(there, own)
        yield
        with suppress(OSError):
            if there:
                _keep(own, there)
    except Exception as error:
        if str(own) in str(error):
            reason = f"TensorFlow can't keep in {own.parent} what it compiled"
            raise EngineError(f"{reason}: make room there, or set {SWITCH}=off and train without ({error})") from None
        raise
    finally:
        shutil.rmtree(own, ignore_errors=True)


@functools.cache
def _own_folder(process: int) -> Path | None:
    """A folder that no other process has; None where nothing is to be kept, or a user's flags say where it is.

    It is a name only: TensorFlow makes the folder.
    """
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "no") or "persistent_cache" in os.environ.get(FLAGS, ""):
        return None
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"gradclip-compiled-{process}-"))
        folder.rmdir()
        return folder if shutil.disk_usage(folder.parent).free > ROOM else None
    except OSError:
        return None


def _folder_of(kind: str, version: str) -> Path | None:
    """Where a kind is kept; None for somebody without a home, such as a number that a container gives its process for a user."""
    cache = cache_folder()
    return None if cache.parts[0] == "~" else cache / "compiled" / _digest(json.dumps([version, *_machine()])) / _digest(kind)


def _fetch(there: Path, own: Path) -> None:
    """Copy what is unharmed and not another user's; a file's name ends with the hash of what it held when it was written."""
    own.mkdir(mode=0o700)
    for path in filter(_is_ours, there.iterdir()):
        content = path.read_bytes()
        if path.suffix == f".{hashlib.sha256(content).hexdigest()}":
            (own / path.stem).write_bytes(content)
        elif not path.name.startswith("."):  # which is being written
            path.unlink()
    os.utime(there)


def _is_ours(path: Path) -> bool:
    return not hasattr(os, "geteuid") or path.stat().st_uid in (0, os.geteuid())


def _keep(own: Path, there: Path) -> None:
    known = {path.stem for path in there.iterdir()} if there.exists() else set()
    new = [path for path in own.iterdir() if path.suffix == ".pb" and path.name not in known]
    if not new:
        return
    there.mkdir(parents=True, exist_ok=True)
    for path in new:
        content = path.read_bytes()
        write_atomically(there / f"{path.name}.{hashlib.sha256(content).hexdigest()}", content)
    for path in _oldest_first(there)[:-MOST_OF_A_KIND]:
        path.unlink(missing_ok=True)
    kinds = _oldest_first(there.parent)
    for folder in [each for place, each in enumerate(kinds) if place < len(kinds) - MOST_KINDS or _unused(each)]:
        shutil.rmtree(folder, ignore_errors=True)


def _oldest_first(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)


def _unused(folder: Path) -> bool:
    return time.time() - folder.stat().st_mtime > KEPT_UNUSED


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _machine() -> list[str]:
    """All that XLA's code for a processor may depend on: which one it is and can do, how many there are, and XLA's flags."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    flags = [os.environ.get(name, "") for name in ("XLA_FLAGS", FLAGS)]
    return [platform.platform(), platform.machine(), *_processor(), str(os.cpu_count()), str(cores), *flags]


def _processor() -> list[str]:
    """The first processor as Linux describes it, but for what changes from moment to moment; elsewhere the machine's name."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return [platform.processor(), platform.node()]
    return [
        line
        for line in first
        if not line.startswith(("cpu MHz", "bogomips", "BogoMIPS", "processor", "apicid", "initial apicid"))
    ]
