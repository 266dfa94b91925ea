"""All that gradclip shows: results on stdout, all else on stderr. Here texts of any origin are made safe for a terminal."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import IO, Any

from rich.console import Console
from rich.text import Span, Text

from gradclip_cli.cli.layout import Table, laid_out
from gradclip_cli.cli.streams import shown_by
from gradclip_cli.texts import for_terminal

WORD_STYLES = {
    "healthy": "bold green",
    "spiking": "bold yellow",
    "vanishing": "bold yellow",
    "exploding": "bold red",
    "diverged": "bold red",
}
"""Styles of the words in which a run's gradients are diagnosed."""
VERDICT_STYLES = {
    "helps": "bold green",
    "hurts": "bold red",
    "no difference shown": "yellow",
    "equivalent": "cyan",
    "not worse": "cyan",
    "exploratory": "magenta",
    "not testable": "magenta",
    "baseline": "dim",
}
"""Styles of the words in which arms are judged."""


class _Results(Console):
    """A console whose failures are the command's: rich would end the process where a pipe's reader has gone."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "the reader has gone")


class _Notes(Console):
    """A console whose stream may be closed or full: no work is lost because nobody can be told of it."""

    def on_broken_pipe(self) -> None:
        """Nobody listens."""

    def print(self, *objects: Any, **options: Any) -> None:
        with contextlib.suppress(OSError):
            super().print(*objects, **options)


def results_console() -> Console:
    """The console of results."""
    return _Results(highlight=False, markup=False, emoji=False)


def notes_console() -> Console:
    """The console of progress, warnings and hints."""
    return _Notes(stderr=True, highlight=False, markup=False, emoji=False)


def safe(text: str, stream: IO[str] | None = None) -> str:
    """The text, line by line, without anything that acts on a terminal, in letters that the stream can show."""
    if text.isascii() and text.isprintable():  # as nearly all of thousands of cells are
        return text
    return shown_by(stream or sys.stdout, "\n".join(for_terminal(line) for line in text.split("\n")))


def tell(text: str = "", style: str = "", *, sentence: bool = False) -> None:
    """Print a line of results; in a terminal a `sentence` is broken at words, other lines are left for copying."""
    console = results_console()
    console.print(Text(safe(text, console.file), style), soft_wrap=not (sentence and console.is_terminal))


def note(text: str, style: str = "", *, sentence: bool = False) -> None:
    """Print something on stderr that is no result; a `sentence` is broken at words as `tell` does."""
    console = notes_console()
    console.print(Text(safe(text, console.file), style), soft_wrap=not (sentence and console.is_terminal))


def tell_summary(parts: Iterable[tuple[str, str]]) -> None:
    """Print the last line of results after an empty one, of texts each with the word whose style it has, or with none."""
    console = results_console()
    styled = [(safe(text, console.file), VERDICT_STYLES.get(word, "")) for text, word in parts]
    console.print()
    console.print(Text.assemble(*styled), soft_wrap=not console.is_terminal)


def tell_error(text: str) -> None:
    """Print an error on stderr."""
    console = notes_console()
    console.print(Text.assemble(("error:", "bold red"), f" {safe(text, console.file)}"), soft_wrap=True)


def print_table(table: Table, elsewhere: str = "a pipe") -> None:
    """Print a table of results as `layout.laid_out` lays it out; off a terminal whole, as wide as its content.

    `elsewhere` says where what has no room here is to be found.
    """
    console = results_console()
    headings = [safe(heading, console.file) for heading in table.headings]
    rows = [[safe(" ".join(cell.split("\n")), console.file) for cell in row] for row in table.rows]
    layout = laid_out(replace(table, headings=headings, rows=rows), console.width if console.is_terminal else None)

    def line(text: str, style: str = "", spans: Sequence[Span] = ()) -> None:
        console.print(Text(text, style, spans=[*spans]), soft_wrap=True)

    if layout.pattern:
        line(f"Each {table.names} is {layout.pattern}; what its * stands for is shown.", "dim")
    for heading in layout.headings:
        line(heading, "bold")
    for row, spans in zip(layout.rows, layout.spans, strict=True):
        if spans:
            line(row, spans=spans)
        else:
            console.file.write(f"{row}\n")  # rich takes its time over each of thousands
    if layout.left_out:
        missing = f"Not shown here for want of room: {', '.join(layout.left_out)}. A wider terminal or {elsewhere} has them."
        console.print(Text(missing, "dim"))
