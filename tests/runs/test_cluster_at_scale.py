"""A real Dask scheduler and many workers whose runs take no time: all is stored, in flat memory, and a scheduler may be lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from conftest import contents, options, wait_until

from gradclip_cli.config import loading
from gradclip_cli.errors import ClusterError
from gradclip_cli.runs import cluster, many
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.store import runs
from gradclip_cli.runs.trainers import Ending, Task

pytest.importorskip("distributed", reason="needs gradclip-cli[cluster]")

import distributed
import psutil  # it comes with distributed
from instant_workers import store_instantly

STEPS = 50
SETTINGS = ("name=none", "training.epochs=1", f"training.steps_per_epoch={STEPS}")
QUIET = {
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "5s",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}
"""Without what an idle process of Dask's does 50 to 100 times a second, for which 64 of them have no two cores."""


class Crowd:
    """A scheduler, and many workers that are forked from one process."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.start(workers)

    def start(self, workers: int) -> None:
        """Start the scheduler, and the workers once it answers."""
        arguments = ["scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        self.scheduler = self._process("-m", "dask", *arguments)
        wait_until(self._answers)
        script, local = Path(__file__).with_name("instant_workers.py"), self.folder / f"workers-{len(self.processes)}"
        self._process(str(script), self.address, str(workers), str(local), str(STEPS))

    def kill_scheduler(self) -> None:
        self.scheduler.kill()
        self.scheduler.wait()

    def _process(self, *arguments: str) -> subprocess.Popen[bytes]:
        with open(self.folder / "log", "a") as log:
            started = subprocess.Popen([sys.executable, *arguments], stdout=log, stderr=log, env={**os.environ, **QUIET})
        self.processes.append(started)
        return started

    def _answers(self) -> bool:
        with socket.socket() as asked:
            return asked.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def crowd(folder: Path, workers: int) -> Iterator[Crowd]:
    started = Crowd(folder, workers)
    try:
        yield started
    finally:
        for process in started.processes:
            process.terminate()
        for process in started.processes:
            process.wait()


def training(crowd: Crowd, results: Path, seeds: int) -> Iterator[str]:
    """The real command: what it says, line by line, and at last its exit code."""
    given = ["run", "none", *options(*SETTINGS), "--seeds", str(seeds), "--results", str(results)]
    command = [sys.executable, "-m", "gradclip_cli", *given, "--cluster", crowd.address]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr
        resident = psutil.Process(running.pid)
        for line in running.stderr:
            if line.startswith(("[2000/", "[10000/")):
                yield f"resident {resident.memory_info().rss}"
            yield line
    yield f"exit {running.returncode}"


def assert_all_stored(results: Path, expected: Path, count: int) -> None:
    """As many as were planned, and of every hundredth the very bytes that its worker wrote."""
    assert {run.seed: run.status() for run in runs(results)} == dict.fromkeys(range(count), "complete")
    for plan in many.plan([loading.load("none", SETTINGS)], range(0, count, 100), expected):
        store_instantly(plan.config, plan.directory, STEPS)
        assert contents(results / "none" / plan.directory.path.name) == contents(plan.directory.path)


@pytest.mark.slow
def test_a_scheduler_that_stays_lost_fails_what_has_not_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2)
    monkeypatch.setattr(cluster, "FIND_AGAIN_SECONDS", 2)
    plan = many.plan([loading.load("none", SETTINGS)], [0], tmp_path / "results")[0]
    with crowd(tmp_path, 0) as lost, connected(lost) as there:
        ending = there.submit(Task.of(plan.config, plan.directory))
        told = [event.message for event in there.events(0.5)]
        lost.kill_scheduler()
        while not ending.done():
            told += [event.message for event in there.events(0.1)]
    assert "no workers yet" in told[0]
    assert told[1:] == [f"the scheduler at {lost.address} was lost; waiting for it up to 2 seconds"]
    assert ending.result().message == f"the scheduler at {lost.address} was lost: start it and its workers again"


@pytest.mark.slow
def test_a_scheduler_lost_while_a_result_is_fetched_has_failed_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's call to fetch it raises then, a moment before the client and what it had asked for are told of the loss.

    To close that client raises too, where it is about to connect again by itself.
    """
    fetch, fetched = cluster.Cluster._bring_home, []
    close = distributed.Client.close

    def close_while_it_connects(self: distributed.Client, *given: Any, **named: Any) -> None:
        close(self, *given, **named)
        raise RuntimeError("ConnectionPool is closed")

    monkeypatch.setattr(distributed.Client, "close", close_while_it_connects)
    plan = many.plan([loading.load("none", SETTINGS)], [0], tmp_path / "results")[0]
    with crowd(tmp_path, 1) as lost:

        def fetch_from_a_lost_scheduler(self: cluster.Cluster, task: Task, sent: Any) -> Ending | None:
            fetched.append(sent.status)
            if len(fetched) == 1:
                lost.scheduler.send_signal(signal.SIGSTOP)
                calls = self._client.rpc.occupied
                Timer(0.3, lambda: [call.abort() for comms in [*calls.values()] for call in [*comms]]).start()
            return fetch(self, task, sent)

        monkeypatch.setattr(cluster.Cluster, "_bring_home", fetch_from_a_lost_scheduler)
        with connected(lost) as there:
            ending = there.submit(Task.of(plan.config, plan.directory))
            while not ending.done():
                for event in there.events(0.1):
                    if "was lost; waiting for it" in event.message:
                        lost.kill_scheduler()
                        lost.start(1)
    assert fetched == ["finished", "finished"], ending.result()
    assert ending.result().status == Status.COMPLETE
    assert_all_stored(tmp_path / "results", tmp_path / "expected", 1)


def connected(crowd: Crowd) -> cluster.Cluster:
    """Once it answers, which takes a moment."""
    for _ in range(30):
        with suppress(ClusterError):
            return cluster.Cluster(crowd.address)
    raise AssertionError


@pytest.mark.slow
def test_a_scheduler_that_is_found_again_is_handed_the_rest(tmp_path: Path) -> None:
    """Its workers die with it. What was stored until then stays as it is."""
    results, told, stored = tmp_path / "results", [], {}
    with crowd(tmp_path, 8) as lost:
        for line in training(lost, results, 400):
            told.append(line)
            if line.startswith("[50/"):
                lost.kill_scheduler()
                stored = {
                    path: path.stat().st_mtime_ns for path in results.glob("*/*/run.json") if b'"complete"' in path.read_bytes()
                }
                lost.start(8)
    assert told[-1] == "exit 0", told[-10:]
    assert [line.partition(": ")[2] for line in told if "scheduler" in line] != []
    assert any(f"the scheduler at {lost.address} was lost; waiting for it" in line for line in told)
    assert any(f"the scheduler at {lost.address} is there again" in line for line in told)
    assert len(stored) >= 50
    assert all(path.stat().st_mtime_ns == written for path, written in stored.items())
    assert_all_stored(results, tmp_path / "expected", 400)


@pytest.mark.slow
def test_after_a_lost_scheduler_the_same_command_trains_the_rest(tmp_path: Path) -> None:
    results, told = tmp_path / "results", []
    with crowd(tmp_path, 8) as lost:
        for line in training(lost, results, 200):
            told.append(line)
            if line.startswith("[50/"):
                lost.kill_scheduler()
        assert told[-1] == "exit 1"
        assert any("failed, all for one reason; the same command trains them again" in line for line in told), told[-10:]
        assert any(f"the scheduler at {lost.address} was lost: start it and its workers again" in line for line in told)
        stored = {run.seed for run in runs(results) if run.status() == "complete"}
        assert 50 <= len(stored) < 200
        lost.start(8)
        again = [*training(lost, results, 200)]
    assert again[-1] == "exit 0", again[-10:]
    assert sum("complete in" in line for line in again) == 200 - len(stored)
    assert_all_stored(results, tmp_path / "expected", 200)


@pytest.mark.endurance
def test_ten_thousand_runs_on_sixty_four_workers(tmp_path: Path) -> None:
    """All are stored, and the command's memory hardly grows with the runs that it has stored."""
    results = tmp_path / "results"
    with crowd(tmp_path, 64) as many_workers:
        told = [line for line in training(many_workers, results, 10_000) if not line.startswith("[")]
    assert told[-1] == "exit 0", told
    early, late = (int(line.split()[1]) for line in told if line.startswith("resident "))
    assert late < 1.1 * early
    assert_all_stored(results, tmp_path / "expected", 10_000)
