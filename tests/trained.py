"""Runs trained here, on the shipped sample, with what they said on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import SMALL, data_of, engine_for, latest

from gradclip_cli.arrays import Weights
from gradclip_cli.config import loading
from gradclip_cli.config.schema import Config
from gradclip_cli.runs import many
from gradclip_cli.runs.loop import Setup, beginning, train
from gradclip_cli.runs.many import PlannedRun, Result
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.tally import Outcome, Progress

# One unit that starts as good as zero and amplifies gradients twentyfold a time step: a finite loss, an infinite gradient.
OVERFLOWING = [
    "model={cell: simple_rnn, units: 1, activation: relu}",
    "data={subset: sample, scale: 0.001, batch_size: 1}",
    "optimizer.learning_rate=1e-36",
    "clipping={mode: clipvalue, threshold: 0.1}",
]
LOW = "clipping.threshold=0.1"
"""What `small` may be given so that its clipping acts; tests that all do share an engine, with those of engines too."""
AMPLIFYING = {
    "simple_rnn/kernel": np.zeros((28, 1), np.float32),
    "simple_rnn/recurrent_kernel": np.full((1, 1), 24, np.float32),
    "simple_rnn/bias": np.full(1, 1e-35, np.float32),
}


def run(
    chosen: Config, path: Path, stop_after: int | None = None, start: Weights | None = None
) -> tuple[Outcome, RunDirectory, list[Progress]]:
    directory = RunDirectory(path / chosen.name / f"seed-{chosen.training.seed}")
    engine = engine_for(chosen)
    setup = Setup(chosen, engine, data_of(chosen.data), directory)
    moment = beginning(setup)
    if start:
        engine.reset(start, learning_rate=chosen.optimizer.learning_rate)
    seen: list[Progress] = []
    with directory.locked():
        directory.start(chosen, engine.variables, {})
        outcome = train(setup, moment, seen.append, lambda: stop_after is not None and len(seen) >= stop_after)
    return outcome, directory, seen


def small(*settings: str, framework: str = "tensorflow") -> Config:
    return loading.load("clipnorm", latest(*SMALL, "name=test", f"engine.framework={framework}", *settings))


class Quiet:
    """An observer that shows nothing, and keeps how runs ended."""

    def __init__(self) -> None:
        self.ended_runs: list[Result] = []

    def preparing(self, run: PlannedRun, what: str) -> None: ...
    def standing(self, run: PlannedRun, where: str) -> None: ...
    def remarked(self, run: PlannedRun, remark: str) -> None: ...
    def progressed(self, run: PlannedRun, progress: Progress) -> None: ...

    def ended(self, result: Result) -> None:
        self.ended_runs.append(result)


def one(results: Path, *settings: str, force: bool = False) -> list[PlannedRun]:
    """The plan of one small run."""
    chosen = loading.load("none", [*SMALL, "name=one", "engine.jit=false", *settings])
    return many.plan([chosen], [0], results, force=force)
