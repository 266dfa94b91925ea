"""What can be chosen on a page: the looks and runs that it holds are those of the comparison, and what is missing is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import store_run
from made_up import BASE, BETTER, store_arm

from gradclip_cli.evidence import comparison, report
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.pages import looks


@pytest.fixture
def compared(results: Path) -> Comparison:
    """Three arms, of which one has a run that diverged."""
    store_arm(results, "none", BASE)
    store_arm(results, "clipvalue", BETTER, base="clipvalue")
    store_run(results, "clipnorm", 0, [2.0, 1.5], status="diverged", base="clipnorm")
    store_arm(results, "clipnorm", BETTER[1:], first_seed=1, base="clipnorm")
    return comparison.compare(results)


def held(compared: Comparison) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(looks.data(compared))
    return found


def test_the_pages_own_question_stands_first_as_it_is_told(compared: Comparison) -> None:
    own = held(compared)["looks"][0]
    assert (own["baseline"], own["metric"]) == ("none", "val_accuracy")
    assert own["rows"] == report.verdict_rows(compared)
    assert own["sentences"] == compared.sentences
    differences = own["differences"]["clipvalue"]
    assert differences["values"] == pytest.approx(
        [100 * (base - ours) / 3 for base, ours in zip(BASE, BETTER, strict=True)], abs=1e-3
    )


def test_each_combination_is_there_once_or_counted(compared: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    found = held(compared)
    pairs = [(each["baseline"], each["metric"]) for each in found["looks"]]
    assert len(set(pairs)) == len(pairs) == 3 * len({metric for _, metric in pairs})
    assert found["left"] == ""
    assert set(found["metrics"]) == {metric for _, metric in pairs}
    monkeypatch.setattr(looks, "MOST_JUDGED", 6)
    few = held(compared)
    assert len(few["looks"]) == 3
    assert few["left"].startswith(f"{len(pairs) - 3} further combinations of baseline and metric are not here; gradclip report")


def test_a_run_is_held_as_it_was_recorded(compared: Comparison) -> None:
    runs = held(compared)["runs"]
    assert runs["epochs"] == [1, 2, 3]
    assert runs["note"] == ""
    diverged, complete = runs["of"]["clipnorm"][:2]
    assert (diverged["seed"], diverged["status"], diverged["curves"]["loss"]) == (0, "diverged at step 8", [2.0, 1.5])
    assert (complete["seed"], complete["status"], complete["clipped"]) == (1, "complete", "25.0%")
    assert complete["curves"]["loss"] == [2.0, 1.5, pytest.approx(BETTER[1], abs=1e-3)]


def test_of_too_many_epochs_some_are_left_out_and_that_is_said(compared: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "MOST_NUMBERS", 150)
    runs = held(compared)["runs"]
    assert runs["epochs"] == [2, 3]
    assert runs["note"] == "Of 3 epochs one in 2 and the last are held here."
    assert runs["of"]["clipnorm"][0]["curves"]["loss"] == [1.5]
