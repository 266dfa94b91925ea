"""Verdicts and their sentences: condition, both figures, two stories, margins; and collapses counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_up import BASE, BETTER, against, store_arm

from gradclip_cli.evidence import comparison, judging, remarks, report
from gradclip_cli.evidence.questions import Question
from gradclip_cli.evidence.stats import LEVEL


def judged(results: Path, finals: list[float], **changes: object) -> judging.AgainstBaseline:
    """An arm of these training losses against none, by training loss; as many seeds as there are."""
    store_arm(results, "none", [1.0 + 0.001 * seed for seed in range(len(finals))])
    store_arm(results, "arm", finals, base="clipvalue")
    return against(comparison.compare(results, question=Question("loss", **changes)), "arm")


def test_a_sentence_has_condition_both_figures_interval_seeds_and_p(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "arm", BETTER, base="clipvalue")
    found = against(comparison.compare(results), "arm")
    assert found.sentence == (
        "arm raised test accuracy by 4.5 points typically, by 4.5 on average, against none at SGD 0.01 (95% interval of the "
        "typical difference 2.0 to 7.0; median +4.5; better on 8 of 8 seeds; p = 0.0078)."
    )


def test_of_several_arms_each_interval_has_its_level_and_agrees_with_p(results: Path) -> None:
    store_arm(results, "none", BASE)
    shifts = (0.0, 0.01, 0.05, 0.1)
    for number, shift in enumerate(shifts):
        generator = np.random.default_rng(number)
        store_arm(results, f"arm{number}", [loss - shift + 0.01 * generator.normal() for loss in BASE], base="clipvalue")
    compared = comparison.compare(results)
    found = [part.against for part in compared.others if part.against]
    assert len({each.level for each in found}) > 1
    for each in found:
        assert (each.low <= 0 <= each.high) == (each.p_adjusted >= LEVEL)
        assert f"({100 * (1 - each.level):.3g}% interval of the typical difference" in each.sentence
    assert "Holm-adjusted over 4 comparisons" in remarks.scope_sentence(compared)
    assert "at the levels of Holm's steps" in report.verdict_caption(compared)


def test_each_arm_has_its_own_condition_where_rates_differ(results: Path) -> None:
    store_arm(results, "none", BASE, settings=["optimizer.learning_rate=0.3"])
    store_arm(results, "arm", BETTER, base="clipnorm", settings=["optimizer={name: adam, beta_1: 0.5}"])
    found = against(comparison.compare(results), "arm")
    assert found.sentence.startswith("arm (at Adam 0.001 (beta_1 0.5)) raised test accuracy by")
    assert "against none (at SGD 0.3) (" in found.sentence
    assert found.sentence.endswith(
        "They differ in more than clipping: optimizer.name, optimizer.learning_rate, optimizer.momentum and 5 more."
    )


def test_where_most_seeds_and_the_average_disagree_the_sentence_says_so(results: Path) -> None:
    finals = [0.95 - 0.001 * seed for seed in range(18)] + [2.2, 2.2]
    found = judged(results, finals)
    assert found.verdict == "helps"
    assert found.typical < 0 < found.mean
    assert "lowered training loss by 0.06" in found.sentence
    assert "typically, yet raised it by 0.05" in found.sentence
    assert found.sentence.endswith("Better on most seeds, worse on average: 1 seed of 20 gives half or more of that average.")


def test_an_average_that_few_seeds_carry_is_said_to_be_so(results: Path) -> None:
    found = judged(results, [*(0.99 - seed / 2000 for seed in range(19)), 0.3])
    assert found.verdict == "helps"
    assert found.sentence.endswith("The average is not typical: 1 seed of 20 gives half or more of it.")


@pytest.mark.parametrize(
    ("finals", "margin", "verdict"),
    [
        ([1.0 + 0.001 * seed + 0.002 * (-1) ** seed for seed in range(8)], 0.01, "equivalent"),
        ([1.0 + 0.001 * seed + 0.002 * (-1) ** seed for seed in range(8)], 0.001, "no difference shown"),
        ([1.0 + 0.001 * seed - 0.02 * (seed % 3) + 0.004 for seed in range(8)], 0.01, "not worse"),
        ([1.0 + 0.001 * seed + 0.002 * (-1) ** seed for seed in range(29)] + [2.3], 0.01, "no difference shown"),
    ],
)
def test_margins_are_kept_by_interval_and_average(finals: list[float], margin: float, verdict: str, results: Path) -> None:
    """The last one's interval lies inside, but a collapsed run of thirty moves the average beyond."""
    found = judged(results, finals, margin=margin)
    assert found.verdict == verdict
    assert found.equivalent == (verdict == "equivalent")
    assert found.not_worse == (verdict in ("equivalent", "not worse"))
    assert ("within that margin" in found.sentence) == (verdict == "equivalent")
    assert ("not worse by that margin" in found.sentence) == (verdict == "not worse")


def test_few_seeds_have_no_interval_and_keep_no_margin(results: Path) -> None:
    found = judged(results, [1.0, 1.001, 1.002], margin=1.0)
    assert (found.equivalent, found.not_worse, found.verdict) == (False, False, "exploratory")
    assert found.sentence.startswith(
        "arm against none at SGD 0.01 is exploratory: on 3 shared seeds it left training loss as it was"
    )


def test_where_many_seeds_are_tied_the_sign_test_stands_beside(results: Path) -> None:
    finals = [1.0 + 0.001 * seed for seed in range(30)]
    for seed in range(10):
        finals[seed] -= 0.2
    found = judged(results, finals)
    assert (found.verdict, found.tied) == ("no difference shown", 20)
    assert "20 of 30 seeds are tied" in found.sentence
    assert "where they differ it is better on 10 of 10 (exact sign test, p = 0.002)" in found.sentence
    assert found.sign_p == pytest.approx(2 / 1024)
    assert "the same on every seed" not in str(remarks.planning_sentence(comparison.compare(results, question=Question("loss"))))


@pytest.mark.parametrize(("seeds", "told"), [(7, True), (8, False)])
def test_a_verdict_from_fewer_seeds_than_its_error_is_bounded_for_says_so(seeds: int, told: bool, results: Path) -> None:
    found = judged(results, [0.9 - 0.01 * seed for seed in range(seeds)])
    assert found.verdict == "helps"
    assert ("With fewer than 8 seeds" in found.sentence) == told


def test_what_lies_beyond_a_margin_is_told_and_too_much_of_it_is_no_equivalence(results: Path) -> None:
    same = [1.0 + 0.001 * seed + 0.001 * (-1) ** seed for seed in range(30)]
    found = judged(results, same, margin=0.1)
    assert found.verdict == "equivalent"
    assert "(0 of 30 seeds are worse by more; up to 12% of all may be)" in found.sentence
    for seed in (3, 8):
        same[seed] += 0.2
    wider = judged(results, same, margin=0.1)
    assert abs(wider.mean) < 0.1
    assert (wider.verdict, wider.equivalent, wider.not_worse) == ("no difference shown", False, False)
    better = judged(results, [each - (0.4 if each > 1.1 else 0) for each in same], margin=0.1)
    assert (better.verdict, better.equivalent) == ("not worse", False)
