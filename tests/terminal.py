"""A real terminal, for commands that behave otherwise in one: what they send it, and what then stands on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

PATIENCE = 120  # seconds for what a command is waited for


class Terminal:
    """A Python command in a terminal of its own; it inherits `descriptor`, if one is given, for what is no typing."""

    def __init__(
        self,
        *arguments: str,
        width: int = 80,
        height: int = 40,
        cwd: Path | None = None,
        descriptor: int | None = None,
        **environment: str,
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        variables = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env={**variables, "TERM": "xterm-256color", **environment},
            start_new_session=True,
            pass_fds=() if descriptor is None else (descriptor,),
            preexec_fn=_hear_ctrl_c,
        )
        os.close(theirs)
        self.sent = b""
        self.screen = pyte.Screen(width, height)
        # The same without an edge: what would be wrapped sticks out.
        self.endless = pyte.Screen(10 * width, height)
        self._streams = [pyte.ByteStream(self.screen), pyte.ByteStream(self.endless)]

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without what is blank."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    @property
    def reach(self) -> int:
        """How many columns the longest line takes, on a screen that breaks none."""
        return max(len(line.rstrip()) for line in self.endless.display)

    def press(self, keys: bytes) -> None:
        """Type into the terminal, as a person does."""
        os.write(self._ours, keys)

    def wait_until(self, true: Callable[[Terminal], bool]) -> None:
        """Read on until something is true of what was sent; raises AssertionError with the screen where that never comes."""
        deadline = time.monotonic() + PATIENCE
        while not true(self):
            going_on = self._read()
            assert true(self) or (going_on and time.monotonic() < deadline), "\n".join(self.screen.display)

    def wait(self) -> int:
        """Read on until the command has ended; returns its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < deadline, "\n".join(self.screen.display)
        os.close(self._ours)
        return self.process.wait(timeout=PATIENCE)

    def _read(self) -> bool:
        """Take what there is within a second; False once the command has closed its end."""
        if not select.select([self._ours], [], [], 1)[0]:
            return True
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # Linux's way to say that the other end was closed
            return False
        self.sent += piece
        for stream in self._streams:
            stream.feed(piece)
        return bool(piece)


def _hear_ctrl_c() -> None:
    """As a shell has its commands do; who runs the tests in the background ignores it, and so would all that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def in_terminal(*arguments: str, width: int = 80, cwd: Path | None = None, **environment: str) -> tuple[int, str]:
    """Run the real command in a terminal of this width: its exit code and all that it sent."""
    terminal = Terminal("-m", "gradclip_cli", *arguments, width=width, cwd=cwd, **environment)
    code = terminal.wait()
    return code, terminal.sent.decode()


def plain(text: str) -> str:
    """Without colours and carriage returns."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "")
