"""One run of a script: its command is started, its recorder writes the run, and here is told how it ended.

The exit code decides: 0 and a finished recording are a run, all else is none. A script is not resumed: it starts over.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gradclip_cli.config.recorded import PYTHON, RecordedConfig
from gradclip_cli.errors import StoreError
from gradclip_cli.files import writing
from gradclip_cli.problems import identified
from gradclip_cli.runs.endings import now
from gradclip_cli.runs.metadata import FINISHED, Status
from gradclip_cli.runs.processes import started
from gradclip_cli.runs.standing import last_lines, line_with, standing
from gradclip_cli.runs.store import RUN_VARIABLE, UNRECORDED, RunDirectory
from gradclip_cli.runs.trainers import Ending, Event, EventKind, Task

LOOK = 0.1  # seconds between two looks at whether a script goes on
TELL = 1.0  # seconds between two looks at how far it is
SHOWN = 10
"""Lines of a failed script's output that are shown."""
LONGEST_REASON = 300
NOTHING = "the script recorded nothing: it needs a recorder, which finds its run by itself"
RECORDERS = """what it lacks:
from gradclip_cli import Recorder                  # Keras
model.fit(..., callbacks=[Recorder()])

from gradclip_cli import record                    # PyTorch
with record(optimizer, model=model):
    ...  # the loop"""


def train(task: Task, config: RecordedConfig, report: Callable[[Event], None], should_stop: Callable[[], bool]) -> Ending:
    """Train a run by its command, in its directory, whose lock is held.

    Raises ConfigError where its sources have changed, OwnCodeError where it can't be started, StoreError where its directory
    can't be written.
    """
    directory, seed = RunDirectory(task.directory), config.training.seed
    identified(config)
    facts = {"arm": config.name, "seed": seed, "recorded": True, "seed_named": True, "started": now()}
    directory.start_recording(config, facts)
    report(Event(task.directory, EventKind.PREPARING, f"running {_title(config.words)}"))
    clock = time.perf_counter()
    try:
        code = _run(config, directory, _teller(task.directory, report), should_stop)
    except BaseException as error:
        status = Status.FAILED if isinstance(error, Exception) else Status.INTERRUPTED
        _leave(directory, status, str(error) or type(error).__name__, facts)
        raise
    return _ended(directory, code, time.perf_counter() - clock)


def _run(
    config: RecordedConfig, directory: RunDirectory, tell: Callable[[], None], should_stop: Callable[[], bool]
) -> int | None:
    """Have the script run to its end: its exit code, or None where it was asked to stop before."""
    first, *others = config.words
    words = [sys.executable if first == PYTHON else first, *others]
    variables = {RUN_VARIABLE: str(directory.path.absolute())}
    with writing(directory.log_path):
        directory.log_path.touch()
    with open(directory.log_path, "wb") as log, started(words, Path(config.folder), log, variables) as script:
        while (code := script.code(LOOK)) is None:
            tell()
            if should_stop():
                script.stop()
                return None
        return code


def _teller(directory: Path, report: Callable[[Event], None]) -> Callable[[], None]:
    """What tells, now and then, how far a run is, where that has changed."""
    told, looked = "", time.monotonic()

    def tell() -> None:
        nonlocal told, looked
        if time.monotonic() - looked < TELL:
            return
        looked = time.monotonic()
        if (where := standing(RunDirectory(directory))) not in ("", told):
            told = where
            report(Event(directory, EventKind.STANDING, where))

    return tell


def _title(words: Sequence[str]) -> str:
    """A command in a word: what Python runs, or the program."""
    return next((Path(word).name for word in words if word != PYTHON and not word.startswith("-")), words[0])


def _ended(directory: RunDirectory, code: int | None, seconds: float) -> Ending:
    """How a run ended, by the script's exit code and what was recorded."""
    try:
        metadata = directory.metadata()
    except StoreError:
        metadata = {"arm": directory.arm, "seed": directory.seed, "recorded": True}
    status = metadata.get("status")
    if code is None:
        return _leave(directory, Status.INTERRUPTED, "it was stopped before it ended", metadata)
    if code == 0 and status in FINISHED:
        divergence, health = (metadata.get("diverged") or {}).get("told", ""), (metadata.get("health") or {}).get("word", "")
        warned = line_with(directory.log_path, UNRECORDED)
        return Ending(Status(status), round(seconds, 3), divergence, health, f"its script was told: {warned}" if warned else "")
    return _leave(directory, Status.FAILED, _reason(directory, code, metadata), {**metadata, "exit_code": code})


def _reason(directory: RunDirectory, code: int, metadata: dict[str, Any]) -> str:
    """Why a script's run is none."""
    last = (last_lines(directory.log_path, 1) or ["it printed nothing"])[0].strip()[:LONGEST_REASON]
    if code < 0:
        return f"killed by {_signal(-code)}"
    if code:
        return f"exit code {code}: {last}"
    if not directory.has("steps.csv"):
        return NOTHING
    return str(metadata.get("reason") or "the script ended before its recording did")


def _signal(number: int) -> str:
    """A signal in words."""
    with contextlib.suppress(ValueError):
        name = signal.Signals(number).name
        return f"{name} (out of memory?)" if name == "SIGKILL" else name
    return f"signal {number}"


def _leave(directory: RunDirectory, status: Status, reason: str, metadata: dict[str, Any]) -> Ending:
    """Write down that a run is none, and why; its ending, with what the script printed last."""
    directory.write_last_words({**metadata, "status": status, "reason": reason})
    return Ending(status, message=reason, shown=_shown(directory, reason)) if status == Status.FAILED else Ending(status)


def _shown(directory: RunDirectory, reason: str) -> str:
    """What is to be seen of a script that failed: the lines that it lacks, or what it printed last."""
    if reason == NOTHING:
        return RECORDERS
    lines = last_lines(directory.log_path, SHOWN)
    return "\n".join([f"its last lines, of {directory.log_path}:", *lines]) if lines else ""
