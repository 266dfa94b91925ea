"""Runs on a Dask cluster.

What travels is plain data: a config to a worker, a run's files back. So no disk need be shared, and only the coordinator, the
process that connects, stores anything. It may die: the scheduler then drops what it had asked for, and finished runs are stored.
A run whose worker is lost is handed to another one by Dask.
"""

from __future__ import annotations

import functools
import logging
import pkgutil
import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from gradclip_cli import __version__
from gradclip_cli.errors import ClusterError
from gradclip_cli.files import write_atomically
from gradclip_cli.problems import packed, problem_of
from gradclip_cli.runs.actions import Action, decide
from gradclip_cli.runs.cluster_worker import train_on_worker
from gradclip_cli.runs.metadata import FINISHED, Status
from gradclip_cli.runs.one import already_there
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.trainers import Ending, Event, EventKind, Task, Way, available_cores, cancel, drained

CONNECT_SECONDS = 10
FIND_AGAIN_SECONDS = 60
"""How long a scheduler that was lost is waited for."""
MOST_AT_ONCE = 2_000
"""How many runs the scheduler has at a time, so that what it and its workers hold is bounded however many are planned."""

MOST_IN_A_MESSAGE = 250
"""How many it is given in one message, and until the next look at what there is to tell: all at once would choke it."""


def on_cluster(address: str) -> Way:
    """The workers of the Dask scheduler at an address train; a `data_directory` is then a folder of theirs."""
    left_behind = "what had not come back is trained again"
    return Way(
        trainers=lambda workers: Cluster(address),
        at_once=available_cores(),
        data_found_here=False,
        starts_scripts=False,
        left_behind=left_behind,
    )


class Cluster(AbstractContextManager["Cluster"]):
    """Trains tasks on the workers of a Dask scheduler. Raises ClusterError where it can't be reached or can't train them.

    A scheduler that is lost is waited for, and handed what has not come back: by another client, which shares no state, key or
    name with the lost one. All but `_finish` belongs to the thread that calls `submit` and `events`.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._waiting: deque[tuple[Task, Future[Ending]]] = deque()
        self._sent: dict[Path, Any] = {}
        self._packed: dict[str, Mapping[str, bytes]] = {}
        self._stopping, self._cancelled, self._begun = False, False, False
        self._lost, self._given_up_at = False, 0.0
        self._join()

    def _join(self) -> None:
        """Connect, as a client of which the scheduler knows nothing."""
        self._client = _connect(self._address)
        try:
            self._workers = len(_require_same_version(self._client, self._address))
        except BaseException:
            self._leave()
            raise
        self._session = f"gradclip-{uuid.uuid4().hex}"
        self._own_files: dict[str, Any] = {}

    def submit(self, task: Task) -> Future[Ending]:
        ending: Future[Ending] = Future()
        config = task.load_config()
        key = problem_of(config).compiled_for
        if key not in self._packed:
            self._packed[key] = packed(config)
        if not task.force and RunDirectory(task.directory).checkpoint_path.exists():
            self._tell(task, "starts over: a cluster can't go on from a checkpoint")
        self._waiting.append((task, ending))
        return ending

    def events(self, seconds: float) -> Iterator[Event]:
        """What there is to tell, waiting for the first up to `seconds`. Hands tasks on and carries out `ask_to_stop` too."""
        if self._stopping:
            self._cancel()
        elif self._lost or self._client.status != "running":
            self._find_again()
        else:
            most = min(len(self._waiting), MOST_AT_ONCE - len(self._sent), MOST_IN_A_MESSAGE)
            if most > 0:
                self._send([self._waiting.popleft() for _ in range(most)])
        return drained(self._events, seconds)

    def _cancel(self) -> None:
        while self._waiting:
            cancel(self._waiting.popleft()[1])
        if self._sent and not self._cancelled:
            self._cancelled = True
            self._client.cancel([sent for sent in list(self._sent.values()) if sent.status == "pending"])

    def _send(self, given: Sequence[tuple[Task, Future[Ending]]]) -> None:
        """Hand tasks on in one message, which costs both sides a fraction of one each."""
        if not self._begun:
            self._begun = True
            self._events.put(Event(given[0][0].directory, *self._whereabouts()))
        tasks = [task for task, _ in given]
        keys = [(self._session, task.directory.parent.name, task.directory.name) for task in tasks]
        data_directories = [str(task.data_directory) if task.data_directory else None for task in tasks]
        orders = ([__version__] * len(tasks), tasks, [*map(self._travelling, tasks)], data_directories)
        for (task, ending), sent in zip(given, self._client.map(train_on_worker, *orders, key=keys, pure=False), strict=True):
            self._sent[task.directory] = sent
            sent.add_done_callback(functools.partial(self._finish, task, ending))

    def _travelling(self, task: Task) -> Any:
        """What the workers need of the user's own: handed to the scheduler once for all runs of a problem."""
        key = problem_of(task.load_config()).compiled_for
        if self._packed[key] and key not in self._own_files:
            with warnings.catch_warnings(action="ignore"):  # that they are large
                self._own_files[key] = self._client.submit(dict, self._packed[key], pure=False)
        return self._own_files.get(key, {})

    def ask_to_stop(self) -> None:
        """Cancel what has not come back, at the next call of `events`: a signal handler must not wait for the client's locks."""
        self._stopping = True

    def __exit__(self, *error: object) -> None:
        """Leave the cluster, which drops what was asked of it and is not done."""
        self._stopping = True
        self._leave()

    def _leave(self) -> None:
        """Close the connection; one that was lost can't always be closed, as where Dask is about to make it again."""
        with suppress(Exception):
            self._client.close()

    def _whereabouts(self) -> tuple[EventKind, str]:
        if not self._workers:
            return EventKind.REMARK, f"{self._address} has no workers yet: runs wait until some join"
        return EventKind.PREPARING, f"handed to {self._address}, {self._workers} worker{'s' * (self._workers > 1)}"

    def _tell(self, task: Task, remark: str) -> None:
        self._events.put(Event(task.directory, EventKind.REMARK, remark))

    def _find_again(self) -> None:
        """Try once to reach a scheduler that was lost; after a while, what has not come back has failed."""
        if self._sent or not self._waiting:
            return  # Dask has cancelled them, and is about to say so.
        task, now = self._waiting[0][0], time.monotonic()
        lost = f"the scheduler at {self._address} was lost"
        if not self._given_up_at:
            self._given_up_at = now + FIND_AGAIN_SECONDS
            self._tell(task, f"{lost}; waiting for it up to {FIND_AGAIN_SECONDS} seconds")
            return  # so that it is shown
        self._leave()
        try:
            self._join()
        except (ClusterError, OSError):
            while now > self._given_up_at and self._waiting:
                ended = Ending(Status.FAILED, message=f"{lost}: start it and its workers again")
                self._waiting.popleft()[1].set_result(ended)
        else:
            self._lost, self._given_up_at = False, 0.0
            found = "is there again" + " and waits for workers" * (not self._workers)
            self._tell(task, f"the scheduler at {self._address} {found}; {len(self._waiting):,} runs are handed to it anew")

    def _finish(self, task: Task, ending: Future[Ending], sent: Any) -> None:
        """Store what came back and tell how it ended: in a thread of the client's, one run at a time."""
        try:
            ended = self._bring_home(task, sent)
        except Exception as error:
            ended = Ending(Status.FAILED, message=f"{type(error).__name__}: {error}")
        if ended is not None:
            ending.set_result(ended)
        elif self._stopping:
            cancel(ending)
        else:
            self._lost = True
            self._waiting.append((task, ending))
        sent.release()  # so that the worker forgets the files
        del self._sent[task.directory]

    def _bring_home(self, task: Task, sent: Any) -> Ending | None:
        """How a run ended; None where it was cancelled, or could not be fetched because the scheduler was lost."""
        if sent.status == "error":
            return Ending(Status.FAILED, message=_explained(sent.exception()))
        try:
            ended, metadata, files = sent.result()
        except OSError:  # of the connection, which is told here before the client knows of it
            return None
        except Exception:
            if sent.status == "cancelled":  # before it was fetched, or meanwhile
                return None
            raise
        ending = Ending(**ended)
        if ending.status not in (*FINISHED, Status.FAILED):
            return Ending(Status.FAILED, message="it was stopped on its worker")
        return _store(task, ending, metadata, files, lambda: not self._stopping) if metadata else ending


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise ClusterError("--cluster needs Dask, which is not installed: pip install 'gradclip-cli[cluster]'") from None
    for name in ("distributed", "distributed.client"):  # Tracebacks of what is said here in a line.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except Exception as error:  # of sockets, TLS, the address, versions: each raises its own
        reason = str(error).partition("\n")[0] or type(error).__name__
        hint = "start one with `dask scheduler`, or give --cluster the address that it prints"
        raise ClusterError(f"{address}: no Dask scheduler answers there ({reason}); {hint}") from None


def _require_same_version(client: Any, address: str) -> Mapping[str, Any]:
    """What each worker answered that is there; those that join later are asked with each run."""
    ask = (pkgutil.resolve_name, "gradclip_cli:__version__")  # Can be asked where nothing of ours is installed.
    answers: dict[str, Any] = client.run(*ask, on_error="return")
    try:
        scheduler = client.run_on_scheduler(*ask)
    except ImportError as error:
        scheduler = error
    asked = {f"the scheduler {address}": scheduler, **{f"worker {worker}": answer for worker, answer in answers.items()}}
    others = [f"{who} has {_version(answer)}" for who, answer in asked.items() if _version(answer) not in (__version__, "")]
    if others:
        shown = "\n  ".join(others[:5] + ["..."] * (len(others) > 5))
        raise ClusterError(f"gradclip {__version__} must be installed on all of the cluster, as it is here, but\n  {shown}")
    return answers


def _version(answer: Any) -> str:
    """The version that a worker has; nothing where it did not answer, since Dask may yet lose or regain it."""
    if isinstance(answer, ImportError | AttributeError):
        return "none"
    return answer if isinstance(answer, str) else ""


def _explained(error: BaseException) -> str:
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker):
        return f"its worker died each time, of {error.allowed_failures + 1} (killed, or out of memory?)"
    return f"{type(error).__name__}: {error}"


def _store(
    task: Task,
    ending: Ending,
    metadata: Mapping[str, Any],
    files: Mapping[str, bytes],
    keep_waiting: Callable[[], bool] = lambda: False,
) -> Ending:
    """Let a run's files take the place of what is there, `run.json` last: until then the run counts as unfinished.

    What another command has trained there meanwhile stays. Raises ConflictError where that is another config's run.
    """
    config, directory = task.load_config(), RunDirectory(task.directory)
    with directory.locked(keep_waiting):
        if decide(config, directory, force=task.force).action == Action.SKIP:
            return already_there(directory)
        if ending.status not in FINISHED and directory.checkpoint_path.exists():
            return ending  # A run of this machine can still go on.
        directory.start_recording(config, {"arm": directory.arm, "seed": directory.seed})
        for name, content in files.items():
            write_atomically(directory.path / name, content)
        directory.write_metadata(metadata)
    return ending
