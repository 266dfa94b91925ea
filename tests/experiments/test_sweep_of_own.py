"""A sweep over a problem of the user's own: its bests and its map by the metric that the runs have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Scores, store_run
from own_runs import ERRORS, LOSS_ALONE, REGRESSION

from gradclip_cli.config import sweeps
from gradclip_cli.config.sweeps import Sweep
from gradclip_cli.evidence.metrics import USUAL
from gradclip_cli.experiments import sweep as experiment
from gradclip_cli.experiments import sweep_report

GRID = """
base: {extends: mine.yaml, training: {epochs: 3, steps_per_epoch: 4}, data: {holdout: 10}}
grid:
  clipping: [{mode: none}, {mode: clipnorm, threshold: 1}]
  data.batch_size: [8, 16, 32]
seeds: 2
fresh_seeds: 6
"""
LOSSES = {("none", "8"): 1.2, ("none", "16"): 1.0, ("clipnorm-1", "16"): 0.9, ("clipnorm-1", "32"): 0.8}
"""By rule and batch size; other cells diverge."""


@pytest.fixture
def chosen(tmp_path: Path) -> Sweep:
    (tmp_path / "mine.yaml").write_text(REGRESSION)
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return sweeps.load(str(path))


def store_grid(chosen: Sweep, results: Path, chance: dict[str, float], scores: Scores = ERRORS) -> None:
    base = str(results.parent / "mine.yaml")
    for config in chosen.configs:
        rule, _, size = config.name.partition("+data.batch_size=")
        end = LOSSES.get((rule, size))
        for seed in chosen.seeds:
            settings = [f"data.batch_size={size}", "data.holdout=10"]
            settings += ["clipping={mode: clipnorm, threshold: 1}"] if rule != "none" else []
            facts = {"evaluation_split": "holdout", "chance": chance, "scores": scores, "settings": settings}
            status = "complete" if end else "diverged"
            store_run(results, config.name, seed, [2.0, 1.5, end] if end else [0.1], base=base, status=status, **facts)


@pytest.mark.parametrize(
    ("chance", "counted"), [({}, "the worst of the grid that finished"), ({"mae": 1150.0, "loss": 1.0}, "chance")]
)
def test_the_best_are_the_lowest_in_the_runs_own_metric(
    chance: dict[str, float], counted: str, chosen: Sweep, results: Path
) -> None:
    store_grid(chosen, results, chance)
    found = experiment.read(chosen, results)
    assert [row.best for row in found.rows] == [1, 2]
    worst = chance.get("mae", 1300.0)
    assert found.rows[0].scores == pytest.approx([min(1300, worst), 1100, worst])
    assert found.rows[1].scores == pytest.approx([worst, 1000, 900])
    assert f"chosen by mean holdout mae over seeds 0-1, a diverged run counting as {counted}." in sweep_report.scope(found)
    assert sweep_report.best_columns(found)[2] == "mae"
    assert sweep_report.best_rows(found)[0][1:3] == ["batch size 16", "1100"]
    picture = sweep_report.stability(found)
    assert (picture.metric, picture.higher_is_better) == ("holdout mae", False)
    assert "holdout_mae" in sweep_report.table(found)


def test_a_row_that_only_diverged_has_no_best(chosen: Sweep, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_sweep_of_own.LOSSES", {key: value for key, value in LOSSES.items() if key[0] == "none"})
    store_grid(chosen, results, {})
    assert [row.best for row in experiment.read(chosen, results).rows] == [1, None]


def test_without_a_metric_the_loss_chooses(chosen: Sweep, results: Path) -> None:
    store_grid(chosen, results, {}, LOSS_ALONE)
    found = experiment.read(chosen, results)
    assert (found.metric.title, [row.best for row in found.rows]) == ("holdout loss", [1, 2])


def test_the_plan_names_the_usual_metric_and_how_it_chooses(chosen: Sweep) -> None:
    planned = experiment.intention(chosen)
    assert planned.metrics == [USUAL]
    assert "by their first metric" in planned.rules["choice"]


def test_its_page_says_what_was_trained(chosen: Sweep, results: Path) -> None:
    store_grid(chosen, results, {})
    found = experiment.read(chosen, results)
    said = sweep_report.facts(chosen)
    assert said["model"] == "nowhere.py:build"
    assert said["data"] == "houses.npz, batch size swept, holdout 10"
    assert said["optimizer"] == "compiled"
    assert said["further"] == "loss.name mean_squared_error, metrics mae"
    sweep_report.write(found, results)
    content = json.loads((results / "sweep.json").read_text())
    assert content["cells"][1]["holdout_mae"] == pytest.approx(1100)
    assert "accuracy" not in (results / "report.md").read_text()
