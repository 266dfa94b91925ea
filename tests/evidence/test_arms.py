"""Stored runs read as arms: broken ones are named and left out, what differs between them is listed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import store_run

from gradclip_cli.config.own import OwnConfig
from gradclip_cli.config.recorded import RecordedConfig
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import arms, comparison
from gradclip_cli.evidence.bins import step_bins
from gradclip_cli.runs.store import RunDirectory


def damage_cut(run: RunDirectory) -> None:
    run.metrics_path.write_text("".join(run.metrics_path.read_text().splitlines(keepends=True)[:-1]))


def damage_half_a_line(run: RunDirectory) -> None:
    run.metrics_path.write_text(run.metrics_path.read_text()[:-20])


def damage_edit(run: RunDirectory) -> None:
    run.metrics_path.write_text(run.metrics_path.read_text().replace("1.5", "0.5"))


def damage_empty(run: RunDirectory) -> None:
    run.metrics_path.write_text("")


def damage_missing(run: RunDirectory) -> None:
    run.metrics_path.unlink()


def damage_record(run: RunDirectory) -> None:
    (run.path / "run.json").write_text('{"status": "comp')


def damage_config(run: RunDirectory) -> None:
    run.config_path.write_text("nonsense: true")


DAMAGES = [damage_cut, damage_half_a_line, damage_edit, damage_empty, damage_missing, damage_record, damage_config]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_run_is_named_and_the_rest_goes_on(damage: Callable[[RunDirectory], None], two_arms: Path) -> None:
    broken = RunDirectory.of(two_arms, "none", 1)
    damage(broken)
    compared = comparison.compare(two_arms)
    assert compared.table["runs"].tolist() == [2, 3]
    assert len(compared.warnings) == 1
    assert str(broken.path) in compared.warnings[0]


@pytest.mark.parametrize("change", ["config", "run"])
def test_a_run_whose_seed_was_changed_is_refused_with_all_three(two_arms: Path, change: str) -> None:
    run = RunDirectory.of(two_arms, "clipvalue", 1)
    if change == "config":
        run.config_path.write_text(run.config_path.read_text().replace("seed: 1", "seed: 2"))
    else:
        run.write_metadata({**run.metadata(), "seed": 2})
    compared = comparison.compare(two_arms)
    assert 1 not in compared.others[0].arm.seeds
    (warning,) = [warning for warning in compared.warnings if "whose seed" in warning]
    says = (1, 2, 1) if change == "config" else (1, 1, 2)
    assert "its folder says {}, config.yaml says {}, run.json says {}".format(*says) in warning


RUN_JSON_DAMAGE = {
    "wrong type": {"epochs": "three"},
    "missing part": {"versions": None},
    "machine": {"machine": [1]},
    "nested": {"health": {"word": "healthy", "first_spike": 3, "first_explosion": None}},
    "status": {"status": 7},
    "negative rows": {"epochs": -1},
    "rows beyond any file": {"epochs": 2**63},
    "steps beyond any file": {"steps": 2**63},
}


@pytest.mark.parametrize("damage", RUN_JSON_DAMAGE.values(), ids=RUN_JSON_DAMAGE.keys())
def test_a_damaged_run_json_is_told_and_the_others_go_on(two_arms: Path, damage: dict[str, Any]) -> None:
    run = RunDirectory.of(two_arms, "none", 1)
    run.write_metadata({**run.metadata(), **damage})
    compared = comparison.compare(two_arms)
    assert compared.baseline.arm.seeds == [0, 2]
    assert any("none/seed-1" in warning for warning in compared.warnings)


def test_a_newer_run_json_is_refused_with_a_sentence(two_arms: Path) -> None:
    run = RunDirectory.of(two_arms, "none", 1)
    text = (run.path / "run.json").read_text().replace('"schema": 1', '"schema": 99')
    (run.path / "run.json").write_text(text)
    warnings = comparison.compare(two_arms).warnings
    assert any("newer gradclip (schema 99; this one reads up to 1)" in warning for warning in warnings)


def test_only_broken_runs(results: Path) -> None:
    damage_cut(store_run(results, "none", 0, [2.0, 1.0, 0.5]))
    store_run(results, "none", 1, [2.0], status="interrupted")
    with pytest.raises(ReportError, match="No finished run") as caught:
        comparison.compare(results)
    assert "seed-0" in str(caught.value)
    assert "interrupted, not finished" in str(caught.value)


def test_what_differs_besides_clipping_is_listed(two_arms: Path) -> None:
    store_run(two_arms, "other", 0, [2.0, 1.0, 0.5], settings=["model.units=12", "clipping={mode: clipnorm, threshold: 1}"])
    (told,) = comparison.compare(two_arms).differences
    assert told == "other differs from none in more than clipping: model.units is 12, not 10"


def test_mixed_versions_machines_and_engines_are_warned_of(two_arms: Path) -> None:
    store_run(
        two_arms,
        "none",
        3,
        [2.0, 1.0, 0.5],
        versions={"tensorflow": "2.20"},
        machine={"processor": "b"},
        settings=["engine.jit=false"],
    )
    warnings = "\n".join(comparison.compare(two_arms).warnings)
    for words in ("mixed versions of tensorflow: 2.21", "2.20", "mixed machines", "mixed engine settings", "none/seed-3"):
        assert words in warnings


def test_what_only_one_framework_needs_is_no_mixed_version(two_arms: Path) -> None:
    for seed in range(6):
        store_run(
            two_arms, "pytorch-none", seed, [2.0, 1.0, 0.5], versions={"torch": "2.13"}, settings=["engine.framework=pytorch"]
        )
    (warning,) = comparison.compare(two_arms, ["none", "pytorch-none"]).warnings
    assert warning.startswith("mixed engine settings: framework tensorflow")
    assert "framework pytorch" in warning


def test_step_bins_and_their_stand_in(results: Path) -> None:
    run = store_run(results, "none", 0, [2.0, 1.0, 0.5])
    (arm,), _ = arms.read_arms(results)
    bins = step_bins(arm)
    assert len(bins.middles) == 12  # no more bins than steps
    np.testing.assert_allclose(bins.median_norm[0], [loss * step for step, loss in enumerate(np.repeat([2.0, 1.0, 0.5], 4), 1)])
    np.testing.assert_allclose(bins.largest_norm, bins.median_norm[0])
    np.testing.assert_allclose(bins.clipped[0], [1, 0] * 6)
    np.testing.assert_allclose(bins.median_applied[0], np.repeat([2.0, 1.0, 0.5], 4))
    np.testing.assert_allclose(bins.largest_applied, bins.median_applied[0])
    np.testing.assert_allclose(bins.cut[0], [1 - 1 / step if step % 2 else np.nan for step in range(1, 13)])
    run.steps_path.unlink()
    (arm,), _ = arms.read_arms(results)
    bins = step_bins(arm)
    np.testing.assert_allclose(bins.median_norm[0], np.repeat([2.0, 1.0, 0.5], 4))
    np.testing.assert_allclose(bins.largest_norm, np.repeat([20.0, 10.0, 5.0], 4))
    np.testing.assert_allclose(bins.clipped[0], 0.25)
    np.testing.assert_allclose(bins.median_applied, bins.median_norm)  # of a run that doesn't clip
    store_run(results, "clipvalue", 0, [2.0, 1.0, 0.5], base="clipvalue").steps_path.unlink()
    (arm,), _ = arms.read_arms(results, ["clipvalue"])
    bins = step_bins(arm)
    assert np.isfinite(bins.median_norm).all()
    assert np.isnan(bins.median_applied).all()
    assert np.isnan(bins.cut).all()


def test_scores_never_reward_divergence() -> None:
    loss = np.array([[2.0, 1.0, 0.5], [9.0, 1.0, np.nan], [2.0, 1.0, 0.1]])
    diverged = np.array([False, True, True])
    np.testing.assert_allclose(
        arms.scored(loss, diverged, worst=2.3, higher_is_better=False), [[2, 1, 0.5], [2.3, 1, 2.3], [2, 1, 2.3]]
    )
    accuracy = np.array([[0.05, 0.8], [0.7, np.nan]])
    scored = arms.scored(accuracy, np.array([False, True]), worst=0.1, higher_is_better=True)
    np.testing.assert_allclose(scored, [[0.05, 0.8], [0.7, 0.1]])


def test_a_diverged_run_is_at_chance_throughout_where_whole_curves_are_scored(results: Path) -> None:
    store_run(results, "none", 0, [2.0, 9.0, 0.5])
    store_run(results, "none", 1, [0.2, 0.1], status="diverged")
    (arm,), _ = arms.read_arms(results)
    np.testing.assert_allclose(arm.scored("loss"), [[2, math.log(10), 0.5], [0.2, 0.1, math.log(10)]])
    np.testing.assert_allclose(arm.scored_throughout("loss"), [[2, math.log(10), 0.5], [math.log(10)] * 3])
    np.testing.assert_allclose(arm.scored_throughout("accuracy")[1], [0.1] * 3)


def test_how_many_steps_are_recorded_is_no_difference_of_what_is_trained() -> None:
    def arm(name: str, rate: float, every: int) -> Any:
        keys = {"name": name, "model": {"factory": "model.py:build"}, "data": {"npz": "data.npz"}, "records": {"every": every}}
        return SimpleNamespace(config=OwnConfig.model_validate({**keys, "optimizer": {"name": "sgd", "learning_rate": rate}}))

    assert arms.other_differences(arm("none", 0.1, 1), arm("clipped", 0.1, 10)) == []
    assert [key for key, *_ in arms.other_differences(arm("none", 0.1, 1), arm("clipped", 0.2, 10))] == [
        "optimizer.learning_rate"
    ]


@pytest.mark.parametrize(
    ("value", "threshold", "others"),
    [(0.5, 0.5, []), (0.5, 2.0, ["values.clip"])],
)
def test_a_script_s_value_that_its_recorder_saw_clip_is_its_clipping(value: float, threshold: float, others: list[str]) -> None:
    def arm(name: str, clip: float | str, rule: dict[str, Any]) -> Any:
        keys = {"name": name, "command": ["python", "x.py", "{clip}"], "values": {"clip": clip}, "clipping": rule}
        return SimpleNamespace(config=RecordedConfig.model_validate(keys))

    base, clipped = (
        arm("base", "inf", {"mode": "none"}),
        arm("clipped", value, {"mode": "global_clipnorm", "threshold": threshold}),
    )
    assert [key for key, *_ in arms.other_differences(base, clipped)] == others
    assert [key for key, *_ in arms.other_differences(base, arm("more", 0.5, {"mode": "none"}))] == ["values.clip"]
