"""What a recorder says to whoever trains: warnings that name the user's line, and in the end where the recording is."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
import warnings
from pathlib import Path

from gradclip_cli.errors import StoreError
from gradclip_cli.runs.metadata import Status
from gradclip_cli.texts import counted

LOGGER = logging.getLogger("gradclip")
"""Says where recordings are. Its level is the user's: `logging.getLogger("gradclip").setLevel("WARNING")` silences it."""
LIBRARIES = ("gradclip_cli", "contextlib", "keras", "lightning", "torch", "transformers")
"""Whose lines are no user's."""
ENDED = {
    Status.DIVERGED: "a diverged",
    Status.INTERRUPTED: "an interrupted",
    Status.FAILED: "a failed",
    Status.RUNNING: "an unfinished",
}
"""How a recording, or its training, is called that did not end as it should."""


def warn(text: str) -> None:
    """Warn of something, with the line of the user's that led to it; nothing is raised where warnings are made errors."""
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=_frames_of_ours())
    except Warning:
        print(text, file=sys.stderr)


def say(text: str) -> None:
    """Log what is no warning; where nobody has told logging what becomes of such lines, it stands on stderr."""
    if LOGGER.level == logging.NOTSET:
        LOGGER.setLevel(logging.INFO)
    if LOGGER.hasHandlers():
        LOGGER.info(text)
    elif LOGGER.isEnabledFor(logging.INFO):
        with contextlib.suppress(OSError, ValueError):  # of a stream that is full or closed
            print(f"{LOGGER.name}: {text}", file=sys.stderr)


def recorded(folder: Path, steps: tuple[int, int], status: Status) -> str:
    """Where a recording is and how to look at it; `steps` are those that were recorded and all that were taken."""
    some, taken = steps
    count = counted(taken, "step") if some == taken else f"{some:,} of {counted(taken, 'step')}"
    of = f" of {ENDED[status]} training" if status in ENDED else ""
    place = shlex.quote(_from_here(folder))
    return f"recorded {count}{of} in {place}; see: gradclip show {place}"


def replaced(folder: Path, status: Status) -> str:
    """That a recording takes the place of one that was not finished."""
    advice = "record elsewhere to keep such runs"
    return f"gradclip: {_from_here(folder)}: held {ENDED[status]} recording, which this one replaces; {advice}"


def told(error: Exception) -> str:
    """What went wrong; a folder is chosen in the script, and by no option."""
    if isinstance(error, StoreError):
        return f"{error.what}; {error.hint.replace(' with --results', '')}" if error.hint else error.what
    return str(error) or type(error).__name__


def _from_here(folder: Path) -> str:
    """A folder as it is typed in this one."""
    with contextlib.suppress(OSError):  # where this folder is gone
        if folder.is_relative_to(Path.cwd()):
            return os.path.relpath(folder)
    return str(folder)


def _frames_of_ours() -> int:
    """How far up the caller is who is neither gradclip nor a library: a warning names his line."""
    frame, frames = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in LIBRARIES:
        frame, frames = frame.f_back, frames + 1
    return frames
