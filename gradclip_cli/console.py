"""What gradclip shows in a terminal: progress on stderr, tables on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from gradclip_cli.runner import PlannedRun, Result
    from gradclip_cli.training import Progress as RunProgress

WIDE = 112
"""Columns from which a terminal has room for whole tables."""
MOST_SKIPS_TOLD = 10
"""With more runs than this, finished ones are passed over without a word."""


WORD_STYLES = {
    "healthy": "bold green",
    "spiking": "bold yellow",
    "vanishing": "bold yellow",
    "exploding": "bold red",
    "diverged": "bold red",
}
"""Styles of the words in which a run's gradients are diagnosed."""


def output() -> Console:
    """The console of results. Off a terminal it is as wide as its content."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, soft_wrap=not sys.stdout.isatty())


def errors() -> Console:
    """The console of progress, warnings and hints."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def _numbers(progress: RunProgress) -> str:
    text = f"loss {progress.loss:#.4g}  acc {progress.accuracy:.3f}  grad norm {progress.grad_norm:#.3g}"
    return f"{text}  clipped {progress.clipped_fraction:.0%}"


class RunDisplay:
    """Shows runs as they go: a live bar in a terminal; off it, or when verbose, a line an epoch."""

    def __init__(self, runs: Sequence[PlannedRun], *, quiet: bool = False, verbose: bool = False) -> None:
        self._console = errors()
        self._quiet, self._verbose = quiet, verbose
        self._live = self._console.is_terminal and not quiet
        self._done, self._total = 0, len(runs)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=16), TimeRemainingColumn(compact=True))
        self._progress = Progress(*columns, console=self._console, transient=True, disable=not self._live)
        self._bar: TaskID | None = None
        self._warned = 0

    def __enter__(self) -> RunDisplay:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def _position(self) -> str:
        return f"[{self._done + 1}/{self._total}]" if self._total > 1 else ""

    def _say(self, text: str, style: str | None = None) -> None:
        if not self._quiet:
            self._console.print(text, style=style, markup=False)

    def preparing(self, run: PlannedRun, what: str) -> None:
        text = f"{self._position()} {run.label}: {what}".strip()
        if self._live:
            self._show(text, None, 0)
        elif not self._done:  # Later runs find most of it done.
            self._say(text)

    def started(self, run: PlannedRun) -> None:
        self._warned = 0
        if self._live:
            self._show(f"{self._position()} {run.label}: first step".strip(), None, 0)

    def progressed(self, run: PlannedRun, progress: RunProgress) -> None:
        where = f"{self._position()} {run.label}  epoch {progress.epoch}".strip()
        new = progress.warnings[self._warned :]
        self._warned = len(progress.warnings)
        if self._live:
            warning = f"\n  [yellow]{progress.warnings[-1].told}[/]" if progress.warnings else ""
            self._show(f"{where}\n  {_numbers(progress)}", progress.steps, progress.step, warning)
        elif self._total == 1 or self._verbose:
            for spike in new:
                self._say(f"{where}  {spike.told}", "yellow")
        if progress.evaluation and (self._verbose or not self._live):
            evaluation = progress.evaluation
            self._say(f"{where}  {_numbers(progress)}  val_loss {evaluation.loss:#.4g}  val_acc {evaluation.accuracy:.3f}")

    def _show(self, text: str, total: int | None, completed: int, warning: str = "") -> None:
        description = text.replace("[", r"\[") + warning
        if self._bar is None:
            self._bar = self._progress.add_task(description, total=total)
        self._progress.update(self._bar, description=description, total=total, completed=completed)

    def ended(self, result: Result) -> None:
        if self._bar is not None:
            self._progress.remove_task(self._bar)
            self._bar = None
        position = self._position()
        self._done += 1
        told = f": {result.told}" if result.told else ""
        if result.run.action == "skip":
            if self._verbose or self._total <= MOST_SKIPS_TOLD:
                self._say(f"{position} {result.run.label}: already {result.status}{told}, left as it is".strip())
        elif result.status == "complete":
            self._say(
                f"{position} {result.run.label}: complete in {result.seconds:.1f} s, gradients {result.health}".strip(), "green"
            )
        else:  # Said even when quiet: it is not what was asked for.
            self._console.print(f"{position} {result.run.label}: {result.status}{told}".strip(), style="red", markup=False)


class StepDisplay:
    """A bar over the steps of one thing, in a terminal; nothing off it."""

    def __init__(self, name: str, steps: int, *, quiet: bool = False) -> None:
        console = errors()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(compact=True))
        self._progress = Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
        self._bar = self._progress.add_task(name, total=steps)

    def __enter__(self) -> StepDisplay:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def update(self, steps: int) -> None:
        """Show that so many steps are done."""
        self._progress.update(self._bar, completed=steps)


class DownloadDisplay:
    """A progress bar that pooch can drive (`gradclip_cli.data.DownloadProgress`)."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._console = errors()
        self._progress = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task: TaskID | None = None
        self._name = ""
        self.total = 0

    def start(self, what: str) -> None:
        self._name = what.split()[0]
        self._console.print(f"fetching {what}", markup=False)

    def update(self, size: int) -> None:
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(self._name, total=self.total)
        self._progress.update(self._task, advance=size)

    def reset(self) -> None:
        """pooch resets the bar before it fills it once more and closes it."""

    def close(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._progress.stop()


def simple_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, texts: Sequence[str] = (), without: Sequence[str] = ()
) -> Table:
    """A table of texts. The first column and those named in `texts` stand to the left, the others to the right.

    Only `texts` may be wrapped. Columns named in `without` are left out.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [index for index, heading in enumerate(columns) if heading not in without]
    for index in shown:
        text = columns[index] in texts
        justify: Literal["left", "right"] = "left" if text or not index else "right"
        table.add_column(columns[index], justify=justify, no_wrap=not text)
    for row in rows:
        table.add_row(*(row[index] for index in shown))
    return table
