"""A report says what was planned, what had been seen first, and each thing that is different now."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import loaded_once
from planned import lay_down, look, store_arms

from gradclip_cli.evidence import adherence
from gradclip_cli.evidence.adherence import Adherence
from gradclip_cli.evidence.arms import read_arms
from gradclip_cli.evidence.intentions import Intention, record_plan
from gradclip_cli.evidence.plans import PlannedTest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHORT = "training.epochs=3", "training.steps_per_epoch=4"
INTENTION = Intention(
    kind="reproduce",
    configs=[loaded_once("none", *SHORT, "name=none"), loaded_once("clipvalue", *SHORT, "name=better")],
    seeds=[0, 1, 2],
    tests=[PlannedTest(arm="better", baseline="none", metric="loss")],
    rules={"C1": "first", "C2": "second"},
)


def at(commit: str | None) -> Callable[[str], dict[str, Any]]:
    return lambda framework: {"versions": {framework: "2.21"}, "git_commit": commit}


@pytest.fixture
def planned(results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose plan was carried out."""
    for module in ("intentions", "adherence"):
        monkeypatch.setattr(f"gradclip_cli.evidence.{module}.provenance", at(COMMIT))
    record_plan(results, INTENTION)
    store_arms(results, range(3))
    return results


def held(results: Path, **changes: Any) -> Adherence:
    arms = read_arms(results)[0]
    return Adherence.of(results, dataclasses.replace(INTENTION, **changes), arms)


def test_where_nothing_differs_it_is_as_planned(planned: Path) -> None:
    told = held(planned)
    assert told.changes == []
    assert "at commit 0123456789ab (plan.json): 2 arms, seeds 0-2; 1 test by loss; 2 rules (SHA-256 " in told.planned
    assert told.seen == "Nothing of it had been seen before."
    heading, text = told.to_markdown()
    assert heading == "## The plan"
    assert text.endswith("Nothing of it had been seen before. As planned.")
    content = json.loads(json.dumps(told.to_dict()))
    assert (content["file"], content["git_commit"], content["changes"]) == ("plan.json", COMMIT, [])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seeds": [0, 1, 2, 3, 4]}, "Added to those of the plan: seeds 3-4."),
        ({"seeds": [0, 1]}, "Planned, but not in this report: seed 2."),
        ({"fresh_seeds": [7, 8]}, "Added to those of the plan: fresh seeds 7-8."),
        ({"configs": INTENTION.configs[:1]}, "Planned arms that are missing: better."),
        ({"configs": [*INTENTION.configs, loaded_once("control")]}, "Arms that were not planned: control."),
        (
            {"configs": [INTENTION.configs[0], loaded_once("clipvalue", *SHORT, "name=better", "clipping.threshold=2")]},
            "Not as planned: better (clipping.threshold is 2.0, not 0.5).",
        ),
        (
            {
                "configs": [
                    loaded_once(config.name.replace("better", "clipvalue"), *SHORT, f"name={config.name}", "model.units=3")
                    for config in INTENTION.configs
                ]
            },
            "Not as planned: none, better (model.units is 3, not ",
        ),
        ({"rules": {"C1": "first", "C2": "another"}}, "Rules read otherwise than planned (SHA-256 "),
        ({"rules": {"C1": "first", "C2": "second", "C3": "new"}}, "): C3."),
    ],
)
def test_each_difference_is_a_sentence(changes: dict[str, Any], told: str, planned: Path) -> None:
    result = held(planned, **changes)
    (change,) = result.changes
    assert told in change
    page = "\n\n".join(result.to_markdown())
    assert "Different now:\n\n- " in page
    assert "As planned." not in page


def test_other_tests_are_told(planned: Path) -> None:
    added, missing = held(planned, tests=[PlannedTest(arm="better", metric="accuracy")]).changes
    assert added == "Tests that were not planned so: better by accuracy."
    assert missing == "Planned tests that are not made so: better against none by loss."


def test_another_commit_and_other_versions_are_told(planned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = planned / "none" / "seed-0" / "run.json"
    content = json.loads(path.read_text()) | {"git_commit": f"{COMMIT}-dirty", "versions": {"tensorflow": "2.22"}}
    path.write_text(json.dumps(content))
    monkeypatch.setattr(adherence, "provenance", at("f" * 40))
    assert held(planned).changes == [
        "Runs were trained at another commit than the plan's: 0123456789ab-dirty.",
        "Runs were trained with tensorflow 2.22, not 2.21.",
        "This report is written at another commit than the plan's: ffffffffffff.",
    ]


def test_what_had_been_seen_is_told(results: Path) -> None:
    store_arms(results, range(2))
    look(results, "val_loss")
    record_plan(results, INTENTION)
    seen = held(results).seen
    assert seen == (
        "Before it was written, these had been there: finished runs of better with seeds 0-1, none with seeds 0-1; 1 look "
        "(better against none by val_loss on seeds 0-1)."
    )


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        (
            "experiment.json",
            {"seeds": [0, 1, 2], "started": "2026-11-22"},
            "Only the seeds were planned, on 2026-11-22 (experiment.json): 0-2. These seeds are as planned.",
        ),
        (
            "sweep.json",
            {"seeds": [0, 1], "fresh_seeds": [5, 6]},
            "Only the seeds were planned, as its report tells (sweep.json): 0-1, and 5-6 as fresh ones.",
        ),
    ],
)
def test_an_older_file_planned_the_seeds_only(file: str, content: dict[str, Any], told: str, results: Path) -> None:
    lay_down(results / file, **content)
    store_arms(results, range(3))
    result = held(results)
    assert told in "\n\n".join(result.to_markdown())
    assert result.changes == (
        []
        if file == "experiment.json"
        else [
            "Added to those of the plan: seed 2.",
            "Planned, but not in this report: fresh seeds 5-6.",
        ]
    )


def test_without_a_plan_and_with_one_that_cannot_be_read(results: Path) -> None:
    store_arms(results, range(3))
    assert held(results).to_markdown()[1] == "No plan is on record."
    (results / "plan.json").write_text("{")
    assert held(results).planned.startswith("What was planned is not known: ")


def test_a_planned_config_that_is_not_known_any_more_is_told(planned: Path) -> None:
    plan = json.loads((planned / "plan.json").read_text())
    plan["arms"]["better"]["clipping"]["mode"] = "gone"
    (planned / "plan.json").write_text(json.dumps(plan))
    assert held(planned).changes == ["Not as planned: better (its planned config is none that this gradclip knows)."]


def test_a_key_that_was_not_there_yet_is_no_change(planned: Path) -> None:
    plan = json.loads((planned / "plan.json").read_text())
    del plan["arms"]["better"]["engine"]
    (planned / "plan.json").write_text(json.dumps(plan))
    assert held(planned).changes == []
