"""A collapse is a fall of test accuracy by more than 5 points from one epoch to the next: counted, and tested pair by pair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import scipy.stats
from conftest import store_run
from made_up import against

from gradclip_cli.evidence import comparison, remarks, report
from gradclip_cli.evidence.arms import read_arms

STEADY, FALLING = [2.0, 1.5, 1.0], [1.0, 1.5, 1.0]  # 1.5 more of loss is 50 points less of accuracy


def collapsed(results: Path, losses: list[float], **changes: object) -> bool:
    store_run(results, "none", 0, losses, **changes)
    (arm,), _ = read_arms(results)
    return bool(arm.collapsed[0])


@pytest.mark.parametrize(
    ("losses", "fell"),
    [
        (STEADY, False),
        (FALLING, True),
        ([1.0, 1.14, 1.28], False),  # two falls of less than 5 points, 9 in all
        ([1.0, 1.16, 1.0], True),  # a fall of 5.3 points that is made up for
        ([2.0, 1.0, 1.2], True),
        ([1.0], False),
        ([], False),
    ],
)
def test_what_counts(losses: list[float], fell: bool, results: Path) -> None:
    assert collapsed(results, losses) == fell


def test_an_epoch_that_a_run_did_not_finish_is_no_fall(results: Path) -> None:
    assert not collapsed(results, [1.5, 1.0], status="diverged")
    assert collapsed(results, [1.0, 1.5], status="diverged")


def store_pairs(results: Path, base: list[bool], arm: list[bool]) -> None:
    for name, falls in (("none", base), ("clipnorm", arm)):
        for seed, fall in enumerate(falls):
            store_run(results, name, seed, FALLING if fall else STEADY, base=name)


@pytest.mark.parametrize(("only_base", "only_arm", "both"), [(6, 0, 2), (4, 1, 0), (0, 0, 3), (3, 3, 1)])
def test_pairs_that_disagree_decide(only_base: int, only_arm: int, both: int, results: Path) -> None:
    base = [True] * only_base + [False] * only_arm + [True] * both + [False]
    arm = [False] * only_base + [True] * only_arm + [True] * both + [False]
    store_pairs(results, base, arm)
    found = against(comparison.compare(results), "clipnorm").collapses
    assert (found.baseline, found.arm) == (only_base + both, only_arm + both)
    discordant = only_base + only_arm
    assert found.p == pytest.approx(scipy.stats.binomtest(only_base, discordant).pvalue if discordant else 1)


def test_shared_seeds_alone_are_tested(results: Path) -> None:
    store_pairs(results, [True] * 6, [False] * 6)
    for seed in (10, 11):
        store_run(results, "none", seed, FALLING)
    found = against(comparison.compare(results), "clipnorm").collapses
    assert (found.baseline, found.arm, found.p) == (6, 0, pytest.approx(2 / 2**6))


def test_collapses_are_told(results: Path) -> None:
    store_pairs(results, [True] * 6, [False] * 6)
    compared = comparison.compare(results)
    sentence = remarks.collapse_sentence(compared)
    assert sentence == (
        "Runs whose test accuracy fell by more than 5 points from one epoch to the next: 6 of 6 of none; 0 of 6 of clipnorm "
        "(p = 0.031). Exact McNemar tests, not adjusted."
    )
    content = json.loads(report.to_json(compared))
    assert (content["collapses"], [arm["collapsed"] for arm in content["arms"]]) == (sentence, [6, 0])
    assert content["arms"][1]["against_baseline"]["collapses"] == {"arm": 0, "baseline": 6, "p": pytest.approx(0.03125)}
    place = report.verdict_columns(compared).index("collapsed")
    assert [row[place] for row in report.verdict_rows(compared)] == ["100%", "0%"]


def test_none_is_no_news(results: Path) -> None:
    store_pairs(results, [False] * 6, [False] * 6)
    assert remarks.collapse_sentence(comparison.compare(results)) is None
