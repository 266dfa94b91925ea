"""Warm worker processes that train runs.

A worker process is spawned, imports its framework once and keeps its engine from run to run. Each stands behind an executor
of its own, so that one that dies takes no other along: it is replaced, and its run tried once more, from its checkpoint. In one
executor with many workers, the standard one as well as loky's, a death fails the runs of all of them, and none chooses the
worker that has a task's engine already.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from gradclip_cli import engines
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.one import Workshop
from gradclip_cli.runs.shared_data import SharedData
from gradclip_cli.runs.trainers import (
    GO_ON,
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

ATTEMPTS = 2


def in_worker_processes(jobs: int | None = None) -> Way:
    """So many worker processes at most (None: a core each) train; one job is done in this process."""
    cores = available_cores()

    def trainers(workers: int) -> Trainers | None:
        return WorkerProcesses(workers) if workers > 1 else None

    return Way(
        trainers=trainers,
        at_once=jobs or cores,
        number_chosen=jobs is not None,
        cores=cores,
        data_found_here=True,
        left_behind=GO_ON,
    )


class WorkerProcesses(AbstractContextManager["WorkerProcesses"]):
    """Trains tasks in worker processes, tasks of one compilation in the same one where that leaves none idle."""

    def __init__(self, count: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        # A worker may be killed at any moment, so nothing that the workers share has a lock, which would die with its holder.
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._stop = self._context.RawValue(ctypes.c_bool, False)
        self._lock = threading.Condition()
        self._pending: list[tuple[str, Task, Future[Ending]]] = []
        self._working_on: dict[int, str] = {}
        self._closed = False
        self._shared = Path(tempfile.mkdtemp(prefix="gradclip-"))
        self._executors: dict[int, ProcessPoolExecutor] = {}
        self._pids: dict[int, int] = {}
        self._threads = [threading.Thread(target=self._serve, args=(number,), daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> Future[Ending]:
        future: Future[Ending] = Future()
        with self._lock:
            self._pending.append((engines.compile_key(task.load_config()), task, future))
            self._lock.notify_all()
        return future

    def events(self, seconds: float) -> Iterator[Event]:
        """What the workers told, waiting for the first up to `seconds`."""
        return drained(self._events, seconds)

    @property
    def pids(self) -> list[int]:
        """The worker processes that were started last, in no order."""
        return list(self._pids.values())

    def ask_to_stop(self) -> None:
        """Let every run stop at its next chunk, with a checkpoint; what has not begun is cancelled."""
        self._stop.value = True

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """End the workers: once all is done, or at once where an error ends it all."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        if kind:
            self.ask_to_stop()
            for pid in self.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for thread in self._threads:
            thread.join()
        shutil.rmtree(self._shared, ignore_errors=True)

    def _serve(self, number: int) -> None:
        """Hand one worker its tasks, one after another."""
        while (taken := self._take(number)) is not None:
            task, future = taken
            try:
                future.set_result(self._train(number, task))
            except Exception as error:
                future.set_result(Ending(Status.FAILED, message=f"{type(error).__name__}: {error}"))
        if executor := self._executors.pop(number, None):
            executor.shutdown()

    def _train(self, number: int, task: Task) -> Ending:
        """Have a worker train a task; where it dies, a new one in its place, once."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if number not in self._executors:
                    self._executors[number] = self._new_worker(number)
                return self._executors[number].submit(_train_in_worker, task).result()
            except BrokenProcessPool:
                self._executors.pop(number, None)
                if self._stop.value:
                    return Ending(Status.INTERRUPTED, message="its worker was stopped")
                if attempt < ATTEMPTS:
                    self._events.put(Event(task.directory, EventKind.REMARK, "its worker process died: tried once more"))
        return Ending(Status.FAILED, message="its worker process died twice (killed, or out of memory?)")

    def _new_worker(self, number: int) -> ProcessPoolExecutor:
        hearing, telling = self._context.Pipe(duplex=False)
        given = (telling, self._stop, self._shared)
        executor = ProcessPoolExecutor(1, mp_context=self._context, initializer=_begin_worker, initargs=given)
        self._pids[number] = executor.submit(os.getpid).result()
        telling.close()  # Only the worker holds that end now: it ends with the worker.
        threading.Thread(target=self._listen, args=(hearing,), daemon=True).start()
        return executor

    def _listen(self, hearing: Connection) -> None:
        """Hand on what one worker tells, until it ends."""
        with hearing, contextlib.suppress(EOFError, OSError):
            while True:
                self._events.put(hearing.recv())

    def _take(self, number: int) -> tuple[Task, Future[Ending]] | None:
        """The next task of a worker: of the kind it has an engine for, else of a kind that no other works on, else any."""
        with self._lock:
            while not self._pending and not self._closed:
                self._lock.wait()
            if self._stop.value:
                for _, _, future in self._pending:
                    cancel(future)
                self._pending.clear()
            if not self._pending:
                return None
            kind = self._working_on[number] = self._next_kind(number)
            index = next(index for index, (each, _, _) in enumerate(self._pending) if each == kind)
            _, task, future = self._pending.pop(index)
            return task, future

    def _next_kind(self, number: int) -> str:
        """The kind of task that a worker takes next: one that no other works on, else the one with most left for each on it."""
        kinds = Counter(kind for kind, _, _ in self._pending)
        if (kind := self._working_on.get(number, "")) in kinds:
            return kind
        others = Counter(self._working_on.values())
        return max(kinds, key=lambda each: (not others[each], kinds[each] / (others[each] + 1)))


class _WorkerProcess:
    """What a worker process holds for as long as it lives."""

    def __init__(self) -> None:
        self.workshop = Workshop()
        self.telling: Connection | None = None
        self.should_stop: Callable[[], bool] = lambda: False


@functools.cache
def _this_worker() -> _WorkerProcess:
    return _WorkerProcess()


def _begin_worker(telling: Connection, stop: Any, shared: Path) -> None:
    # They may reach the whole group; the parent says what to do. A script would inherit it if they were ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    threading.Thread(target=_end_with_parent, args=(shared,), daemon=True).start()
    worker = _this_worker()
    worker.workshop = Workshop(shared=SharedData(shared))
    worker.telling, worker.should_stop = telling, lambda: bool(stop.value)


def _end_with_parent(shared: Path) -> None:
    """A worker whose parent was killed ends too, so that the run can be resumed by another command, and clears up after it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        shutil.rmtree(shared, ignore_errors=True)
        os._exit(1)


def _train_in_worker(task: Task) -> Ending:
    worker = _this_worker()

    def report(event: Event) -> None:
        if worker.telling is not None:
            worker.telling.send(event)

    return worker.workshop.train(task, report, worker.should_stop)
