"""Successes: a bar read from its text, runs held against it, exact intervals, and McNemar's test on shared seeds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import scipy.stats
from conftest import store_run

from gradclip_cli.config.bars import SIGNS, Bar
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence.arms import Arm, read_arms
from gradclip_cli.evidence.success import Successes, paired_p, reached


def arms(results: Path, **last: list[float]) -> dict[str, Arm]:
    """Arms whose runs end with these training losses, a seed each."""
    for name, losses in last.items():
        for seed, loss in enumerate(losses):
            store_run(results, name, seed, [2.0, 1.0, loss])
    return {arm.name: arm for arm in read_arms(results, list(last))[0]}


@pytest.mark.parametrize(
    ("text", "bar"),
    [
        ("val_accuracy >= 0.99", Bar("val_accuracy", ">=", 0.99)),
        ("loss<=1e-3", Bar("loss", "<=", 1e-3)),
        ("top 3 >= .5", Bar("top 3", ">=", 0.5)),
    ],
)
def test_a_bar_is_a_column_and_a_limit(text: str, bar: Bar) -> None:
    assert Bar.read(text) == bar
    assert Bar.read(str(bar)) == bar


@pytest.mark.parametrize("text", ["", "val_accuracy", "val_accuracy = 1", "loss <= nan", "loss <= much", "loss < 1", ">= 1"])
def test_what_is_no_bar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape("such as val_accuracy >= 0.99")):
        Bar.read(text)


def test_runs_at_the_bar_reach_it(results: Path) -> None:
    found = arms(results, none=[0.4, 0.5, 0.6])["none"]
    assert reached(Bar.read("loss <= 0.5"), found).tolist() == [True, True, False]
    assert reached(Bar.read("loss >= 0.5"), found).tolist() == [False, True, True]
    assert reached(Bar.read("loss < 0.5", signs=SIGNS), found).tolist() == [True, False, False]
    assert reached(Bar.read("loss > 0.5", signs=SIGNS), found).tolist() == [False, False, True]
    assert Successes.of(Bar.read("loss <= 0.5"), found) == Successes(2, 3)


def test_a_diverged_run_is_no_success(results: Path) -> None:
    store_run(results, "none", 0, [2.0, 1.0, 0.5])
    store_run(results, "none", 1, [2.0, 0.1], status="diverged")
    [arm] = read_arms(results, ["none"])[0]
    assert arm.diverged.tolist() == [False, True]
    assert reached(Bar.read("loss <= 0.5"), arm).tolist() == [True, False]


def test_a_column_that_is_not_there_is_told(results: Path) -> None:
    with pytest.raises(ReportError, match="no column val_error"):
        reached(Bar.read("val_error <= 0.5"), arms(results, none=[0.4])["none"])


def test_the_interval_is_clopper_and_pearsons() -> None:
    found = scipy.stats.binomtest(19, 20).proportion_ci(0.95, "exact")
    assert Successes(19, 20).interval == pytest.approx((found.low, found.high))


def test_pairs_that_disagree_decide(results: Path) -> None:
    found = arms(results, none=[1.0] * 8 + [0.1] * 2, clipnorm=[0.1] * 9 + [1.0])
    p = paired_p(Bar.read("loss <= 0.5"), found["none"], found["clipnorm"])
    assert p == pytest.approx(scipy.stats.binomtest(8, 9).pvalue)
