"""A plan is written before the first run, whole, with what was there already, and is never written again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import loaded_once, store_run
from planned import lay_down, look, store_arms

from gradclip_cli.errors import StoreError
from gradclip_cli.evidence import comparison, plans
from gradclip_cli.evidence.intentions import Intention, record_plan
from gradclip_cli.evidence.plans import PlannedTest
from gradclip_cli.runs.provenance import provenance

INTENTION = Intention(
    kind="reproduce",
    configs=[loaded_once("none"), loaded_once("clipvalue", "name=better").with_seed(7)],
    seeds=[0, 1, 2],
    tests=[PlannedTest(arm="better", baseline="none", metric="loss", family="one")],
    rules={"B": "second", "A": "first"},
)


def plan_in(results: Path, **changes: Any) -> dict[str, Any]:
    record_plan(results, dataclasses.replace(INTENTION, **changes))
    return dict(json.loads((results / "plan.json").read_text()))


def test_a_plan_says_what_is_trained_and_tested_and_by_what(results: Path) -> None:
    plan = plan_in(results)
    assert (plan["schema"], plan["kind"], plan["seeds"], plan["fresh_seeds"]) == (1, "reproduce", [0, 1, 2], [])
    assert datetime.fromisoformat(plan["written"]).tzinfo
    assert list(plan["arms"]) == ["none", "better"]
    assert plan["arms"]["better"]["clipping"]["threshold"] == 0.5
    assert "seed" not in plan["arms"]["better"]["training"]
    assert plan["metrics"] == ["loss"]
    (test,) = plan["tests"]
    assert test == {
        "arm": "better",
        "baseline": "none",
        "metric": "loss",
        "test": plans.SIGNED_RANK,
        "level": 0.05,
        "family": "one",
    }
    assert plan["rules"] == {"B": "second", "A": "first"}
    assert plan["rules_sha256"] == hashlib.sha256(b'{"A": "first", "B": "second"}').hexdigest()
    origin = provenance("tensorflow")
    assert (plan["versions"], plan["git_commit"]) == (origin["versions"], origin["git_commit"])
    assert plan["seen"] == {"runs": {}, "looks": [], "unknown": []}


def test_what_it_says_is_read_back(results: Path) -> None:
    plan_in(results)
    found = plans.plan_on_record(results)
    assert found is not None
    path, record = found
    assert isinstance(record, plans.PlanRecord)
    assert (path, record.arms) == (results / "plan.json", INTENTION.arms)
    assert plans.read_plan(results) == plans.Plan([0, 1, 2], "plan.json", ["loss"])


def test_what_had_been_there_before_is_told(results: Path) -> None:
    store_arms(results, range(1, 5))
    store_arms(results, range(2), "other")
    store_run(results, "none", 0, [2.0], status="interrupted")
    look(results, "val_loss")
    store_run(results / "best", "better", 3, [2.0, 1.0, 0.5])
    seen = plan_in(results, fresh_seeds=[3], fresh_arms="each row's best")["seen"]
    assert seen["runs"] == {"better": [1, 2], "none": [1, 2], "best/better": [3]}
    (earlier,) = seen["looks"]
    assert (earlier["baseline"], earlier["metric"], earlier["seeds"]) == ("none", "val_loss", [0, 1, 2, 3, 4])


def test_a_ledger_that_cannot_be_read_is_told_in_the_plan(results: Path) -> None:
    lay_down(results / "looks.json", first_compared="x")
    (unknown,) = plan_in(results)["seen"]["unknown"]
    assert "looks.json: can't be read" in unknown


@pytest.mark.parametrize("there", ["plan.json", "experiment.json", "sweep.json"])
def test_a_plan_that_is_there_stays(there: str, results: Path) -> None:
    lay_down(results / there, seeds=[0])
    before = (results / there).read_bytes()
    record_plan(results, INTENTION)
    assert [path.name for path in results.iterdir()] == [there]
    assert (results / there).read_bytes() == before


def test_where_it_cannot_be_written_nothing_is_trained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't be written"):
        record_plan(tmp_path / "file", INTENTION)


def test_its_seeds_and_metrics_count_in_comparisons(results: Path) -> None:
    plan_in(results)
    store_arms(results, range(5))
    compared = comparison.compare(results)
    assert compared.baseline.arm.seeds == [0, 1, 2]
    assert compared.exploratory == ["metric not planned"]
