"""Which verdicts are exploratory: by the plan where there is one, else by what was looked at first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import store_run
from planned import look, store_arms, write_plan

from gradclip_cli.evidence import comparison, exploratory, report
from gradclip_cli.evidence.ledger import Ledger
from gradclip_cli.evidence.plans import Look, Plan


def store_apart(results: Path, seeds: range) -> None:
    """Two arms, of which one is better on every seed."""
    for seed in seeds:
        store_run(results, "none", seed, [2.0, 1.5, 1.0 + 0.01 * seed])
        store_run(results, "better", seed, [2.0, 1.4, 0.8 + 0.02 * seed], base="clipvalue")


def verdicts(compared: comparison.Comparison) -> list[str]:
    return [row[-1] for row in report.verdict_rows(compared)[1:]]


def test_the_first_metric_looked_at_confirms_and_each_other_one_explores(results: Path) -> None:
    store_apart(results, range(8))
    for _ in range(2):
        first, second, third = look(results), look(results, "loss"), look(results, "loss_area")
        assert (first.exploratory, verdicts(first)) == ([], ["helps"])
        assert verdicts(second) == ["helps (exploratory: second metric looked at)"]
        assert verdicts(third) == ["helps (exploratory: third metric looked at)"]
    assert "xploratory" not in first.sentences[0]
    assert third.sentences[0].endswith(" This look is exploratory: third metric looked at.")
    content = json.loads(report.to_json(third))
    assert content["exploratory"] == content["arms"][1]["against_baseline"]["exploratory"] == ["third metric looked at"]
    assert content["arms"][1]["against_baseline"]["verdict"] == "helps"
    assert "third metric looked at" in report.to_markdown(third)


def test_metrics_of_a_plan_confirm_in_any_order(results: Path) -> None:
    store_apart(results, range(8))
    write_plan(results / "plan.json", seeds=list(range(8)), metrics=["loss", "val_accuracy"])
    assert verdicts(look(results, "loss_area")) == ["helps (exploratory: metric not planned)"]
    for metric in ("val_accuracy", "loss"):
        assert verdicts(look(results, metric)) == ["helps"]


def test_seeds_added_after_a_look_explore(results: Path) -> None:
    store_apart(results, range(7))
    assert verdicts(look(results)) == ["helps"]
    store_apart(results, range(7, 9))
    added = look(results)
    assert verdicts(added) == ["helps (exploratory: seeds 7-8 added after a look)"]
    assert added.sentences[0].endswith("This look is exploratory: seeds 7-8 added after a look.")
    both = look(results, "loss")
    assert verdicts(both) == ["helps (exploratory: second metric looked at, seeds 7-8 added after a look)"]
    assert verdicts(comparison.compare(results, seeds=range(7))) == ["helps"]


@pytest.mark.parametrize("plan", ["plan.json", "experiment.json"])
def test_seeds_that_a_plan_does_not_name_explore_whenever_they_were_trained(plan: str, results: Path) -> None:
    store_apart(results, range(9))
    write_plan(results / plan, seeds=list(range(7)))
    assert verdicts(look(results)) == ["helps"]
    assert verdicts(comparison.compare(results, seeds="all")) == ["helps (exploratory: seeds 7-8 not planned)"]


def test_too_few_seeds_are_exploratory_once(results: Path) -> None:
    store_arms(results, range(3))
    assert verdicts(look(results)) == ["exploratory"]
    assert verdicts(look(results, "loss")) == ["exploratory (second metric looked at)"]


def test_reasons_stand_beside_what_else_arms_differ_in(results: Path) -> None:
    store_apart(results, range(8))
    look(results, "loss")
    for seed in range(8):
        store_run(results, "other", seed, [2.0, 1.4, 0.7 + 0.01 * seed], base="clipvalue", settings=["model.units=3"])
    told = verdicts(comparison.compare(results, ["none", "other"]))
    assert told == ["helps (exploratory: second metric looked at; other model.units)"]


def test_a_look_that_is_not_described_counts_as_one_by_the_usual_metric() -> None:
    ledger = Ledger([Look(arms=["none"], seeds=[0])], {})
    assert exploratory.of_metric("val_accuracy", None, ledger) == []
    assert exploratory.of_metric("loss", None, ledger) == ["second metric looked at"]
    seeds_alone = Plan([0], "experiment.json")
    assert exploratory.of_metric("loss", seeds_alone, ledger) == ["second metric looked at"]
    assert exploratory.of_metric("loss", None, Ledger()) == []


def test_looks_at_other_arms_are_of_another_question() -> None:
    ledger = Ledger([Look(arms=["mine", "yours"], seeds=[0], metric="loss"), Look(arms=[], seeds=[0], metric="mae")], {})
    assert exploratory.of_metric("val_accuracy", None, ledger, arms=["none", "clipped"]) == ["second metric looked at"]
    assert exploratory.of_metric("val_accuracy", None, Ledger(ledger.looks[:1], {}), arms=["none", "clipped"]) == []
    assert exploratory.of_metric("val_accuracy", None, ledger, arms=["none", "mine"]) == ["third metric looked at"]


def test_each_arm_has_its_own_first_look(results: Path) -> None:
    store_apart(results, range(8))
    look(results)
    for seed in range(9):
        store_run(results, "later", seed, [2.0, 1.4, 0.7 + 0.01 * seed], base="clipvalue")
    assert verdicts(comparison.compare(results)) == ["helps", "helps"]
    store_apart(results, range(8, 9))
    assert verdicts(comparison.compare(results)) == ["helps (exploratory: seed 8 added after a look)"] * 2
    assert verdicts(comparison.compare(results, ["later", "better"], "better", seeds=range(8))) == ["helps"]
