"""Worker processes: the same bytes as one process, one that dies takes nothing along, and signals reach them in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FRAMEWORKS, QUICKEST, SMALL, UNCOMPILED, contents, gradclip, latest, options, wait_until

from gradclip_cli import engines
from gradclip_cli.config import loading
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.one import Workshop
from gradclip_cli.runs.store import RunDirectory, runs
from gradclip_cli.runs.trainers import Ending, Event, Task
from gradclip_cli.runs.workers import WorkerProcesses

pytestmark = pytest.mark.trains


def tasks(results: Path, *arms: str, seeds: Iterable[int], settings: tuple[str, ...]) -> list[Task]:
    configs = [loading.load(arm, latest(*SMALL, f"name={arm}", *settings)).with_seed(seed) for arm in arms for seed in seeds]
    return [Task.of(chosen, RunDirectory.of(results, chosen.name, chosen.training.seed)) for chosen in configs]


def follow(
    workers: WorkerProcesses, futures: list[Future[Ending]], seen: Callable[[Event], None] = lambda event: None
) -> list[Ending]:
    while not all(future.done() for future in futures):
        for event in workers.events(0.1):
            seen(event)
    return [future.result() for future in futures]


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_two_workers_write_the_bytes_of_one_process(framework: str, tmp_path: Path) -> None:
    def planned(results: Path) -> list[Task]:
        return tasks(results, "none", "clipnorm", seeds=range(3), settings=UNCOMPILED[framework])

    alone = Workshop()
    for task in planned(tmp_path / "one"):
        assert alone.train(task, lambda event: None, lambda: False).status == "complete"
    kinds: list[str] = []
    with WorkerProcesses(2) as workers:
        futures = [workers.submit(task) for task in planned(tmp_path / "two")]
        endings = follow(workers, futures, lambda event: kinds.append(event.kind))
    assert {ending.status for ending in endings} == {"complete"}
    assert contents(tmp_path / "one", "*.csv") == contents(tmp_path / "two", "*.csv")
    assert kinds.count("progress") == 6 * 4  # two epochs, each with a chunk and an evaluation


def long(results: Path, seeds: Iterable[int]) -> list[Task]:
    return tasks(
        results, "none", seeds=seeds, settings=(*UNCOMPILED[QUICKEST], "training.epochs=400", "training.steps_per_epoch=250")
    )


def worker_of(run: Path) -> int:
    """The process that trains a run: who holds its lock."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(Path(link).resolve() == (run / ".lock").resolve() for link in (folder / "fd").iterdir()):
                return int(folder.name)
        except OSError:
            continue
    raise AssertionError(f"no process trains {run}")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_killed_worker_costs_its_run_one_retry_and_nothing_else(tmp_path: Path) -> None:
    remarks: list[str] = []
    killed: list[int] = []
    first, second = long(tmp_path, seeds=(0, 1))

    def kill_the_first(event: Event) -> None:
        if event.kind == "remark":
            remarks.append(event.message)
        if event.directory == first.directory and event.progress and len(killed) <= len(remarks) and len(killed) < 2:
            killed.append(worker_of(first.directory))
            os.kill(killed[-1], signal.SIGKILL)
        if len(killed) == 2 and event.directory == second.directory:
            workers.ask_to_stop()

    with WorkerProcesses(2) as workers:
        futures = [workers.submit(task) for task in (first, second)]
        endings = follow(workers, futures, kill_the_first)
    assert len(set(killed)) == 2  # another process took the run over, and was killed too
    assert [remark for remark in remarks if "tried once more" in remark]
    assert endings[0].status in ("failed", "interrupted")  # whichever was noticed first, the second death or the stop
    assert endings[1].status == "interrupted"


class Noting(WorkerProcesses):
    """Workers that only note what kind each was handed: a kind that a worker hasn't had last is one that it compiles."""

    def __init__(self, count: int) -> None:
        self.compiled: list[str] = []
        self._last: dict[int, str] = {}
        super().__init__(count)

    def _train(self, number: int, task: Task) -> Ending:
        if self._last.get(number) != task.config:
            self._last[number] = task.config
            self.compiled.append(task.config)
        time.sleep(0.002)
        return Ending(Status.COMPLETE)


@pytest.mark.parametrize(
    ("workers", "kinds", "most"), [(2, [8, 8, 8], 4), (2, [1, 9, 3, 20, 2, 7], 7), (3, [30], 3), (3, [6] * 9, 12)]
)
def test_each_compiles_as_few_kinds_as_leaves_none_idle(
    workers: int, kinds: list[int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind is compiled once, and once more by each worker that would have nothing else to do at the end."""
    monkeypatch.setattr(Task, "load_config", lambda task: task.config)
    monkeypatch.setattr(engines, "compile_key", str)
    with Noting(workers) as noting:
        futures = [noting.submit(Task(f"kind {kind}", Path())) for kind, count in enumerate(kinds) for _ in range(count)]
        assert {future.result(timeout=60).status for future in futures} == {"complete"}
    assert set(noting.compiled) == {f"kind {kind}" for kind in range(len(kinds))}
    assert len(noting.compiled) <= most


def locks_of(process: int) -> set[str]:
    """The semaphores that a process has open, which is what a lock, a queue and an event between processes are made of."""
    maps = Path(f"/proc/{process}/maps").read_text().splitlines()
    return {line.split()[4] for line in maps if "/dev/shm/sem." in line}  # the inode: two processes may know one by two names


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_workers_share_nothing_with_a_lock(tmp_path: Path) -> None:
    """A worker that is killed while it holds one would stop all the others: for good, and seldom."""
    nowhere = {"data_directory": tmp_path / "nowhere", "config": loading.load("none").model_dump_json()}
    failing = [replace(task, **nowhere) for task in tasks(tmp_path, "none", seeds=range(4), settings=())]
    with WorkerProcesses(2) as workers:
        endings = follow(workers, [workers.submit(task) for task in failing])
        assert [ending.status for ending in endings] == ["failed"] * 4
        wait_until(lambda: len(workers.pids) == 2)
        one, other = map(locks_of, workers.pids)
    assert one
    assert other
    assert not one & other


@pytest.mark.slow
def test_workers_stop_at_a_chunk_and_the_rest_is_cancelled(tmp_path: Path) -> None:
    planned = long(tmp_path, seeds=range(4))
    with WorkerProcesses(2) as workers:
        futures = [workers.submit(task) for task in planned]
        while not any(event.kind == "progress" for event in workers.events(0.1)):
            pass
        workers.ask_to_stop()
        wait(futures, timeout=60)
        statuses = ["cancelled" if future.cancelled() else future.result().status for future in futures]
    assert sorted(statuses) == ["cancelled", "cancelled", "interrupted", "interrupted"]
    assert all(run.checkpoint_path.exists() for run in runs(tmp_path))


def command(results: Path) -> subprocess.Popen[str]:
    settings = options(*latest(*SMALL, *UNCOMPILED["tensorflow"], "training.epochs=2000", "training.steps_per_epoch=250"))
    arguments = ["run", "none", *settings, "--seeds", "3", "--jobs", "2", "--results", str(results)]
    return subprocess.Popen(
        [sys.executable, "-m", "gradclip_cli", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def steps_written(results: Path) -> int:
    return sum(run.steps_path.stat().st_size > 20_000 for run in runs(results) if run.steps_path.exists())


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_whole_group_ends_in_checkpoints(number: int, code: int, tmp_path: Path) -> None:
    running = command(tmp_path)
    wait_until(lambda: steps_written(tmp_path) == 2)
    os.killpg(running.pid, number)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == code
    assert "Give the same command again" in errors
    stopped = [run for run in runs(tmp_path) if run.status() == "interrupted"]
    assert len(stopped) == 2
    assert all(run.checkpoint_path.exists() for run in stopped)
    listed = gradclip("list", "--results", str(tmp_path))
    assert listed.stdout.count("interrupted") == 2


@pytest.mark.slow
def test_workers_end_with_their_killed_parent(tmp_path: Path) -> None:
    running = command(tmp_path)
    wait_until(lambda: steps_written(tmp_path) == 2)
    running.send_signal(signal.SIGKILL)
    running.wait()
    group = running.pid

    def alive() -> bool:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[2] == str(group) and fields[0] != "Z":
                return True
        return False

    wait_until(lambda: not alive(), 20)
