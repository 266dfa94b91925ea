"""Further looks at the runs of a comparison: judged as any comparison is, and always told as exploratory."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up import BASE, BETTER, against, store_arm

from gradclip_cli.evidence import comparison
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.further import REASON, further_look, further_looks, possible
from gradclip_cli.evidence.questions import Question


@pytest.fixture
def compared(results: Path) -> Comparison:
    store_arm(results, "none", BASE)
    store_arm(results, "better", BETTER, base="clipvalue")
    return comparison.compare(results)


def test_a_further_look_has_the_figures_of_a_comparison_and_says_that_it_is_exploratory(compared: Comparison) -> None:
    look = further_look(compared, "better", "loss")
    assert look
    plain = comparison.compare_arms([part.arm for part in compared.arms], "better", Question("loss"))
    found, expected = against(look, "none"), against(plain, "none")
    assert (found.verdict, found.p_adjusted, found.low, found.high) == (
        expected.verdict,
        expected.p_adjusted,
        expected.low,
        expected.high,
    )
    assert found.exploratory == [REASON]
    assert found.sentence == f"{expected.sentence} This look is exploratory: a further look, its p not adjusted for the choosing."


def test_effect_and_margin_stay_with_their_metric(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "better", BETTER, base="clipvalue")
    compared = comparison.compare(results, question=Question("loss", margin=0.2, effect=0.7))
    same, other = further_look(compared, "better", "loss"), further_look(compared, "none", "val_accuracy")
    assert same
    assert other
    assert (same.yardstick.margin, same.yardstick.effect) == (0.2, 0.7)
    assert (other.yardstick.margin, other.yardstick.effect) == (None, 1.0)


def test_the_nearest_looks_come_first_and_no_more_than_asked_for(compared: Comparison) -> None:
    baselines, metrics = possible(compared)
    assert baselines == ["none", "better"]
    assert metrics[0] == "val_accuracy"
    every = [(look.baseline.arm.name, look.metric.name) for look in further_looks(compared, 1000)]
    assert len(every) == 2 * len(metrics) - 1
    assert every[: len(metrics)] == [*(("none", metric) for metric in metrics[1:]), ("better", "val_accuracy")]
    assert len(list(further_looks(compared, 7))) == 3


def test_what_cannot_be_compared_is_no_look(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "other", BETTER, scores={"mae": (False, lambda loss: loss)}, base="clipvalue")
    compared = comparison.compare(results, question=Question("loss"))
    assert further_look(compared, "none", "val_accuracy") is None
    assert {look.metric.name for look in further_looks(compared, 1000)} >= {"val_loss"}


def test_one_arm_alone_has_no_further_look(results: Path) -> None:
    store_arm(results, "none", BASE)
    assert list(further_looks(comparison.compare(results), 1000)) == []
