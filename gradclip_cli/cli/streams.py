"""The process's standard streams: any of them may be closed, full, deserted, or unable to show a letter."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import IO, TextIO

PLAIN = "gradclip.plain"
"""The error handler of letters that a stream's encoding lacks."""
PLAIN_FORMS = {
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{MIDDLE DOT}": ".",
    "\N{RIGHTWARDS ARROW}": "->",
}
"""What stands for signs that gradclip itself writes."""


def secure() -> None:
    """Make sure that there are three streams, and that none raises for a letter that it can't show."""
    _occupy_closed_descriptors()
    codecs.register_error(PLAIN, _in_plain_letters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN)


def _occupy_closed_descriptors() -> None:
    """Let nothing that is opened later get a standard stream's number: what is printed would end up in that file.

    Results that have nowhere to go are an error when they are written, so stdout is opened for reading only.
    """
    for number, name, mode in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # The lowest number is taken: this one.
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", closefd=False, encoding="utf-8"))


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    plain = "".join(PLAIN_FORMS.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in missing)
    return plain, error.end


def shown_by(stream: IO[str], text: str) -> str:
    """The text as the stream will show it, in plain letters where its encoding lacks some."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, PLAIN).decode(encoding)
    except LookupError:
        return text


def trouble(stream: TextIO | None) -> OSError | None:
    """Why what was written to a stream can't arrive; the stream is then of no more use, and silent. None where all went out."""
    if stream is None:
        return None
    try:
        stream.flush()
    except OSError as error:
        _silence(stream)
        return error
    except ValueError:  # It was closed.
        pass
    return None


def _silence(stream: TextIO) -> None:
    """Send what is left in a stream nowhere, so that Python's own last flush succeeds."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass


def may_be_standard(error: OSError) -> bool:
    """Whether an error that nobody explained is one of writing to a stream: files of ours are named where they fail."""
    return error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EIO)
