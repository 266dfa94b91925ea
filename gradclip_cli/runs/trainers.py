"""The contract of a way to train runs outside this process: tasks go in, events and endings come out."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from gradclip_cli.config.kinds import config_of
from gradclip_cli.config.schema import Config
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.tally import Progress

GO_ON = "interrupted ones go on"
"""`left_behind` of what trains into the runs' directories, where checkpoints stay."""


@dataclass(frozen=True)
class Task:
    """One run to train, as plain data that travels between processes."""

    config: str
    """The config as JSON."""
    directory: Path
    folder: str = ""
    """Where the relative paths of a problem of the user's own begin."""
    force: bool = False
    """Whether a run that is there is to be replaced, whatever it is."""
    wait: bool = False
    """Whether to wait for another process that is training this run."""
    data_directory: Path | None = None
    save_model: bool = False
    keep_checkpoint: bool = False

    @classmethod
    def of(cls, config: Config, directory: RunDirectory, **others: Any) -> Task:
        """The task of training a config into a directory."""
        folder = getattr(config, "folder", "")
        return cls(config.model_dump_json(), directory.path, folder, **others)

    def load_config(self) -> Config:
        """The config to train."""
        config = config_of(json.loads(self.config))
        return config.model_copy(update={"folder": self.folder}) if self.folder else config


@dataclass(frozen=True)
class Ending:
    """How a run ended, or that another process is training it."""

    status: Status
    seconds: float = 0.0
    message: str = ""
    """Where it diverged, or why it failed."""
    health: str = ""
    """What its gradients say, in a few words."""
    shown: str = ""
    """What is to be seen of a script besides, in several lines: what it printed last where it failed, what was not recorded."""
    was_there: bool = False
    """Whether another command had trained the run meanwhile."""


class EventKind(StrEnum):
    """What there is to show about a run that is being trained."""

    PREPARING = "preparing"
    REMARK = "remark"
    NOTE = "note"
    """A remark on the problem, the same for all its runs: it is shown once."""
    PROGRESS = "progress"
    STANDING = "standing"
    """How far a script is, in words; what was being prepared goes on."""


@dataclass(frozen=True)
class Event:
    """Something to show about a run that is being trained: what is being prepared, a remark, or how far it is."""

    directory: Path
    kind: EventKind
    message: str = ""
    progress: Progress | None = None


class Trainers(AbstractContextManager[Any], Protocol):
    """What trains tasks elsewhere, such as worker processes of this machine, or a cluster's.

    Left as a context, it ends what it has begun, and what is not done is dropped where an error leaves it.
    """

    def submit(self, task: Task) -> Future[Ending]:
        """Have a task trained. What goes wrong with it is told in its ending, not raised; what never began is `cancel`led."""
        ...

    def events(self, seconds: float) -> Iterable[Event]:
        """What there is to tell by now, waiting for the first up to `seconds`; asked for until all is done."""
        ...

    def ask_to_stop(self) -> None:
        """Let what is being trained stop soon, and cancel the rest. A signal handler calls it, so it waits for nothing."""
        ...


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to train runs, as a command was asked to, and what differs between ways. To make one starts and reaches nothing."""

    trainers: Callable[[int], Trainers | None]
    """From how many are to train at a time, once training begins: what trains; None where this process does.

    Raises a GradclipError where they can't be trained so.
    """
    at_once: int
    """How many are trained at a time at most; where nobody knows before, this machine's cores."""
    number_chosen: bool = False
    """Whether the user said how many."""
    cores: int | None = None
    """This machine's cores, which these share as they do its memory; None where they are elsewhere."""
    data_found_here: bool
    """Whether the dataset is found or fetched on this machine before; else a task's `data_directory` is what the user gave."""
    starts_scripts: bool = True
    """Whether a config's command can be started so."""
    left_behind: str
    """What becomes of runs that an interruption cut off, once the same command is given again: ends a sentence."""


THIS_PROCESS = Way(trainers=lambda workers: None, at_once=1, data_found_here=True, left_behind=GO_ON)


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def drained(queue: SimpleQueue[Event], seconds: float) -> Iterator[Event]:
    """All that a queue holds, waiting for the first up to `seconds`."""
    with contextlib.suppress(Empty):
        yield queue.get(timeout=seconds)
        while True:
            yield queue.get_nowait()


def cancel(future: Future[Ending]) -> None:
    """Cancel what has not begun, and let those that wait for it know."""
    future.cancel()
    future.set_running_or_notify_cancel()  # `concurrent.futures.wait` would wait on without it.
