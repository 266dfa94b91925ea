"""What gradclip shows in a terminal: progress on stderr, tables on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
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
BESIDE = 30
"""Columns that spinner, bar and time left take in a progress line."""
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
    text = f"loss {progress.loss:#.4g}  acc {progress.accuracy:.3f}  norm {progress.grad_norm:#.3g}"
    return f"{text}  clipped {progress.clipped_fraction:.0%}"


class RunDisplay:
    """Shows runs as they go: in a terminal an overall bar and a line for each at work; off it, or verbose, a line an epoch."""

    def __init__(self, runs: Sequence[PlannedRun], *, quiet: bool = False, verbose: bool = False) -> None:
        self._console = errors()
        self._quiet, self._verbose = quiet, verbose
        self._live = self._console.is_terminal and not quiet
        self._done, self._total = 0, len(runs)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=16), TimeRemainingColumn(compact=True))
        self._progress = Progress(*columns, console=self._console, transient=True, disable=not self._live)
        self._bars: dict[Path, TaskID] = {}
        self._warned: dict[Path, int] = {}
        self._prepared: set[str] = set()
        todo = [run.config.training for run in runs if run.action != "skip"]
        self._steps = {run.directory.path: 0 for run in runs if run.action != "skip"}
        self._overall: TaskID | None = None
        if len(todo) > 1:
            total = sum(training.epochs * training.steps_per_epoch for training in todo)
            self._overall = self._progress.add_task(f"{len(todo)} runs", total=total)

    def __enter__(self) -> RunDisplay:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def _say(self, text: str, style: str | None = None) -> None:
        if not self._quiet:
            self._console.print(text, style=style, markup=False)

    def preparing(self, run: PlannedRun, what: str) -> None:
        """What is done before a run's first step."""
        if self._live:
            self._show(run, f"{self._label(run, len(what) + 2)}: {what}", None, 0)
        elif what not in self._prepared:  # Later runs find most of it done.
            self._prepared.add(what)
            self._say(f"{run.label}: {what}")

    def remarked(self, run: PlannedRun, remark: str) -> None:
        """Something that the user should know of a run that goes on."""
        self._say(f"{run.label}: {remark}", "yellow")

    def progressed(self, run: PlannedRun, progress: RunProgress) -> None:
        """How far a run is."""
        where, path = f"{self._label(run, len('  epoch 1000'))}  epoch {progress.epoch}", run.directory.path
        new = progress.warnings[self._warned.get(path, 0) :]
        self._warned[path] = len(progress.warnings)
        self._count(path, progress.step)
        if self._live:
            warning = f"\n  [yellow]{progress.warnings[-1].brief}[/]" if progress.warnings else ""
            self._show(run, f"{where}\n  {_numbers(progress)}", progress.steps, progress.step, warning)
        elif self._total == 1 or self._verbose:
            for spike in new:
                self._say(f"{where}  {spike.told}", "yellow")
        if progress.evaluation and (self._verbose or not self._live):
            evaluation = progress.evaluation
            self._say(f"{where}  {_numbers(progress)}  val_loss {evaluation.loss:#.4g}  val_acc {evaluation.accuracy:.3f}")

    def _count(self, path: Path, steps: int) -> None:
        """Let the overall bar know how many steps of a run are done."""
        if self._overall is not None:
            self._progress.update(self._overall, advance=steps - self._steps[path])
        self._steps[path] = steps

    def _label(self, run: PlannedRun, room: int) -> str:
        """A run's label, shortened in its middle so that the bar and `room` more columns fit beside it."""
        width = max(20, self._console.width - BESIDE - room)
        label = run.label
        return label if not self._live or len(label) <= width else f"{label[: width - 11]}…{label[-10:]}"

    def _show(self, run: PlannedRun, text: str, total: int | None, completed: int, warning: str = "") -> None:
        description = text.replace("[", r"\[") + warning
        path = run.directory.path
        if path not in self._bars:
            self._bars[path] = self._progress.add_task(description, total=total)
        self._progress.update(self._bars[path], description=description, total=total, completed=completed)

    def ended(self, result: Result) -> None:
        """How a run ended."""
        path, training = result.run.directory.path, result.run.config.training
        if path in self._bars:
            self._progress.remove_task(self._bars.pop(path))
        self._done += 1
        position = f"[{self._done}/{self._total}] " if self._total > 1 else ""
        told = f": {result.told}" if result.told else ""
        if result.run.action == "skip":
            if self._verbose or self._total <= MOST_SKIPS_TOLD:
                self._say(f"{position}{result.run.label}: already {result.status}{told}, left as it is")
            return
        self._count(path, training.epochs * training.steps_per_epoch)
        if result.status == "complete":
            told = f"complete in {result.seconds:.1f} s, gradients {result.health}"
            self._say(f"{position}{result.run.label}: {told}", "green")
        else:  # Said even when quiet: it is not what was asked for.
            self._console.print(f"{position}{result.run.label}: {result.status}{told}", style="red", markup=False)


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
