"""Runs on a Dask cluster.

What travels is plain data: a config to a worker, a run's files back. So no disk need be shared, and only the coordinator, the
process that connects, stores anything. It may die: the scheduler then drops what it had asked for, and finished runs are stored.
A run whose worker is lost is handed to another one by Dask.
"""

from __future__ import annotations

import functools
import logging
import pkgutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from gradclip_cli import __version__
from gradclip_cli.errors import ClusterError
from gradclip_cli.files import write_atomically
from gradclip_cli.problems import packed, problem_of, unpacked
from gradclip_cli.runs.actions import Action, decide
from gradclip_cli.runs.metadata import FINISHED, Status
from gradclip_cli.runs.one import Workshop, already_there
from gradclip_cli.runs.store import MODEL_FILES, RunDirectory
from gradclip_cli.runs.trainers import Ending, Event, EventKind, Task, Way, available_cores, cancel, drained

CONNECT_SECONDS = 10


def on_cluster(address: str) -> Way:
    """The workers of the Dask scheduler at an address train; a `data_directory` is then a folder of theirs."""
    left_behind = "what had not come back is trained again"
    return Way(
        trainers=lambda tasks: Cluster(address),
        at_once=available_cores(),
        data_found_here=False,
        starts_scripts=False,
        left_behind=left_behind,
    )


class Cluster(AbstractContextManager["Cluster"]):
    """Trains tasks on the workers of a Dask scheduler. Raises ClusterError where it can't be reached or can't train them."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._client = _connect(address)
        try:
            self._workers = len(_require_same_version(self._client, address))
        except BaseException:
            self._client.close()
            raise
        self._session = f"gradclip-{uuid.uuid4().hex}"
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._sent: dict[Path, Any] = {}
        self._packed: dict[str, Mapping[str, bytes]] = {}
        self._stopping, self._cancelled = False, False

    def submit(self, task: Task) -> Future[Ending]:
        ending: Future[Ending] = Future()
        if not self._sent:
            self._events.put(Event(task.directory, *self._whereabouts()))
        if not task.force and RunDirectory(task.directory).checkpoint_path.exists():
            self._events.put(Event(task.directory, EventKind.REMARK, "starts over: a cluster can't go on from a checkpoint"))
        data_directory = str(task.data_directory) if task.data_directory else None
        order = (__version__, task, self._files(task), data_directory)
        key = (self._session, task.directory.parent.name, task.directory.name)
        sent = self._client.submit(train_on_worker, *order, key=key, pure=False)
        self._sent[task.directory] = sent
        sent.add_done_callback(functools.partial(self._finish, task, ending))
        return ending

    def _files(self, task: Task) -> Mapping[str, bytes]:
        """What the workers need of the user's own; the same for all runs of one problem."""
        config = task.load_config()
        key = problem_of(config).compiled_for
        if key not in self._packed:
            self._packed[key] = packed(config)
        return self._packed[key]

    def events(self, seconds: float) -> Iterator[Event]:
        """What there is to tell, waiting for the first up to `seconds`. Carries out `ask_to_stop` too."""
        if self._stopping and not self._cancelled:
            self._cancelled = True
            self._client.cancel([sent for sent in list(self._sent.values()) if sent.status == "pending"])
        return drained(self._events, seconds)

    def ask_to_stop(self) -> None:
        """Cancel what has not come back, at the next call of `events`: a signal handler must not wait for the client's locks."""
        self._stopping = True

    def __exit__(self, *error: object) -> None:
        """Leave the cluster, which drops what was asked of it and is not done."""
        self._stopping = True
        self._client.close()

    def _whereabouts(self) -> tuple[EventKind, str]:
        if not self._workers:
            return EventKind.REMARK, f"{self._address} has no workers yet: runs wait until some join"
        return EventKind.PREPARING, f"handed to {self._address}, {self._workers} worker{'s' * (self._workers > 1)}"

    def _finish(self, task: Task, future: Future[Ending], sent: Any) -> None:
        """Store what came back and tell how it ended: in a thread of the client's, one run at a time."""
        try:
            ending = self._bring_home(task, sent)
        except Exception as error:
            ending = Ending(Status.FAILED, message=f"{type(error).__name__}: {error}")
        if ending is None:
            cancel(future)
        else:
            future.set_result(ending)
        sent.release()  # so that the worker forgets the files

    def _bring_home(self, task: Task, sent: Any) -> Ending | None:
        """How a run ended; None where it was cancelled here."""
        if sent.status == "cancelled":
            return None if self._stopping else Ending(Status.FAILED, message=f"the scheduler at {self._address} was lost")
        if sent.status == "error":
            return Ending(Status.FAILED, message=_explained(sent.exception()))
        ended, metadata, files = sent.result()
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
        directory.start(config, (), {"arm": directory.arm, "seed": directory.seed})
        for name, content in files.items():
            write_atomically(directory.path / name, content)
        directory.write_metadata(metadata)
    return ending


@functools.cache
def _this_worker() -> Workshop:
    return Workshop()


def train_on_worker(
    version: str, asked: Task, own_files: Mapping[str, bytes], data_directory: str | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, bytes]]:
    """Train a run in a temporary directory of a Dask worker: how it ended, its `run.json`, and its other files by name."""
    from distributed import get_worker

    worker = get_worker()
    if version != __version__:
        raise RuntimeError(f"worker {worker.address} has gradclip {__version__}, the command was given to {version}")
    with tempfile.TemporaryDirectory(prefix="gradclip-", dir=worker.local_directory) as folder:
        directory = RunDirectory(Path(folder) / "run")
        data = Path(data_directory) if data_directory else None
        config = unpacked(asked.load_config(), own_files, Path(worker.local_directory))
        kept = {"save_model": asked.save_model, "keep_checkpoint": asked.keep_checkpoint}
        task = Task.of(config, directory, data_directory=data, **kept)
        ending = _this_worker().train(task, lambda event: None, _dropped(worker))
        paths = [directory.metrics_path, directory.steps_path, *map(directory.model_path, MODEL_FILES)]
        paths += [directory.checkpoint_path] if asked.keep_checkpoint else []
        files = {path.name: path.read_bytes() for path in paths if path.exists()}
        return asdict(ending), directory.metadata() if directory.status() != Status.NONE else {}, files


def _dropped(worker: Any) -> Callable[[], bool]:
    """Says whether the run that this thread trains is wanted no more: it was cancelled, or the coordinator is gone."""
    key = worker.get_current_task()

    def dropped() -> bool:
        state = worker.state.tasks.get(key)
        return state is None or state.state == "cancelled"

    return dropped
