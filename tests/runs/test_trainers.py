"""Ways to train, tried with one that is made here: what is asked of trainers, and what follows from the facts of a way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

import pytest
from conftest import SMALL, store_run
from trained import Quiet

from gradclip_cli.config import loading
from gradclip_cli.errors import ClusterError, DatasetError
from gradclip_cli.problems import article
from gradclip_cli.runs import many, one
from gradclip_cli.runs.many import Execution, Interrupted, PlannedRun
from gradclip_cli.runs.trainers import (
    THIS_PROCESS,
    Ending,
    Event,
    EventKind,
    Task,
    Trainers,
    Way,
    available_cores,
    cancel,
    drained,
)
from gradclip_cli.runs.workers import in_worker_processes

LEFT_BEHIND = "the others are forgotten"


class Threads:
    """Trainers that only say so: each task in a thread of its own, told of and ended as `train` says."""

    def __init__(self, train: Callable[[Task], Ending]) -> None:
        self.asked: list[Task] = []
        self.left: list[type[BaseException] | None] = []
        self.stopped = threading.Event()
        self._train, self._queue = train, SimpleQueue[Event]()

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.left.append(kind)

    def submit(self, task: Task) -> Future[Ending]:
        self.asked.append(task)
        self._queue.put(Event(task.directory, EventKind.REMARK, "handed to a thread"))
        future: Future[Ending] = Future()
        threading.Thread(target=lambda: future.set_result(self._train(task)), daemon=True).start()
        return future

    def events(self, seconds: float) -> Iterator[Event]:
        return drained(self._queue, seconds)

    def ask_to_stop(self) -> None:
        self.stopped.set()


class Listening(Quiet):
    def __init__(self) -> None:
        super().__init__()
        self.remarks: list[str] = []

    def remarked(self, run: PlannedRun, remark: str) -> None:
        self.remarks.append(f"{run.label}: {remark}")


def complete(task: Task) -> Ending:
    return Ending("complete", 1.5, health="calm")


def way_of(trainers: Trainers | None, **facts: bool) -> Way:
    known = {"data_found_here": True, **facts}
    return Way(trainers=lambda tasks: trainers, at_once=3, left_behind=LEFT_BEHIND, **known)


def planned(results: Path, *seeds: int, settings: Sequence[str] = SMALL) -> list[PlannedRun]:
    return many.plan([loading.load("none", ["name=none", *settings])], seeds, results)


def test_trainers_get_what_is_not_finished_and_their_endings_are_the_results(results: Path) -> None:
    store_run(results, "none", 1, [2.0, 1.5], epochs=2, settings=[*SMALL[:1], "training.steps_per_epoch=6"])
    asked_for: list[int] = []
    threads, observer = Threads(complete), Listening()
    way = replace(way_of(threads), trainers=lambda tasks: asked_for.append(tasks) or threads)
    ended = many.execute(planned(results, 0, 1, 2), observer, Execution(way=way, save_model=True))
    assert asked_for == [2]
    assert [(task.directory.name, task.save_model) for task in threads.asked] == [("seed-0", True), ("seed-2", True)]
    assert [result.status for result in ended] == ["complete"] * 3
    assert [result.seconds for result in ended] == [1.5, ended[1].seconds, 1.5]
    assert sorted(map(id, observer.ended_runs)) == sorted(map(id, ended))
    assert observer.remarks == ["none seed 0: handed to a thread", "none seed 2: handed to a thread"]
    assert threads.left == [None]


def test_trainers_are_asked_again_for_what_another_command_trains(results: Path) -> None:
    threads = Threads(lambda task: Ending("complete" if task.wait or task.directory.name == "seed-1" else "busy"))
    ended = many.execute(planned(results, 0, 1), Quiet(), Execution(way=way_of(threads)))
    assert [(task.directory.name, task.wait) for task in threads.asked] == [
        ("seed-0", False),
        ("seed-1", False),
        ("seed-0", True),
    ]
    assert [result.status for result in ended] == ["complete", "complete"]


def test_without_trainers_this_process_trains(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []
    monkeypatch.setattr(one.Workshop, "train", lambda self, task, *others: trained.append(task.directory.name) or complete(task))
    many.execute(planned(results, 0, 1), Quiet(), Execution(way=way_of(None)))
    many.execute(planned(results, 2), Quiet())
    assert trained == ["seed-0", "seed-1", "seed-2"]


def test_data_are_found_here_first_only_where_the_way_says_so(results: Path, tmp_path: Path) -> None:
    """The folder that was named has none: told before anybody is asked to train, or left to those who are."""
    runs, threads = planned(results, 0, settings=()), Threads(complete)
    here, there = (
        Execution(way=way_of(threads, data_found_here=found), data_directory=tmp_path / "nowhere") for found in (True, False)
    )
    with pytest.raises(DatasetError, match="the folder that you named"):
        many.execute(runs, Quiet(), here)
    assert not threads.asked
    many.execute(runs, Quiet(), there)
    assert [task.data_directory for task in threads.asked] == [tmp_path / "nowhere"]


def test_tasks_name_the_folder_that_was_found(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(article.ArticleProblem, "find", lambda *asked: tmp_path / "found")
    threads = Threads(complete)
    many.execute(planned(results, 0, 1), Quiet(), Execution(way=way_of(threads)))
    assert [task.data_directory for task in threads.asked] == [tmp_path / "found"] * 2


def test_what_stands_in_the_way_is_raised_before_anything_is_trained(results: Path) -> None:
    def unreachable(tasks: int) -> Trainers:
        raise ClusterError("nobody there")

    with pytest.raises(ClusterError, match="nobody there"):
        many.execute(planned(results, 0), Quiet(), Execution(way=replace(THIS_PROCESS, trainers=unreachable)))
    assert not list(results.rglob("run.json"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# Interruptions.


class Endless(Threads):
    """Trains until it is asked to stop, and cancels what it was not asked for first; `signals` come one a look."""

    def __init__(self, *signals: int, patient: bool = True) -> None:
        super().__init__(lambda task: self.stopped.wait(60) and Ending("interrupted") if patient else Ending("interrupted"))
        self.signals = list(signals)
        self.patient, self.futures = patient, list[Future[Ending]]()

    def submit(self, task: Task) -> Future[Ending]:
        if not self.asked and self.patient:
            return super().submit(task)
        self.asked.append(task)
        self.futures.append(Future())
        return self.futures[-1]

    def events(self, seconds: float) -> Iterator[Event]:
        if self.signals:
            signal.raise_signal(self.signals.pop(0))
        elif self.stopped.is_set() and self.futures:
            cancel(self.futures.pop())
        return super().events(seconds / 10)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_asks_to_stop_and_the_way_says_what_is_left_behind(number: int, code: int, results: Path) -> None:
    endless = Endless(number)
    with pytest.raises(Interrupted) as caught:
        many.execute(planned(results, 0, 1), Quiet(), Execution(way=way_of(endless)))
    told = f"Interrupted. Give the same command again: finished runs are kept, {LEFT_BEHIND}."
    assert (str(caught.value), caught.value.exit_code) == (told, code)
    assert [result.status for result in caught.value.results] == ["interrupted"]  # the other was cancelled
    assert len(endless.asked) == 2
    assert endless.left == [None]


def test_a_second_signal_stops_at_once_with_an_error_for_the_trainers(results: Path) -> None:
    endless = Endless(signal.SIGINT, signal.SIGINT, patient=False)
    with pytest.raises(KeyboardInterrupt):
        many.execute(planned(results, 0), Quiet(), Execution(way=way_of(endless)))
    assert endless.left == [KeyboardInterrupt]


# The ways that there are.


@pytest.mark.parametrize(("jobs", "runs", "asked"), [(1, 2, 1), (5, 2, 2), (5, 1, 1), (2, 3, 2)])
def test_trainers_are_asked_for_as_many_as_runs_at_most(jobs: int, runs: int, asked: int, results: Path) -> None:
    numbers: list[int] = []
    way = replace(in_worker_processes(jobs), trainers=lambda workers: numbers.append(workers) or Threads(complete))
    many.execute(planned(results, *range(runs)), Quiet(), Execution(way=way))
    assert numbers == [asked]


def test_one_job_is_done_here() -> None:
    assert in_worker_processes(1).trainers(1) is None
    way = in_worker_processes()
    assert (way.at_once, way.cores) == (available_cores(), available_cores())
    assert in_worker_processes(100).at_once == 100
    started = threading.active_count()
    two = in_worker_processes(2).trainers(2)
    assert threading.active_count() == started + 2
    with two:
        assert threading.active_count() == started + 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that lets a process choose its cores")
def test_cores_are_those_of_this_process() -> None:
    code = (
        "import os\n"
        "from gradclip_cli.runs.trainers import available_cores\n"
        "print(available_cores())\n"
        "os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])\n"
        "print(available_cores())\n"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert told == [str(len(os.sched_getaffinity(0))), "1"]
