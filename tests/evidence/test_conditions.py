"""Conditions that a comparison may be failed for: read, judged of each arm, and never passed where they can't be."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import store_run
from made_up import BASE, BETTER, against, store_arm

from gradclip_cli.config.bars import Bar
from gradclip_cli.evidence import comparison
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.conditions import WORDS, Condition, Outcome, judged
from gradclip_cli.evidence.questions import Question


def outcome(text: str, compared: Comparison) -> Outcome:
    return judged(Condition.read(text), compared)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seeds of four arms: one helps and one hurts, and of the last one half of the runs diverge."""
    results = tmp_path_factory.mktemp("conditions") / "results"
    store_arm(results, "none", BASE)
    store_arm(results, "helping", BETTER, base="clipvalue")
    store_arm(results, "hurting", [loss + 0.2 for loss in BASE], base="clipnorm")
    for seed, loss in enumerate(BASE):
        store_run(results, "exploding", seed, [2.0, loss], base="adam/clipnorm", status="diverged" if seed % 2 else "complete")
    return results


@pytest.fixture(scope="module")
def compared(stored: Path) -> Comparison:
    return comparison.compare(stored, ["none", "helping", "hurting", "exploding"])


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("hurts", Condition("hurts")),
        (" clipvalue : diverged ", Condition("diverged", "clipvalue")),
        ("val_accuracy<0.6", Condition(Bar("val_accuracy", "<", 0.6))),
        (
            "clipvalue+optimizer.learning_rate=0.1:loss >= 1",
            Condition(Bar("loss", ">=", 1.0), "clipvalue+optimizer.learning_rate=0.1"),
        ),
    ],
)
def test_a_condition_is_a_word_or_a_bar_of_all_arms_or_of_one(text: str, condition: Condition) -> None:
    assert Condition.read(text) == condition
    assert Condition.read(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hurst", "did you mean hurts?"),
        ("none:diverge", "did you mean diverged?"),
        ("val_accuracy", f"Known: {', '.join(WORDS)}, or a bar such as 'val_accuracy < 0.6'"),
        ("", "is no condition"),
        ("val_accuracy < much", "one of >=, <=, >, < and a number, such as"),
        (":hurts", "there is no arm before the colon"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_is_meant(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Condition.read(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "arms"),
    [
        ("hurts", ["hurting", "exploding"]),
        ("helping: hurts", []),
        ("diverged", ["exploding"]),
        ("none: diverged", []),
        ("collapsed", []),
        ("diverged_runs >= 0.5", ["exploding"]),
        ("helping: val_accuracy < 0.65", ["helping"]),
        ("hurting: accuracy > 0.7", []),
        ("loss_area >= 1e9", []),
        ("steps_to_target > 0", ["none", "helping", "hurting", "exploding"]),
    ],
)
def test_it_holds_by_the_arms_of_which_it_is_true(text: str, arms: list[str], compared: Comparison) -> None:
    found = outcome(text, compared)
    assert [each.partition(" ")[0] for each in found.held_by] == arms
    assert (found.holds, found.unknown) == (bool(arms), ())


def test_figures_stand_beside_the_arms(compared: Comparison) -> None:
    assert str(outcome("diverged", compared)) == "diverged: holds for exploding (4 of 8 runs)"
    assert str(outcome("hurting: hurts", compared)) == "hurting: hurts: holds for hurting (\N{MINUS SIGN}6.7 points typically)"
    assert str(outcome("hurting: loss > 1.2", compared)) == "hurting: loss > 1.2: holds for hurting (1.2175)"
    assert str(outcome("helping: hurts", compared)) == "helping: hurts: does not hold"


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
def test_a_typical_value_at_the_bar_is_neither_below_nor_above_it(sign: str, results: Path) -> None:
    """0.57 is not 0.57 any more once it was told in points and back."""
    store_arm(results, "none", [3 * (0.9 - 0.57)] * 2)
    value = comparison.compare(results).arms[0].arm.runs[0].metrics["val_accuracy"][-1]
    assert outcome(f"val_accuracy {sign} {float(value)!r}", comparison.compare(results)).holds == ("=" in sign)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("val_acuracy < 0.6", "none has no metric 'val_acuracy'; did you mean 'val_accuracy'?"),
        ("clipnorm: hurts", "clipnorm is not among the compared arms: none, helping"),
        ("none: hurts", "No arm is held against none, the baseline"),
        ("repeatability > 1", "add --metric repeatability"),
        ("collapsed_share > 1", "add --metric collapsed_share"),
    ],
)
def test_what_can_not_be_judged_is_no_pass(text: str, told: str, compared: Comparison) -> None:
    found = outcome(text, compared)
    assert found.holds is None
    assert told in str(found)


def test_so_few_seeds_say_nothing_of_harm(results: Path) -> None:
    store_arm(results, "none", BASE[:3])
    store_arm(results, "clipnorm", [loss + 1 for loss in BASE[:3]], base="clipnorm")
    found = outcome("hurts", comparison.compare(results))
    assert found.holds is None
    assert str(found) == (
        "hurts: can't be judged. clipnorm has too few runs (3 seeds): a verdict takes 6 seeds that both arms have; train more."
    )


def test_clipping_that_never_acted_says_nothing_of_harm(results: Path) -> None:
    store_arm(results, "none", BASE, clipped_fraction=0.0)
    store_arm(results, "clipnorm", BASE, base="clipnorm", clipped_fraction=0.0, clipped_steps={"lstm/kernel": 0})
    compared = comparison.compare(results)
    assert against(compared, "clipnorm").verdict == "not testable"
    assert outcome("hurts", compared).holds is None
    assert "Clipping never acted" in str(outcome("hurts", compared))


def test_arms_without_a_shared_seed_and_an_arm_alone(results: Path) -> None:
    store_arm(results, "none", BASE)
    assert "No arm is held against none" in str(outcome("hurts", comparison.compare(results)))
    store_arm(results, "clipnorm", BASE, base="clipnorm", first_seed=100)
    assert "clipnorm shares no seed with none" in str(outcome("hurts", comparison.compare(results)))
    assert outcome("diverged", comparison.compare(results)).holds is False


def test_it_holds_where_one_arm_shows_it_though_another_can_not(compared: Comparison, stored: Path) -> None:
    store_arm(stored, "apart", BASE, base="clipnorm", first_seed=100)
    found = outcome("hurts", comparison.compare(stored, baseline="none"))
    assert found.holds is True
    assert len(found.unknown) == 1


def test_a_spread_within_seeds_is_judged_where_it_is_compared(results: Path) -> None:
    for arm, base in (("none", "none"), ("clipnorm", "clipnorm")):
        store_arm(results, arm, BASE[:2], base=base)
        store_arm(results, f"{arm}-again", BETTER[:2], base=base, settings=["model.perturbation=1e-6"])
    compared = comparison.compare(results, question=Question("repeatability"))
    assert outcome("repeatability > 0", compared).holds is True
    assert outcome("repeatability > 1", compared).holds is False
    assert outcome("val_accuracy > 0", compared).holds is True


def test_runs_without_an_accuracy_can_not_collapse(results: Path) -> None:
    store_arm(results, "none", BASE, scores={"mae": (False, lambda loss: loss)})
    assert "no val_accuracy" in str(outcome("collapsed", comparison.compare(results)))
    assert outcome("val_mae > 0", comparison.compare(results)).holds is True
