"""Memory: as many workers as it has room for, said before they start; a user's own number stays and is warned of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gradclip_cli.config import loading
from gradclip_cli.runs import memory
from gradclip_cli.runs.cluster import on_cluster
from gradclip_cli.runs.trainers import THIS_PROCESS
from gradclip_cli.runs.workers import in_worker_processes

GB = 10**9
CORES = 8
DEFAULT = replace(in_worker_processes(), at_once=CORES, cores=CORES)
CHOSEN = replace(in_worker_processes(CORES), cores=CORES)


@pytest.mark.parametrize(
    ("way", "runs", "free", "workers", "words"),
    [
        (DEFAULT, 100, 20 * GB, CORES, "8 worker processes train, each with about 1.5 GB of memory."),
        (DEFAULT, 3, 20 * GB, CORES, "3 worker processes train, each with about 1.5 GB of memory."),
        (DEFAULT, 100, None, CORES, "8 worker processes train, each with about 1.5 GB of memory."),
        (DEFAULT, 100, 4 * GB, 2, "2 worker processes train, not 8: each takes about 1.5 GB of memory, and 4.0 GB are free."),
        (DEFAULT, 100, GB, 1, "One process trains, not 8: each takes about 1.5 GB of memory, and 1.0 GB are free."),
        (DEFAULT, 2, 4 * GB, CORES, "2 worker processes train, each with about 1.5 GB of memory."),
        (
            CHOSEN,
            100,
            4 * GB,
            CORES,
            "8 worker processes take about 12.0 GB of memory, and 4.0 GB are free: one may be killed for it, which --jobs 2 "
            "prevents.",
        ),
        (DEFAULT, 1, GB, CORES, ""),
        (THIS_PROCESS, 100, GB, 1, ""),
    ],
)
def test_workers_are_as_many_as_memory_has_room_for(way, runs, free, workers, words) -> None:
    fitted, told = memory.fitting(way, runs, 3 * GB // 2, free)
    assert (fitted.at_once, told) == (workers, words)


def test_a_cluster_s_memory_is_its_own() -> None:
    way = on_cluster("tcp://nowhere:8786")
    assert memory.fitting(way, 100, GB, 1) == (way, "")


def test_the_framework_that_takes_most_counts() -> None:
    keras, pytorch = loading.load("none"), loading.load("none", ["engine.framework=pytorch"])
    assert memory.of_a_worker([pytorch]) < memory.of_a_worker([pytorch, keras]) == memory.of_a_worker([keras])


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs Linux")
def test_what_is_free_is_less_than_the_machine_has() -> None:
    whole = 1024 * int(Path("/proc/meminfo").read_text().split()[1])
    free, own = memory.free(), memory.of_this_process()
    assert free is not None
    assert own is not None
    assert 0 < free < whole
    assert 10**7 < own < whole


def test_a_container_s_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("2500000\n")
    (tmp_path / "memory.stat").write_text("anon 1500000\ninactive_file 1000000\n")
    assert memory.free() == 1_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free() != 1_500_000
