"""A script's process: it runs in a group of its own, which ends with whoever started it, however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gradclip_cli.errors import OwnCodeError

POLITELY = ((signal.SIGINT, 5.0), (signal.SIGTERM, 2.0))
"""What asks a script to stop, one after the other, each with the seconds that it then has."""
GUARD = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.stdin.buffer.read()
os.killpg(0, signal.SIGKILL)
"""
"""What leads the script's group and reads a pipe that only we hold: killed, we still take the group along."""
ENVIRONMENT = dict(os.environ)
"""As it was when gradclip started: an engine that was imported since may have set something for itself."""


@dataclass(frozen=True)
class Script:
    """A command that was started, with the number of its process group."""

    process: subprocess.Popen[bytes]
    group: int

    def code(self, seconds: float) -> int | None:
        """Its exit code, negative for a signal's number; None where it still goes on after these seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        return None

    def stop(self) -> None:
        """Ask it to stop, then have it stopped."""
        for number, seconds in POLITELY:
            _send(self.group, number)
            if self.code(seconds) is not None:
                return


@contextmanager
def started(words: Sequence[str], folder: Path, output: BinaryIO, variables: Mapping[str, str]) -> Iterator[Script]:
    """A command, started in a folder, with its output in a file and these environment variables besides ours.

    Once this is left nothing of it is: what it started and left behind is ended too. Raises OwnCodeError where it can't start.
    """
    environment = {"PYTHONUNBUFFERED": "1", **ENVIRONMENT, **variables}  # what was printed is in the file, however it ends
    with _group() as group:
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=group,
            )
        except OSError as error:
            raise OwnCodeError(f"{words[0]} can't be started in {folder}: {error.strerror}") from None
        try:
            yield Script(process, group)
        finally:
            _send(group, signal.SIGKILL)
            process.wait()


@contextmanager
def _group() -> Iterator[int]:
    """The number of a new process group that holds nothing but its guard; with it ends all that has joined it."""
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", GUARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        yield guard.pid
    finally:
        _send(guard.pid, signal.SIGKILL)
        guard.communicate()


def _send(group: int, number: signal.Signals) -> None:
    """Send a signal to all processes of a group that are left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
