"""Memory: what a process takes, what the machine can still give, and how many worker processes that is enough for."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.config.schema import Config
from gradclip_cli.runs.trainers import Way

GROUPS = Path("/sys/fs/cgroup")


def of_this_process() -> int | None:
    """The bytes of this process at its peak; None where the system doesn't tell."""
    try:
        import resource  # which Windows lacks
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def of_a_worker(configs: Sequence[Config]) -> int:
    """The bytes that a worker process usually takes to train such configs; a large model of one's own takes more."""
    return max(FRAMEWORKS[config.engine.framework].usual_memory for config in configs)


def free() -> int | None:
    """The bytes that this machine, or the container that it is, can still give; None where Linux doesn't tell."""
    found = [*_of_machine(), *_of_containers()]
    return max(0, min(found)) if found else None


def _of_machine() -> Iterator[int]:
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                yield 1024 * int(value.split()[0])


def _of_containers() -> Iterator[int]:
    """What the control groups that this process is in leave (Linux's cgroups, version 2); file caches give way."""
    with suppress(OSError):
        own = Path("/proc/self/cgroup").read_text().strip().rpartition("::/")[2]
        for group in (GROUPS / own, *(GROUPS / own).parents):
            with suppress(OSError, ValueError):
                most = int((group / "memory.max").read_text())  # or the word "max"
                used = int((group / "memory.current").read_text())
                counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
                yield most - used + int(counts["inactive_file"])


def fitting(way: Way, runs: int, each: int, available: int | None) -> tuple[Way, str]:
    """The way with as many worker processes as memory has room for, `each` of so many bytes, and a sentence on them.

    A number that the user chose stays, and is warned of. Nothing is said where this process trains alone, or others elsewhere.
    """
    workers = min(way.at_once, runs)
    if way.cores is None or workers < 2:
        return way, ""
    room = workers if available is None else max(1, available // each)
    if workers <= room:
        return way, f"{workers} worker processes train, each with about {_size(each)} of memory."
    assert available is not None
    if way.number_chosen:
        told = f"{workers} worker processes take about {_size(workers * each)} of memory, and {_size(available)} are free"
        return way, f"{told}: one may be killed for it, which --jobs {room} prevents."
    fewer = "One process trains" if room == 1 else f"{room} worker processes train"
    told = f"{fewer}, not {workers}: each takes about {_size(each)} of memory, and {_size(available)} are free."
    return replace(way, at_once=room), told


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
