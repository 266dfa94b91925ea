"""Drives the displays of progress with made-up progress: no training, no framework.

`python progress.py WHAT RESULTS DESCRIPTOR`, in a terminal. After each thing it shows, it waits for a byte on the descriptor.
With `WHAT:TEXT`, Ctrl-C comes as soon as TEXT is drawn.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, cast

from gradclip_cli.cli.console import note
from gradclip_cli.cli.displays import DownloadDisplay, RunDisplay, StepDisplay
from gradclip_cli.cli.grid import Grid
from gradclip_cli.engines.contract import Evaluation
from gradclip_cli.gradients.health import Spike
from gradclip_cli.runs.many import PlannedRun, Result
from gradclip_cli.runs.store import runs
from gradclip_cli.runs.tally import Progress

SPIKE = Spike(5, 300.0, 135.0, "lstm/recurrent_kernel")
STEPS = 12
MANY = 100


def progress(epoch: int, warnings: tuple[Spike, ...] = ()) -> Progress:
    """Where a run of three epochs of four steps stands after one of them."""
    return Progress(
        epoch, 4 * epoch, STEPS, 1.2345, {"accuracy": 0.5}, 1.0, 0.25, Evaluation(1.0, 0.0, {"accuracy": 0.5}), warnings
    )


def show_runs(planned: list[PlannedRun], wait: Callable[[], None], grid: Grid | None = None) -> None:
    """A run is skipped, two go at once, one of them spikes; the third one fails."""
    done, first, second, third = planned
    with RunDisplay(planned, grid=grid) as display:
        display.ended(Result(done, "complete"))
        display.preparing(first, "importing TensorFlow")
        wait()
        display.progressed(first, progress(1))
        display.progressed(second, progress(2, (SPIKE,)))
        wait()
        display.ended(Result(first, "complete", 1.5, health="healthy"))
        display.remarked(second, "its worker process died: tried once more")
        wait()
        display.ended(Result(second, "complete", 2.5, health="spiking, a spike at step 5 (lstm/recurrent_kernel)"))
        display.ended(Result(third, "failed", message="OSError: No space left on device"))


def show_script(planned: list[PlannedRun], wait: Callable[[], None]) -> None:
    """A script is started, tells how far it is, and fails, as the next one does."""
    _, script, other, _ = planned
    failed = {"message": "exit code 1: a reason", "shown": "its last lines:\nstep 1\na reason"}
    with RunDisplay([script, other]) as display:
        display.preparing(script, "running train.py")
        wait()
        display.standing(script, "2 epochs, 8 steps, loss 0.5000")
        wait()
        for run in (script, other):
            display.ended(Result(run, "failed", **failed))


def show_many(planned: list[PlannedRun], wait: Callable[[], None]) -> None:
    """Runs end one after another while the bars are drawn anew all the time: more often than they ever are."""
    drawn_to_the_end = threading.Event()

    def draw() -> None:
        while not drawn_to_the_end.is_set():
            display._progress.refresh()

    sys.setswitchinterval(1e-6)
    with RunDisplay(planned) as display:
        thread = threading.Thread(target=draw)
        thread.start()
        for seconds in range(MANY):
            display.progressed(planned[1], progress(1, (SPIKE,) * (seconds % 2)))
            display.ended(Result(planned[1], "complete", float(seconds), health="healthy"))
        drawn_to_the_end.set()
        thread.join()


class InterruptedWhenDrawn:
    """The terminal, where Ctrl-C comes at the worst of moments: just as a bar of `text` has been written."""

    def __init__(self, text: str) -> None:
        self._terminal, self._text = sys.stderr, text

    def write(self, text: str) -> int:
        written = self._terminal.write(text)
        if self._text in text:
            self._text = "\0"
            self._terminal.flush()
            os.kill(os.getpid(), signal.SIGINT)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._terminal, name)


def show_steps(wait: Callable[[], None]) -> None:
    """The pilot of `suggest`."""
    with StepDisplay("none", 60) as display:
        display.doing("compiling")
        wait()
        display.update(30)
        wait()
    note("done")


def show_download(wait: Callable[[], None]) -> None:
    """A file that comes in two halves, as pooch tells of it."""
    display = DownloadDisplay()
    display.start("train-images from https://a.mirror")
    display.total = 2_000_000
    try:
        display.update(1_000_000)
        wait()
        display.update(1_000_000)
        display.reset()
    finally:
        display.close()


def main(what: str, results: str, descriptor: str) -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # a shell gives its commands the terminal, and so their Ctrl-C

    def wait() -> None:
        os.read(int(descriptor), 1)

    what, _, drawn = what.partition(":")
    if drawn:
        sys.stderr = cast("TextIO", InterruptedWhenDrawn(drawn))
    stored = runs(Path(results))
    planned = [PlannedRun(run.config(), run, "train" if index else "skip", "") for index, run in enumerate(stored)]
    names = [run.config.name for run in planned]
    shown: dict[str, Callable[[], None]] = {
        "runs": lambda: show_runs(planned, wait),
        "script": lambda: show_script(planned, wait),
        "many": lambda: show_many(planned, wait),
        "grid": lambda: show_runs(planned, wait, Grid(["0.1", "1"], [("clipnorm 1", names[:2]), ("none", names[2:])])),
        "steps": lambda: show_steps(wait),
        "download": lambda: show_download(wait),
    }
    try:
        shown[what]()
    except KeyboardInterrupt:
        note("Interrupted.")
        sys.exit(130)


if __name__ == "__main__":
    main(*sys.argv[1:])
