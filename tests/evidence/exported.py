"""Runs to export: of today's format, of an older one, and recorded ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from conftest import store_run

from gradclip_cli.gradients.step_records import StepRecords
from gradclip_cli.recorder.places import Place
from gradclip_cli.recorder.recording import Recording
from gradclip_cli.recorder.seen import Seen
from gradclip_cli.runs.store import RunDirectory

TAGS_OF_STEPS = {
    "loss": "step/loss",
    "penalty": "step/penalty",
    "correct": "step/correct",
    "grad_norm": "gradients/norm before clipping",
    "applied_norm": "gradients/norm after clipping",
    "clipped": "gradients/clipped",
    "norm/lstm/kernel": "norm before clipping/lstm/kernel",
    "max_abs/lstm/kernel": "largest element before clipping/lstm/kernel",
    "applied_norm/lstm/kernel": "norm after clipping/lstm/kernel",
    "applied_max_abs/lstm/kernel": "largest element after clipping/lstm/kernel",
    "update_norm": "update norm",
}
TAGS_OF_EPOCHS = {
    "loss": "epoch/loss",
    "accuracy": "epoch/accuracy",
    "val_loss": "epoch/val_loss",
    "val_accuracy": "epoch/val_accuracy",
    "grad_norm_median": "epoch/median norm before clipping",
    "grad_norm_max": "epoch/largest norm before clipping",
    "clipped_fraction": "epoch/clipped fraction",
}
QUANTITIES_OF_STEPS = {
    "loss": ("loss", ""),
    "penalty": ("penalty", ""),
    "correct": ("correct", ""),
    "grad_norm": ("gradient_norm_before_clipping", ""),
    "applied_norm": ("gradient_norm_after_clipping", ""),
    "clipped": ("clipped", ""),
    "norm/lstm/kernel": ("gradient_norm_before_clipping", "lstm/kernel"),
    "max_abs/lstm/kernel": ("largest_gradient_element_before_clipping", "lstm/kernel"),
    "applied_norm/lstm/kernel": ("gradient_norm_after_clipping", "lstm/kernel"),
    "applied_max_abs/lstm/kernel": ("largest_gradient_element_after_clipping", "lstm/kernel"),
    "update_norm": ("update_norm", ""),
}


def write_steps(run: RunDirectory, change: Callable[[pd.DataFrame], pd.DataFrame]) -> RunDirectory:
    """The run with other steps, as if it had been trained so."""
    change(pd.read_csv(run.steps_path)).to_csv(run.steps_path, index=False, float_format="%.6g")
    said = json.loads(run.metadata_path.read_text()) | {"steps_sha256": RunDirectory.at(run.path).steps_sha256()}
    run.metadata_path.write_text(json.dumps(said))
    return RunDirectory.at(run.path)


def store_telling(results: Path, arm: str = "clipnorm", seed: int = 2) -> RunDirectory:
    """A run in whose steps no two columns hold the same, so that none can be taken for another."""

    def told_apart(frame: pd.DataFrame) -> pd.DataFrame:
        for number, column in enumerate(frame, 1):
            if column not in ("step", "clipped", "correct"):
                frame[column] = [float(f"{number + step / 7:.6g}") for step in frame["step"]]
        return frame

    clock = {"started": "2026-11-01T00:00:00+00:00", "seconds": 24.0}
    return write_steps(store_run(results, arm, seed, [2.0, 1.5, 1.0 / 3], base="clipnorm", **clock), told_apart)


def store_older(results: Path) -> RunDirectory:
    """A run of the time before updates were recorded."""
    return write_steps(store_telling(results, "older", 0), lambda frame: frame.drop(columns="update_norm"))


def record(folder: Path, epochs: int = 2, *, every: int = 5, finish: bool = True) -> RunDirectory:
    """A recording without validation of one step in five, four of them an epoch."""
    recording = Recording(Place(folder), every=every)
    recording.begin(Seen("a_framework", ("numpy",), ("dense/kernel", "dense/bias")))
    for epoch in range(1, epochs + 1):
        recording.steps = 4 * every * epoch
        recording.add(_records())
        recording.end_epoch({"loss": 1.5 / epoch})
    if finish:
        recording.finish()
    return RunDirectory.at(folder)


def _records() -> StepRecords:
    norm = np.arange(1.0, 5)[:, None] * [3.0, 4.0]
    excess = 1.0 + np.arange(4) % 2
    return StepRecords(
        loss=np.linspace(2, 1, 4),
        penalty=np.zeros(4),
        correct=np.zeros(4, dtype=int),
        norm=norm,
        max_abs=norm / 2,
        applied_norm=norm / excess[:, None],
        applied_max_abs=norm / 2 / excess[:, None],
        excess=excess,
        update_norm=np.full(4, 0.1),
        weights_finite=np.ones((4, 2), dtype=bool),
    )
