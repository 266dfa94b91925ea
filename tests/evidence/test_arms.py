"""Stored runs as arms: what a run says of itself counts."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from conftest import store_run

from gradclip_cli.evidence import arms
from gradclip_cli.evidence.comparison import compare

SAID = {"loss": 0.5, "accuracy": 0.75}


def test_chance_is_what_the_run_says_and_of_older_runs_the_article_s(results: Path) -> None:
    store_run(results, "newer", 0, [2.0, 1.5, 1.0], chance=SAID)
    store_run(results, "older", 0, [2.0, 1.5, 1.0])
    store_run(results, "squared", 0, [2.0, 1.5, 1.0], settings=["loss={name: mse, target_scale: 10}"])
    newer, older, squared = (arms.read(results, [name])[0][0] for name in ("newer", "older", "squared"))
    assert (newer.chance("loss"), newer.chance("val_loss"), newer.chance("val_accuracy")) == (0.5, 0.5, 0.75)
    assert (older.chance("loss"), older.chance("accuracy")) == (math.log(10), 0.1)
    assert (squared.chance("val_loss"), squared.chance("accuracy")) == (pytest.approx(9), 0.1)


def test_a_diverged_run_scores_what_its_own_problem_s_chance_does(results: Path) -> None:
    for seed in range(6):
        store_run(results, "none", seed, [0.4], status="diverged", chance=SAID)
        store_run(results, "clipnorm", seed, [0.4, 0.4, 0.4], chance=SAID, settings=["clipping={mode: clipnorm, threshold: 1}"])
    assert compare(results).baseline.scores == [75.0] * 6


@pytest.mark.parametrize("chance", [{"loss": -1, "accuracy": 0.1}, {"loss": 1}, {"loss": 1, "accuracy": 2}, "ten", {"loss": "1"}])
def test_a_chance_that_can_t_be_is_damage(chance: object, results: Path) -> None:
    store_run(results, "none", 0, [2.0, 1.5, 1.0], chance=chance)
    store_run(results, "none", 1, [2.0, 1.5, 1.0])
    (arm,), warnings = arms.read(results)
    assert arm.seeds == [1]
    assert "chance" in warnings[0]
