"""An epoch's row for metrics of any name: from what the steps count, else from the evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from gradclip_cli.config import loading
from gradclip_cli.engines.contract import Evaluation
from gradclip_cli.gradients.step_records import StepRecords
from gradclip_cli.runs.csv_files import metric_columns
from gradclip_cli.runs.steps import step_columns, step_rows
from gradclip_cli.runs.tally import EpochSummary, RunTally


def records(steps: int = 4) -> StepRecords:
    """Steps of one variable: losses 1, 2, ..., norms alike; 8 samples correct on each."""
    rising = np.arange(1.0, steps + 1)
    each = rising[:, np.newaxis]
    return StepRecords(
        loss=rising,
        penalty=np.zeros(steps),
        correct=np.full(steps, 8),
        norm=each,
        max_abs=each,
        applied_norm=each,
        applied_max_abs=each,
        excess=np.full(steps, 2.0),
        weights_finite=np.ones((steps, 1), dtype=bool),
        update_norm=rising,
    )


def summary(batch_size: int | None) -> EpochSummary:
    found = EpochSummary(1, batch_size)
    found.add(records())
    return found


def test_accuracy_is_counted_and_other_metrics_are_told() -> None:
    evaluated = Evaluation(2.0, 0.0, {"top_3": 0.9, "accuracy": 0.4}, {"top_3": 0.8, "accuracy": 0.3})
    row = summary(32).metrics(evaluated)
    assert list(row) == metric_columns(["top_3", "accuracy"])
    assert list(row.values()) == [1, 2.5, 0.8, 0.25, 2.0, 0.9, 0.4, 2.5, 4.0, 1.0]  # 0.3 is told, 8 of 32 counted


def test_where_nothing_is_counted_all_metrics_are_told() -> None:
    row = summary(None).metrics(Evaluation(2.0, 0.0, {"mae": 30.0}, {"mae": 20.0}))
    assert list(row) == metric_columns(["mae"])
    assert (row["mae"], row["val_mae"]) == (20.0, 30.0)
    assert list(summary(None).metrics(Evaluation(2.0, 0.0, {}))) == metric_columns([])


@pytest.mark.parametrize(("batch_size", "known"), [(32, {"accuracy": 0.25}), (None, {})])
def test_progress_tells_what_the_steps_know(batch_size: int | None, known: dict[str, float]) -> None:
    tally = RunTally(loading.load("none"), ["a"])
    tally.add(records())
    progress = summary(batch_size).progress(tally, 8)
    assert (progress.loss, progress.metrics, progress.clipped_fraction) == (2.5, known, 1.0)


@pytest.mark.parametrize("batch_size", [32, None])
def test_a_summary_that_was_kept_goes_on(batch_size: int | None) -> None:
    evaluated = Evaluation(2.0, 0.0, {"accuracy": 0.4}, {"accuracy": 0.3})
    again = EpochSummary(7, batch_size)
    again.restore(summary(batch_size).state())
    assert again.metrics(evaluated) == summary(batch_size).metrics(evaluated)


@pytest.mark.parametrize("counted", [True, False])
def test_steps_count_what_is_correct_only_where_that_means_something(counted: bool) -> None:
    columns, rows = step_columns(["a"], counts_correct=counted), list(step_rows(records(), 10, counts_correct=counted))
    assert ("correct" in columns) == counted
    assert {len(row) for row in rows} == {len(columns)}
    first = dict(zip(columns, rows[0], strict=True))
    assert (first["step"], first["loss"], first.get("correct"), first["clipped"]) == (11, 1.0, 8 if counted else None, 1)
