"""A look at the user's data shows ranges, and what often spoils a training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradclip_cli.problems.own_arrays import array_likes, data_summary, splits
from gradclip_cli.problems.own_arrays.data_summary import Summary

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(20, 3)).astype(np.float32)
Y = np.arange(20) % 4


def described(inputs: Any, targets: Any, test: Any = None) -> dict[str, Summary]:
    value = ((inputs, targets), test) if test else (inputs, targets)
    return {each.name: each for each in data_summary.describe(splits.from_factory(value, what="it"))}


@pytest.mark.parametrize("block", [24, 1 << 20])
def test_range_and_mean_are_over_finite_values_however_they_are_read(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_likes, "BLOCK", block)
    values = X.copy()
    values[5, 1], values[9, 0] = np.nan, -np.inf
    found = described(values, Y, (X, Y))["x_train"]
    finite = values[np.isfinite(values)]
    assert (found.shape, found.dtype) == ((20, 3), "float32")
    assert (found.smallest, found.largest) == (finite.min(), finite.max())
    assert found.mean == pytest.approx(finite.mean(dtype=float))
    assert found.findings == ("2 values NaN or infinite, the first at [5, 1]",)


def test_each_array_of_both_splits_is_described_by_its_name() -> None:
    assert list(described({"a": X, "b": X}, Y)) == [
        "x_train/a",
        "x_train/b",
        "y_train",
        "x_holdout/a",
        "x_holdout/b",
        "y_holdout",
    ]
    assert list(described(X, Y, (X, Y))) == ["x_train", "y_train", "x_test", "y_test"]
    assert described(X, Y)["x_holdout"].shape == (4, 3)


def test_an_array_of_nothing_finite_has_no_range() -> None:
    found = described(np.full((20, 1), np.nan), Y)["x_train"]
    assert np.isnan([found.smallest, found.largest, found.mean]).all()
    assert found.findings == ("16 values NaN or infinite, the first at [0, 0]",)


PIXELS = "whole numbers up to 255: if they are pixels, divide them by 255"


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (np.tile([[0, 255], [3, 9]], (10, 1)).astype(np.uint8), True),
        (np.tile([[0, 255], [3, 9]], (10, 1)).astype(np.float32), True),
        (np.tile([[0, 255], [3, 9]], (10, 1)).reshape(20, 2, 1), True),
        (np.tile([[0, 255], [3, 9]], (10, 1)), False),  # tokens, perhaps
        (np.tile([[0, 255], [3, 9.5]], (10, 1)), False),
        (np.tile([[0, 256], [3, 9]], (10, 1)).astype(np.float32), False),
        (np.tile([[-1, 255], [3, 9]], (10, 1)).astype(np.float32), False),
        (np.tile([[0, 1], [1, 0]], (10, 1)).astype(np.uint8), False),
    ],
)
def test_pixels_that_are_not_scaled_are_found(inputs: Any, found: bool) -> None:
    assert (PIXELS in described(inputs, Y)["x_train"].findings) == found


def test_constant_columns_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_likes, "BLOCK", 24)
    values = X.copy()
    values[:, 1] = 3
    assert described(values, Y)["x_train"].findings == ("1 of 3 columns constant over all samples",)
    values[:8, 1] = 4  # constant within each block
    assert described(values, Y)["x_train"].findings == ()


def test_classes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_likes, "BLOCK", 24)
    found = described(X, np.r_[Y[:19], 0], (X, Y[:, None][:, 0]))["y_train"]
    assert found.class_counts == {0: 6, 1: 5, 2: 5, 3: 4}
    assert found.findings == ("4 classes of 4 to 6 samples",)
    assert described(X, Y, (X, Y))["y_train"].findings == ("4 classes of 5 samples",)
    assert described(X, Y > 1, (X, Y > 1))["y_train"].class_counts == {0: 10, 1: 10}


def test_what_is_no_class_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_summary, "MOST_CLASSES", 3)
    assert described(X, Y)["y_train"].class_counts == {}
    assert described(X, X[:, 0])["y_train"].findings == ()
    assert described(X, np.c_[Y, Y])["y_train"].class_counts == {}


@pytest.mark.parametrize("targets", [np.full(20, 2), np.full((20, 2), 2.0)])
def test_targets_that_are_all_the_same_are_told(targets: Any) -> None:
    assert described(X, targets)["y_train"].findings == ("all targets are 2: there is nothing to learn",)
