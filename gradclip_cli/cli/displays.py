"""Progress on stderr: in a terminal bars, clocks and a sweep's map that fill; off it a line a run."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from gradclip_cli.cli.console import note, notes_console, safe
from gradclip_cli.cli.grid import FillingGrid, Grid
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence.metrics import SHARES
from gradclip_cli.runs.actions import Action
from gradclip_cli.runs.csv_files import EVALUATED, metric_names, score_columns
from gradclip_cli.runs.metadata import FINISHED, Status, is_evaluated, metrics_of
from gradclip_cli.runs.store import RunDirectory

if TYPE_CHECKING:
    from rich.console import Console

    from gradclip_cli.runs.many import PlannedRun, Result
    from gradclip_cli.runs.tally import Progress as RunProgress

REDRAWN_EVERY = 0.1  # seconds
BESIDE = 32
"""Columns that spinner, bar and time take in a progress line."""
MOST_SKIPS_SHOWN = 10
"""With more runs than this, finished ones are passed over without a word."""
MOST_ALIKE = 3
"""Of runs that failed for one reason, how many have a line of their own."""


def last_metrics(run: RunDirectory) -> dict[str, float]:
    """Loss and metrics, and those of the evaluation split, at a run's last whole epoch; nothing where there is none."""
    try:
        frame, metadata = run.metrics(), run.metadata()
        columns = ["epoch", *score_columns(metrics_of(metadata), evaluated=is_evaluated(metadata))]
    except StoreError:
        return {}
    return {column: frame[column].iloc[-1].item() for column in columns} if len(frame) else {}


_SHORT = {"accuracy": "acc"}


def _value(name: str, value: float, prefix: str = "") -> str:
    """A metric's or loss's value with its name, such as `val_acc 0.683`."""
    return f"{prefix}{_SHORT.get(name, name)} {value:{'.3f' if name in SHARES else '#.4g'}}"


class _Description(ProgressColumn):
    """What is said of a task, as it is: no markup."""

    def render(self, task: Task) -> RenderableType:
        return Text.assemble(task.description, (task.fields.get("warning", ""), "yellow"), no_wrap=True)


class _Clock(ProgressColumn):
    """The time that is left; where that can't be known, the time that it has taken."""

    max_refresh = 0.5

    def __init__(self) -> None:
        super().__init__()
        self._remaining = TimeRemainingColumn(compact=True)

    def render(self, task: Task) -> RenderableType:
        if task.total is not None and task.completed:
            return self._remaining.render(task)
        since = task.fields.get("since", task.start_time)
        return Text(f"{time.monotonic() - since:.0f} s" if since is not None else "", "progress.remaining")


def _spinner(console: Console) -> SpinnerColumn:
    return SpinnerColumn("dots" if console.encoding.startswith("utf") else "line")


class _Bars(Progress):
    """Bars in a terminal, beneath a grid where there is one; lines are printed above them; nothing off a terminal.

    One thread does all the drawing. Rich moves the cursor up by as many lines as the bars had when it began to print a line:
    were they drawn with fewer by another thread in between, lines above would be lost. And a Ctrl-C, which Python raises in the
    main thread alone, never comes upon a drawing that is half done, which would be drawn once more below.
    """

    grid: FillingGrid | None = None

    def __init__(self, *columns: ProgressColumn, console: Console, disable: bool = False) -> None:
        self._above: SimpleQueue[RenderableType] = SimpleQueue()
        self._asked, self._stopped = threading.Event(), threading.Event()
        self._drawing: threading.Thread | None = None
        super().__init__(*columns, console=console, transient=True, disable=disable, auto_refresh=False)

    def start(self) -> None:
        if not self.disable and self._drawing is None:
            self._stopped.clear()
            self._drawing = threading.Thread(target=self._draw, daemon=True)
            self._drawing.start()

    def stop(self) -> None:
        if self._drawing is not None:
            self._stopped.set()
            self.refresh()
            self._drawing.join()
            self._drawing = None

    def refresh(self) -> None:
        """Have the bars drawn anew."""
        self._asked.set()

    def print_above(self, text: RenderableType) -> None:
        """Print above the bars."""
        if self.disable:
            self._print(text)
        else:
            self._above.put(text)
            self.refresh()

    def _print(self, text: RenderableType) -> None:
        self.console.print(text, soft_wrap=True)

    def _draw(self) -> None:
        super().start()
        try:
            last = False
            while not last:
                self._asked.wait(REDRAWN_EVERY)
                self._asked.clear()
                last = self._stopped.is_set()  # asked before lines are looked for: what was said until then is printed
                while not self._above.empty():
                    self._print(self._above.get())
                super().refresh()
        finally:
            super().stop()

    def get_renderables(self) -> Iterable[RenderableType]:
        table = self.make_tasks_table(self.tasks)
        yield Group(self.grid, Text(), table) if self.grid else table


class RunDisplay:
    """Shows runs as they go: in a terminal an overall bar, a line for each at work and one for each that ended; off it the last.

    Verbose adds a line an epoch. With a `grid` that has room, a terminal shows the map instead of a line a run.
    """

    def __init__(
        self, runs: Sequence[PlannedRun], *, quiet: bool = False, verbose: bool = False, grid: Grid | None = None
    ) -> None:
        self._console = notes_console()
        self._quiet, self._verbose = quiet, verbose
        self._live = self._console.is_interactive and not quiet
        self._done, self._total = 0, len(runs)
        columns = (_spinner(self._console), _Description(), BarColumn(bar_width=16), _Clock())
        self._progress = _Bars(*columns, console=self._console, disable=not self._live)
        self._bars: dict[Path, TaskID] = {}
        self._warned: dict[Path, int] = {}
        self._shown = set[str]()
        self._failed: Counter[str] = Counter()
        self._steps = {run.directory.path: 0 for run in runs if run.action != Action.SKIP}
        self._grid = self._fitting(grid, runs) if grid and self._live and not verbose else None
        self._progress.grid = self._grid
        self._overall: TaskID | None = None
        todo = [run.config.training for run in runs if run.action != Action.SKIP]
        if len(todo) > 1:
            total = sum(training.epochs * training.steps_per_epoch for training in todo)
            self._overall = self._progress.add_task(f"{len(todo)} runs", total=total, since=time.monotonic())

    def _fitting(self, grid: Grid, runs: Sequence[PlannedRun]) -> FillingGrid | None:
        state = FillingGrid(grid, runs, plain=not self._console.encoding.startswith("utf"))
        return state if state.width <= self._console.width and state.height + 8 <= self._console.height else None

    def __enter__(self) -> RunDisplay:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()
        if self._grid and not self._quiet:
            self._console.print(self._grid)

    def _say(self, text: str, style: str = "") -> None:
        if not self._quiet:
            self._progress.print_above(Text(safe(text, self._console.file), style))

    def preparing(self, run: PlannedRun, what: str) -> None:
        """What is done before a run's first step."""
        if self._live:
            self._show(run, f"{self._label(run, len(what) + 2)}: {what}", None, 0, since=time.monotonic())
        elif self._verbose:
            self._say(f"{run.label}: {what}")

    def standing(self, run: PlannedRun, where: str) -> None:
        """How far a script is, whose clock goes on."""
        if self._live and (bar := self._bars.get(run.directory.path)) is not None:
            text = f"{self._label(run, len(where) + 2)}: {where}"
            self._progress.update(bar, description=safe(text, self._console.file))
        elif self._verbose:
            self._say(f"{run.label}: {where}")

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
            warning = f"\n  {progress.warnings[-1].brief}" if progress.warnings else ""
            self._show(run, f"{where}\n  {_numbers(progress)}", progress.steps, progress.step, warning=warning)
        elif self._total == 1 or self._verbose:
            for spike in new:
                self._say(f"{where}  {spike.message}", "yellow")
        if progress.evaluation and self._verbose:
            evaluation = progress.evaluation
            scores = {"loss": evaluation.loss, **evaluation.metrics}
            told = "".join(f"  {_value(name, value, EVALUATED)}" for name, value in scores.items())
            self._say(f"{where}  {_numbers(progress)}{told}")

    def _count(self, path: Path, steps: int) -> None:
        """Let the overall bar know how many steps of a run are done."""
        if self._overall is not None:
            self._progress.update(self._overall, advance=steps - self._steps[path])
        self._steps[path] = steps

    def _label(self, run: PlannedRun, room: int) -> str:
        """A run's label; in a terminal shortened in its middle so that the bar and `room` more columns fit beside it."""
        width = max(20, self._console.width - BESIDE - room)
        label = run.label
        return label if not self._live or len(label) <= width else f"{label[: width - 12]}..{label[-10:]}"

    def _show(
        self, run: PlannedRun, text: str, total: int | None, completed: int, *, warning: str = "", since: float | None = None
    ) -> None:
        path, description = run.directory.path, safe(text, self._console.file)
        if path not in self._bars:
            self._bars[path] = self._progress.add_task(description, total=total)
        warning = safe(warning, self._console.file)
        bar = self._bars[path]
        self._progress.update(bar, description=description, total=total, completed=completed, warning=warning, since=since)

    def ended(self, result: Result) -> None:
        """How a run ended."""
        run, training = result.run, result.run.config.training
        if run.directory.path in self._bars:
            self._progress.remove_task(self._bars.pop(run.directory.path))
        self._done += 1
        label = f"[{self._done}/{self._total}] {run.label}" if self._total > 1 else run.label
        last = self._last_metrics(result)
        if self._grid:
            self._grid.ended(run.directory.arm, result.status, last)
        if run.action == Action.SKIP:
            if self._verbose or (self._total <= MOST_SKIPS_SHOWN and not self._grid):
                self._say(f"{label}: already {result.status}{_reason(result)}, left as it is")
            return
        self._count(run.directory.path, training.epochs * training.steps_per_epoch)
        if result.status == Status.COMPLETE:
            if not self._grid:
                gradients = f", gradients {result.health}" if result.health else ""
                self._say(f"{label}: complete in {result.seconds:.1f} s{_scored(last)}{gradients}", "green")
        elif not (self._grid and result.status == Status.DIVERGED):  # Said even when quiet: it is not what was asked for.
            self._show_trouble(f"{label}: {result.status}{_reason(result)}", result)
        self._show_once(result)

    def _show_trouble(self, line: str, result: Result) -> None:
        """A run's line; of runs that failed alike the first few have one, and then it is said that there are more."""
        alike = self._failed[result.reason] = self._failed[result.reason] + (result.status == Status.FAILED)
        if alike == MOST_ALIKE + 1:
            line = "More runs that fail so are not shown one by one; they are counted at the end."
        if alike <= MOST_ALIKE + 1:
            self._progress.print_above(Text(safe(line, self._console.file), "red"))

    def _show_once(self, result: Result) -> None:
        """What is to be seen of a script; of several that failed alike, of the first."""
        if result.shown and (kind := result.message or result.shown) not in self._shown:
            self._shown.add(kind)
            self._say(result.shown.replace("\n", "\n  "), "dim" if result.message else "yellow")

    def _last_metrics(self, result: Result) -> dict[str, float]:
        """A finished run's loss and metrics, where they will be shown."""
        shown = self._grid or (not self._quiet and result.run.action != Action.SKIP)
        return last_metrics(result.run.directory) if shown and result.status in FINISHED else {}


def _scored(last: Mapping[str, float]) -> str:
    """What a run's line says of its last epoch: its first metric, without one its loss, as evaluated if it is."""
    if not last:
        return ""
    name, prefix = [*metric_names(last), "loss"][0], EVALUATED if f"{EVALUATED}loss" in last else ""
    return f", {_value(name, last[f'{prefix}{name}'], prefix)}"


def _reason(result: Result) -> str:
    return f": {result.message}" if result.message else ""


def _numbers(progress: RunProgress) -> str:
    scores = "  ".join(_value(name, value) for name, value in {"loss": progress.loss, **progress.metrics}.items())
    text = f"{scores}  norm {progress.grad_norm:#.3g}"
    return f"{text}  clipped {progress.clipped_fraction:.0%}"


class StepDisplay:
    """A bar over the steps of one thing, in a terminal, with a clock until the first is done; off it a line, its `stage`."""

    def __init__(self, name: str, steps: int | None, *, stage: str = "", quiet: bool = False) -> None:
        console = notes_console()
        columns = (_spinner(console), _Description(), BarColumn(), _Clock())
        live = console.is_interactive and not quiet
        self._progress = _Bars(*columns, console=console, disable=not live)
        if stage and not live and not quiet:
            note(stage)
        self._name = name
        self._bar = self._progress.add_task(name, total=steps, since=time.monotonic())

    def __enter__(self) -> StepDisplay:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def update(self, steps: int) -> None:
        """Show that so many steps are done."""
        self._progress.update(self._bar, completed=steps, description=self._name)

    def doing(self, what: str) -> None:
        """Show what is done now, with a clock of its own."""
        self._progress.update(self._bar, description=safe(what), since=time.monotonic())


class DownloadDisplay:
    """A progress bar that pooch can drive (`gradclip_cli.problems.DownloadProgress`)."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._console = notes_console()
        self._progress = _Bars(*columns, console=self._console, disable=not self._console.is_interactive)
        self._task: TaskID | None = None
        self._name = ""
        self.total = 0

    def start(self, what: str) -> None:
        self._name = what.split()[0]
        self._console.print(Text(safe(f"fetching {what}", self._console.file)), soft_wrap=True)

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
