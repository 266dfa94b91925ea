"""Runs with metrics of their own: found by name, told in words, scored with and without chance."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import call, store_run
from made_up import against
from own_runs import CLASSES, ENDS, ERRORS, LOSS_ALONE, LOWER, SHARES, store_diverged, store_own

from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import arms, comparison, figures, plans, report
from gradclip_cli.evidence.metrics import METRICS, USUAL, names_for, usual_metric
from gradclip_cli.evidence.questions import Question

pytestmark = pytest.mark.usefixtures("unrendered")

CHANCE = {"loss": 1.8, "mae": 1700.0}


def compared(results: Path, metric: str | None = None, **asked: Any) -> comparison.Comparison:
    return comparison.compare(results, question=Question(metric, **asked))


@pytest.fixture
def regression(results: Path) -> Path:
    """Two arms, of which one has lower errors: loss, and mae a thousand times as large; nothing is known of chance."""
    store_own(results, "none", ENDS)
    store_own(results, "clipped", LOWER)
    return results


# Which there are.


def test_usual_is_accuracy_else_the_first_metric_else_the_loss() -> None:
    assert usual_metric({"top_3": True, "accuracy": True}) is METRICS["val_accuracy"]
    assert (usual_metric({"mae": False, "mape": False}).name, usual_metric({}).name) == ("val_mae", "val_loss")
    assert usual_metric({"r2": True}).higher_is_better
    assert not usual_metric({"mae": False}).higher_is_better


def test_the_runs_metrics_stand_beside_gradclips_own(regression: Path) -> None:
    assert compared(regression).metric.name == "val_mae"
    for name, title in (("val_mae", "test mae"), ("mae", "training mae"), ("val_loss", "test loss"), ("loss", "training loss")):
        assert compared(regression, name).metric.title == title
    assert names_for({"mae": False})[:2] == ["val_mae", "mae"]


@pytest.mark.parametrize("name", ["val_accuracy", "accuracy", "f1", "val_", ""])
def test_what_the_runs_do_not_have_is_refused_with_what_they_have(name: str, regression: Path) -> None:
    with pytest.raises(
        ReportError, match=rf"none has no metric '{name}'(; did you mean 'val_mae'\?|\.) There are: val_mae, mae, val_loss, loss"
    ):
        compared(regression, name)


def test_figures_are_those_of_the_files(regression: Path, tmp_path: Path) -> None:
    report.write(compared(regression), tmp_path)
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert content["metric"]["name"] == "val_mae"
    for arm in content["arms"]:
        last = [pd.read_csv(regression / arm["arm"] / f"seed-{seed}" / "metrics.csv").iloc[-1] for seed in range(8)]
        assert arm["scores"] == pytest.approx([row["val_mae"] for row in last])
        assert arm["mae"] == pytest.approx(np.mean([row["mae"] for row in last]))
        assert arm["collapsed"] is None
    clipped = content["arms"][1]["against_baseline"]
    assert (clipped["verdict"], clipped["collapses"]) == ("helps", None)
    assert clipped["mean"] == pytest.approx(-135)


def test_what_has_no_unit_is_told_by_its_own_size(regression: Path) -> None:
    whole = compared(regression)
    assert "clipped lowered test mae by 135 typically, by 135 on average, against none" in against(whole, "clipped").sentence
    assert (whole.metric.heading, whole.metric.unit.digits) == ("test mae", 0)
    assert whole.yardstick.effect == 60  # 5% of about 1,110, in a round number
    store_own(regression, "none", ENDS, scores={"mae": (False, lambda loss: loss / 1000)})
    assert compared(regression, "loss", effect=0.1).metric.unit.digits == 3
    assert comparison.compare(regression, ["none"]).metric.unit.digits == 6


def test_only_crossentropies_are_told_in_nats(regression: Path, tmp_path: Path) -> None:
    assert compared(regression, "val_loss").metric.heading == "test loss"
    store_own(tmp_path / "classes", "none", ENDS, text=CLASSES, scores=SHARES)
    assert compared(tmp_path / "classes", "val_loss").metric.heading == "test loss (nats)"


def test_two_metrics_of_a_classification(results: Path) -> None:
    for arm, ends in (("none", ENDS), ("clipped", LOWER)):
        store_own(results, arm, ends, text=CLASSES, scores=SHARES, chance={"loss": 1.6, "accuracy": 0.2})
    usual, top = compared(results), compared(results, "val_top_3")
    assert (usual.metric.name, usual.metric.unit.name) == ("val_accuracy", "points")
    assert against(usual, "clipped").mean == pytest.approx(100 * 0.135 / 3)
    assert "a diverged run counts as chance (20.0)" in report.verdict_caption(usual)
    assert against(top, "clipped").verdict == "helps"  # higher is better
    assert against(top, "clipped").mean == pytest.approx(0.135 / 3)
    columns = ["loss", "top_3", "accuracy", "test loss (val_loss)", "test top 3 (val_top_3)", "test accuracy (val_accuracy)"]
    assert report.run_columns(top)[2:8] == columns
    assert "collapsed" in report.verdict_columns(top)


def test_without_any_metric_the_loss_is_compared(results: Path) -> None:
    for arm, ends in (("none", ENDS), ("clipped", LOWER)):
        store_own(results, arm, ends, scores=LOSS_ALONE)
    whole = compared(results)
    assert (whole.metric.name, against(whole, "clipped").verdict) == ("val_loss", "helps")
    titles = [panel.title for panel in figures.panels(whole)]
    assert titles[:2] == ["Training loss", "Test loss"]
    assert not [title for title in titles if "accuracy" in title]
    report.write(whole, results / "out")


# Chance, and what takes its place.


def test_chance_caps_what_has_one(results: Path) -> None:
    store_own(results, "none", [1.0, 1.9], chance=CHANCE)
    store_diverged(results, "clipped", 0, [0.1, 0.1], chance=CHANCE)
    store_own(results, "clipped2", [1.0, 1.1], chance=CHANCE)
    whole = compared(results)
    scores = {part.arm.name: part.scores for part in whole.arms}
    assert scores == {"none": pytest.approx([1100, 1700]), "clipped": [1700], "clipped2": pytest.approx([1100, 1200])}
    assert "at most chance (1700); a diverged run counts as chance" in report.verdict_caption(whole)


def test_a_diverged_run_counts_as_the_worst_that_finished(results: Path) -> None:
    """However good it was, and whatever arm the worst is in; what diverged beyond it doesn't count as finished."""
    store_own(results, "none", ENDS)
    store_own(results, "bad", [4.0, 0.5])
    for seed in range(8):
        store_diverged(results, "reckless", seed, [0.01, 0.01] if seed else [90.0, 90.0])
    whole = compared(results)
    scores = {part.arm.name: part.scores for part in whole.arms}
    assert scores["reckless"] == pytest.approx([4100] * 8)
    assert max(scores["none"] + scores["bad"]) == pytest.approx(4100)
    assert against(whole, "reckless").verdict == "hurts"
    caption = report.verdict_caption(whole)
    assert "chance isn't known, so nothing is capped, and a diverged run counts as the worst that finished (4100)" in caption
    assert [part.scores for part in comparison.compare(results, ["none", "reckless"]).others] == [pytest.approx([1300] * 8)]


def test_where_higher_is_better_the_worst_is_the_lowest(results: Path) -> None:
    scores = {"r2": (True, lambda loss: 1 - loss)}
    store_own(results, "none", ENDS, scores=scores)
    store_diverged(results, "reckless", 0, [0.1], scores=scores)
    assert compared(results).others[0].scores == pytest.approx([1 - 1.3])


def test_a_metric_that_is_not_finite_counts_as_the_worst_too(results: Path) -> None:
    scores = {"mae": (False, lambda loss: math.nan if loss < 0.5 else 1000 * loss)}
    store_own(results, "none", [1.0, 1.2, 0.1], scores=scores)
    assert compared(results).baseline.scores == pytest.approx([1100, 1300, 1300])


def test_where_nothing_finished_nothing_is_scored(results: Path) -> None:
    store_own(results, "none", [], scores=ERRORS)
    for arm in ("none", "reckless"):
        store_diverged(results, arm, 0, [0.1])
    with pytest.raises(ReportError, match=r"val_mae: .* what mae a model scores that looks at nothing, and no run finished"):
        comparison.compare(results, baseline="none")


def test_what_needs_chance_says_so(regression: Path) -> None:
    with pytest.raises(ReportError, match=r"loss_area: the runs of none don't tell what loss .* --metric val_loss"):
        compared(regression, "loss_area")
    with pytest.raises(ReportError, match=r"steps_to_target: .*; give --target-loss"):
        compared(regression, "steps_to_target")
    assert against(compared(regression, "steps_to_target", target_loss=1.2), "clipped").verdict == "helps"


def test_with_a_loss_that_has_chance_they_work(results: Path) -> None:
    for arm, ends in (("none", ENDS), ("clipped", LOWER)):
        store_own(results, arm, ends, chance=CHANCE)
    area = compared(results, "loss_area")
    assert against(area, "clipped").verdict == "helps"
    assert area.baseline.scores == pytest.approx([1.8 + 1.5 + end for end in ENDS])
    assert area.metric.unit.name == "\N{MULTIPLICATION SIGN} epochs"
    assert compared(results, "steps_to_target").yardstick.target_loss == 0.9


def test_repeatability_is_of_the_usual_metric(results: Path) -> None:
    for arm in ("none", "clipped"):
        store_own(results, arm, ENDS)
        clipping = [] if arm == "none" else ["clipping={mode: clipnorm, threshold: 1}"]
        store_own(results, f"{arm}-again", LOWER, settings=["model.perturbation=1e-6", *clipping])
    whole = comparison.compare(results, ["none", "clipped"], question=Question("repeatability"))
    assert whole.metric.title == "spread of test mae within a seed"
    expected = [1000 * abs(one - other) / math.sqrt(2) for one, other in zip(ENDS, LOWER, strict=True)]
    assert whole.baseline.scores == pytest.approx(expected)
    assert "of the last epoch's test mae" in report.verdict_caption(whole)


# What can't be compared.


def test_arms_without_the_metric_are_named_with_what_all_have(regression: Path) -> None:
    store_own(regression, "other", ENDS, scores=LOSS_ALONE)
    with pytest.raises(ReportError, match=r"Not all arms have val_mae: other has no metric but its loss .* --metric val_loss"):
        compared(regression)
    whole = compared(regression, "val_loss")
    assert report.run_rows(whole)[2][3] == "-"  # it has no mae
    assert [panel.title for panel in figures.panels(whole)][2] == "Training mae, of arms that have it"
    report.write(whole, regression / "out")


def test_a_metric_that_is_better_another_way_is_another(regression: Path) -> None:
    store_own(regression, "other", ENDS, scores={"mae": (True, lambda loss: loss)})
    with pytest.raises(ReportError, match="other and none don't agree whether higher is better"):
        compared(regression)


def test_losses_of_different_kinds_are_not_compared(regression: Path) -> None:
    store_own(regression, "other", ENDS, settings=["loss=mean_absolute_error"])
    with pytest.raises(ReportError, match=r"Losses of different kinds .* Compare by --metric val_mae"):
        compared(regression, "val_loss")
    assert compared(regression).others


def test_a_run_with_other_metrics_than_its_arm_is_left_out(regression: Path) -> None:
    store_own(regression, "none", [1.0], scores=LOSS_ALONE)  # in place of seed 0, which comes first
    whole = comparison.compare(regression, ["none"], question=Question("val_loss"))
    assert whole.baseline.arm.seeds == [0]
    assert len(whole.warnings) == 7
    assert "its metrics (mae) are not those of seed 0 (none)" in whole.warnings[0]


# Pages and pictures.


@pytest.mark.rendered
def test_pictures_have_the_metrics_and_no_accuracy(regression: Path, tmp_path: Path) -> None:
    store_diverged(regression, "reckless", 0, [1.9])
    whole = compared(regression)
    titles = [panel.title for panel in figures.panels(whole)]
    assert titles[:4] == ["Training loss", "Test loss", "Training mae", "Test mae"]
    assert [panel.unit for panel in figures.panels(whole)][:4] == ["mean squared error", "mean squared error", "mae", "mae"]
    report.write(whole, tmp_path)
    texts = [path.read_text() for path in tmp_path.iterdir() if path.suffix in (".svg", ".md", ".csv", ".json")]
    assert len(texts) == 5
    assert not any(
        re.search("accuracy|nats|share correct|collapse", text.replace('collapsed": null', "").replace('collapses": null', ""))
        for text in texts
    )
    assert "difference in test mae from none (better to the left)" in (tmp_path / "differences.svg").read_text()


def test_losses_below_zero_are_drawn_whole(results: Path) -> None:
    store_own(results, "none", [-1.0, -1.1])
    loss, *_ = figures.panels(compared(results))
    assert loss.bounds[0] == -math.inf


def test_the_command_takes_their_names(regression: Path) -> None:
    ended = call("compare", "--results", str(regression), "--metric", "mae")
    assert ended.exit_code == 0, ended.output
    assert "lowered training mae by 135" in " ".join(ended.stdout.split())
    assert (regression / "compare" / "all@mae").is_dir()
    assert call("compare", "--results", str(regression)).exit_code == 0
    assert (regression / "compare" / "all").is_dir()
    refused = call("compare", "--results", str(regression), "--metric", "f1")
    assert "There are: val_mae, mae" in refused.output
    assert refused.exit_code == 1


@pytest.mark.parametrize("command", ["show", "list"])
def test_commands_on_files_run_no_code_of_the_users(command: str, regression: Path) -> None:
    """The factory that the configs name is nowhere."""
    ended = call(command, *(["none/seed-1"] if command == "show" else []), "--results", str(regression))
    assert ended.exit_code == 0, ended.output
    assert ("val_mae" in ended.stdout) == (command == "show")


def test_a_plan_of_the_usual_metric_confirms_it_and_no_other(regression: Path) -> None:
    plan = plans.Plan(seeds=range(8), file="plan.json", metrics=[USUAL])
    from gradclip_cli.evidence import exploratory
    from gradclip_cli.evidence.ledger import Ledger

    for metric, reasons in (("val_mae", []), ("mae", ["metric not planned"])):
        usual = compared(regression, metric).is_usual
        assert exploratory.of_metric(metric, plan, Ledger(), usual=usual) == reasons


def test_the_articles_runs_beside_them_keep_their_own(regression: Path) -> None:
    store_run(regression, "article", 0, [2.0, 1.5, 1.0])
    (article,), _ = arms.read_arms(regression, ["article"])
    assert article.metrics == {"accuracy": True}
    assert article.chance("val_accuracy") == 0.1
    with pytest.raises(ReportError, match="Not all arms have val_mae: article has accuracy instead"):
        comparison.compare(regression, baseline="none")


def test_a_diverged_run_is_drawn_no_better_than_any_that_went_on(regression: Path) -> None:
    store_diverged(regression, "reckless", 0, [1.9])
    mae = figures.panels(compared(regression))[3]
    curves = {curve.name: curve.values for curve in mae.curves}
    assert curves["reckless"][0].tolist() == pytest.approx([2000, 1600, 1300])
    assert (curves["reckless"][0, 1:] >= curves["none"][:, 1:]).all()
