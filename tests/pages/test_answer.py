"""The answer on top of a page: what was shown, of which arm, and no more than that."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ARTICLE
from made_up import BASE, BETTER, against, store_arm

from gradclip_cli.evidence import comparison, ledger
from gradclip_cli.evidence.questions import Question
from gradclip_cli.evidence.verdicts import Verdict
from gradclip_cli.pages.answer import SIGNS, answer, badges, title
from gradclip_cli.texts import MINUS

WORSE = [2 * ours - theirs for ours, theirs in zip(BASE, BETTER, strict=True)]


@pytest.fixture
def decided(results: Path) -> Path:
    """Arms of which one helps and one hurts."""
    for name, finals in (("none", BASE), ("better", BETTER), ("worse", WORSE)):
        store_arm(results, name, finals, base="none" if name == "none" else "clipvalue")
    return results


def test_the_answer_names_who_helps_and_who_hurts_by_how_much(decided: Path) -> None:
    compared = comparison.compare(decided, question=Question("loss"))
    helps, hurts = answer(compared)
    size = abs(against(compared, "better").typical)
    assert helps.startswith(f"better helps here: its training loss is typically {size:.3f} nats lower than that of none (")
    assert hurts.startswith("worse hurts here: its training loss is typically ")
    assert " nats higher than that of none (" in hurts
    assert title(compared) == "Training loss: better, worse against none"


def test_what_an_arm_differs_in_besides_clipping_stands_beside_its_verdict(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "better", BETTER, base="clipvalue", settings=["optimizer.learning_rate=0.5"])
    assert answer(comparison.compare(results))[0].endswith("; they differ in optimizer.learning_rate too.")


def test_an_exploratory_look_says_so(decided: Path) -> None:
    first = comparison.compare(decided)
    ledger.record(decided, first.first_compared, [first.look])
    assert "; exploratory: second metric looked at." in answer(comparison.compare(decided, question=Question("loss")))[0]


def test_too_few_seeds_no_difference_and_single_arms_are_told_as_that(two_arms: Path) -> None:
    assert answer(comparison.compare(two_arms)) == ["Too few runs for a verdict on clipvalue."]
    assert answer(comparison.compare(two_arms, ["none"])) == ["There is one arm only, none, so nothing is compared."]
    assert answer(comparison.compare(ARTICLE, ["none", "clipnorm"])) == ["No difference was shown for clipnorm."]


def test_each_arm_has_a_badge_with_its_verdict_and_figure(decided: Path) -> None:
    compared = comparison.compare(decided)
    found = ["".join(each.itertext()) for each in badges(compared)]
    assert [text.split("baseline")[0] for text in found[:1]] == ["none"]
    assert found[1].startswith("better▲helps+")
    assert found[2].startswith(f"worse▼hurts{MINUS}")
    assert [each.attrib["class"] for each in badges(compared)] == ["badge baseline", "badge helps", "badge hurts"]


def test_each_verdict_has_a_sign_of_its_own() -> None:
    assert set(SIGNS) == set(Verdict)
    assert len(set(SIGNS.values())) == len(Verdict)
