"""An epoch's row for metrics of any name: from what the steps count, else from the evaluation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gradclip_cli.config import loading
from gradclip_cli.config.own import OwnConfig, OwnData, OwnModel, Records
from gradclip_cli.engines.contract import Evaluation
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.gradients.step_records import StepLosses, StepRecords, Stretch
from gradclip_cli.runs.csv_files import metric_columns
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.steps import step_columns, step_rows
from gradclip_cli.runs.tally import EpochSummary, RunTally, find_divergence


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
    found.add(Stretch.measured(records()))
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
    tally.take(Stretch.measured(records()))
    progress = summary(batch_size).progress(tally, 8)
    assert (progress.loss, progress.metrics, progress.clipped_fraction) == (2.5, known, 1.0)


@pytest.mark.parametrize("batch_size", [32, None])
def test_a_summary_that_was_kept_goes_on(batch_size: int | None) -> None:
    evaluated = Evaluation(2.0, 0.0, {"accuracy": 0.4}, {"accuracy": 0.3})
    again = EpochSummary(7, batch_size)
    again.restore(summary(batch_size).state())
    assert again.metrics(evaluated) == summary(batch_size).metrics(evaluated)


def one_in_two(steps: int = 4) -> Stretch:
    """As many steps, of which the even ones are measured; the last one is not where they are odd."""
    whole = records(steps)
    return Stretch(StepLosses(whole.loss, whole.penalty, whole.correct), whole.of_one_in(2), 2)


def test_scores_are_of_all_steps_and_gradients_of_those_that_were_measured() -> None:
    found = EpochSummary(1, 32)
    found.add(one_in_two())
    again = EpochSummary(7, 32)
    again.restore(found.state())
    for each in (found, again):
        row = each.metrics(Evaluation(2.0, 0.0, {"accuracy": 0.4}))
        assert (row["loss"], row["accuracy"]) == (2.5, 0.25)
        assert (row["grad_norm_median"], row["grad_norm_max"], row["clipped_fraction"]) == (3.0, 4.0, 1.0)


def test_progress_of_steps_of_which_none_was_measured() -> None:
    found, tally = EpochSummary(1, 32), tally_of(2)
    for each in (found.add, tally.take):
        each(one_in_two(1))
    progress = found.progress(tally, 8)
    assert (progress.step, progress.loss, progress.clipped_fraction) == (1, 1.0, 0.0)
    assert np.isnan(progress.grad_norm)
    assert tally.ended(Status.DIVERGED, 0).health is None


def tally_of(every: int) -> RunTally:
    data, model = OwnData(npz="x.npz"), OwnModel(factory="model.py:build")
    clipping = RULES["clipnorm"].model_validate({"threshold": 1.0})
    return RunTally(OwnConfig(name="x", data=data, model=model, clipping=clipping, records=Records(every=every)), ["a"])


def test_steps_and_records_are_counted_apart() -> None:
    tally = tally_of(2)
    whole = one_in_two()
    tally.take(replace(whole, records=replace(whole.records, norm=np.array([[0.5], [np.inf]]))))
    again = tally_of(2)
    again.restore(tally.state())
    for each in (tally, again):
        outcome = each.ended(Status.COMPLETE, 1)
        assert (outcome.steps, outcome.clipped_steps, outcome.overflow_steps) == (4, {"a": 1}, 1)
        assert outcome.first_overflow == 4, "is a step, not a row"


@pytest.mark.parametrize(
    ("losses", "finite", "expected"),
    [
        ([1, 2, 3, 4], [True, True], None),
        ([1, 2, np.nan, 4], [True, True], (13, "loss", ())),
        ([1, 2, 3, 4], [True, False], (14, "weights", ("a",))),
        ([1, 2, np.nan, np.nan], [False, False], (12, "weights", ("a",))),
        ([1, np.inf, 3, 4], [False, True], (12, "loss", ("a",))),
    ],
)
def test_divergence_is_found_on_any_step(losses: list[float], finite: list[bool], expected: Any) -> None:
    whole = one_in_two()
    measured = replace(whole.records, weights_finite=np.array(finite)[:, np.newaxis])
    found = find_divergence(Stretch(replace(whole.losses, loss=np.array(losses, float)), measured, 2), ["a"], 10, 8)
    assert (found and (found.step, found.quantity, found.variables)) == expected
    assert found is None or found.epoch == 2


@pytest.mark.parametrize(("steps", "rows"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)])
def test_the_first_of_a_stretch(steps: int, rows: int) -> None:
    first = one_in_two().first(steps)
    assert (len(first), len(first.records)) == (steps, rows)


def test_rows_tell_the_steps_that_were_recorded() -> None:
    assert [row[0] for row in step_rows(records(), 10, every=5)] == [55, 60, 65, 70]


@pytest.mark.parametrize("counted", [True, False])
def test_steps_count_what_is_correct_only_where_that_means_something(counted: bool) -> None:
    columns, rows = step_columns(["a"], counts_correct=counted), list(step_rows(records(), 10, counts_correct=counted))
    assert ("correct" in columns) == counted
    assert {len(row) for row in rows} == {len(columns)}
    first = dict(zip(columns, rows[0], strict=True))
    assert (first["step"], first["loss"], first.get("correct"), first["clipped"]) == (11, 1.0, 8 if counted else None, 1)
