"""What arms are compared by: divergence never pays, and no figure is beyond what is possible."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import store_run
from made_up import BASE, OF_ONE_RUN, against, store_arm

from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import arms, comparison, figures
from gradclip_cli.evidence.metrics import DEFAULT_METRIC, METRICS, NATS, POINTS, STEPS, Metric, usual_metric
from gradclip_cli.evidence.questions import Question
from gradclip_cli.evidence.replicates import with_replicates
from gradclip_cli.texts import MINUS

CHECKOUT = Path(__file__).parents[2]


def test_divergence_never_pays(results: Path) -> None:
    """Runs that were far ahead when they diverged score worse than any that went on; their share is tested by itself."""
    store_arm(results, "none", BASE)
    for seed in range(8):
        store_run(results, "reckless", seed, [0.2, 0.1], status="diverged")
    for metric in OF_ONE_RUN:
        compared = comparison.compare(results, question=Question(metric))
        assert against(compared, "reckless").verdict == "hurts", metric
    assert against(compared, "reckless").divergence_p == pytest.approx(2 / 256)
    row = compared.table.iloc[1]
    assert row["loss"] == pytest.approx(0.1)  # uncapped, beside it


@pytest.mark.parametrize("metric", OF_ONE_RUN)
@pytest.mark.parametrize("losses", [[], [0.2], [0.2, 0.1], [0.2, 0.1, 0.05]])
def test_a_diverged_run_scores_no_better_than_one_at_chance_throughout(metric: str, losses: list[float], results: Path) -> None:
    chance = math.log(10)
    for seed in range(2):
        store_run(results, "none", seed, [chance] * 3)
        store_run(results, "reckless", seed, losses, status="diverged")
    compared = comparison.compare(results, question=Question(metric))
    mean = against(compared, "reckless").mean
    if metric == "diverged_runs":  # which is about nothing else
        assert mean == 100
    elif metric.endswith("accuracy"):  # the stored run's accuracy is not chance's: it is held against 10% instead
        assert compared.others[0].mean == pytest.approx(10)
    else:
        assert mean == pytest.approx(0)


@pytest.mark.parametrize("metric", OF_ONE_RUN)
def test_intervals_keep_to_what_is_possible(metric: str, results: Path) -> None:
    store_arm(results, "none", [0.1, 2.2])
    store_arm(results, "wide", [0.01, 2.29, 0.01, 2.29, 0.01, 2.29])
    compared = comparison.compare(results, question=Question(metric))
    baseline, wide = compared.arms
    chance = math.log(10)
    most = {"loss_area": 3 * chance, "steps_to_target": 12}.get(metric, 100 if metric.endswith("accuracy") else chance)
    assert (baseline.low, baseline.high) == (-math.inf, math.inf)  # two seeds can exclude nothing
    assert 0 <= wide.low <= wide.typical <= wide.high <= most
    for panel in figures.panels(compared)[:4]:
        few, curve = panel.curves
        assert few.band is not None
        assert np.isnan(few.band[0]).all()
        assert curve.band is not None
        assert np.min(curve.band[0]) >= 0
        assert np.max(curve.band[1]) <= (1 if "accuracy" in panel.title else chance)


def test_losses_of_different_kinds_are_not_compared(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "squared", BASE, settings=["loss={name: mse, target_scale: 2}"])
    for metric in ("loss", "val_loss", "loss_area", "steps_to_target"):
        with pytest.raises(ReportError, match=r"squared: mse x 2.*--metric val_accuracy"):
            comparison.compare(results, question=Question(metric))
    assert comparison.compare(results, question=Question("val_accuracy")).others


def test_caps_follow_the_loss(results: Path) -> None:
    store_run(results, "squared", 0, [50.0, 50.0, 50.0], settings=["loss={name: mse, target_scale: 2}"])
    (arm,), _ = arms.read_arms(results)
    predicted = np.full(10, 2 / 10)
    assert arm.scored("loss")[0, -1] == pytest.approx(((predicted - 2 * np.eye(10)[3]) ** 2).mean())


def test_area_and_steps_to_target(results: Path) -> None:
    for seed, losses in enumerate([[2.0, 1.0, 0.5], [2.0, 1.8, 1.6], [0.9, 0.8, 0.7]]):
        store_run(results, "none", seed, losses)
    store_run(results, "none", 3, [2.0, 1.0], status="diverged")
    (arm,), _ = arms.read_arms(results)
    np.testing.assert_allclose(METRICS["loss_area"].scores(arm), [3.5, 5.4, 2.4, 3 * math.log(10)])
    np.testing.assert_allclose(METRICS["steps_to_target"].scores(arm, 1.25), [7, 12, 4, 12])  # 4 steps an epoch
    assert METRICS["steps_to_target"].scores(arm, 3.0)[3] == 12  # a diverged run reaches not even what chance would


# In words.


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_each_tells_all_that_there_is_to_tell(metric: Metric, results: Path) -> None:
    store_run(results, "none", 0, [2.0, 1.0, 0.5])
    store_run(results, "again", 0, [2.0, 0.4, 0.6], settings=["model.perturbation=1e-6"])
    (arm,), _ = with_replicates(arms.read_arms(results, ["none"])[0], results)
    yardstick = Question(metric.name, target_loss=0.75).put_to(arm)
    assert not re.search("[{}]", yardstick.metric.title)
    assert ("0.75" in yardstick.metric.title) == metric.takes_target
    assert "diverged" in metric.scoring(arm)
    score = yardstick.scores(arm)[0] * metric.unit.scale
    assert 0 <= score < metric.unit.most
    assert (score == 0) == (metric.name == "diverged_runs")  # none did


def test_values_are_told_in_their_unit() -> None:
    assert [POINTS.asked(value) for value in (1.0, 0.5)] == ["1 point", "0.5 points"]
    assert [STEPS.asked(value) for value in (1, 250)] == ["1 step", "250 steps"]
    assert [NATS.amount(value, sign=True) for value in (-0.05, 2)] == [f"{MINUS}0.050 nats", "+2.000 nats"]
    assert NATS.shown(math.inf) == "-"
    assert [METRICS[name].heading for name in ("accuracy", "loss")] == ["training accuracy (%)", "training loss (nats)"]


def test_the_default_stands_first() -> None:
    assert next(iter(METRICS.values())) is DEFAULT_METRIC is usual_metric({"accuracy": True})


def test_they_are_read_without_arrays() -> None:
    code = "import sys, gradclip_cli.evidence.metrics; assert not {'numpy', 'pandas', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# One more.


@pytest.fixture(scope="module")
def with_one_more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the metric that docs/extending.md writes, and no other change."""
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copytree(CHECKOUT / "gradclip_cli", checkout / "gradclip_cli", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(CHECKOUT / "configs", checkout / "configs")
    section = (CHECKOUT / "docs" / "extending.md").read_text().partition("## A metric\n")[2].partition("\n## ")[0]
    (written,) = re.findall(r"^```python\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    path = checkout / "gradclip_cli" / "evidence" / "metrics.py"
    before, place, after = path.read_text().partition("\nMETRICS: ")
    path.write_text(f"{before}\n\n{written}{place}{after}")
    return checkout


def told(checkout: Path, *command: str, **environment: str) -> str:
    """What a command prints."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "COLUMNS": "200", **environment}
    whole = [sys.executable, "-m", "gradclip_cli", *command]
    ended = subprocess.run(whole, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert not ended.stderr or "wrote" in ended.stderr, ended.stderr
    return ended.stdout


def test_one_more_is_offered(with_one_more: Path) -> None:
    assert f"--metric [{'|'.join(METRICS)}|best_val_accuracy|NAME]" in told(with_one_more, "compare", "--help")
    words = {"COMP_WORDS": "gradclip compare --metric best", "COMP_CWORD": "3", "_GRADCLIP_COMPLETE": "bash_complete"}
    assert told(with_one_more, **words).split() == ["plain,best_val_accuracy"]


def test_arms_are_compared_by_one_more(with_one_more: Path, results: Path) -> None:
    """The best of an arm that is best in its first epoch, and of one that diverges when it is far ahead."""
    for seed in range(8):
        store_run(results, "none", seed, [1.0 + seed / 100, 2.0, 2.0])
        store_run(results, "late", seed, [2.0, 2.0, 1.3 + seed / 100], base="clipvalue")
        store_run(results, "reckless", seed, [0.1], base="clipvalue", status="diverged")
    compared = json.loads(told(with_one_more, "compare", "--results", str(results), "--metric", "best_val_accuracy", "--json"))
    assert compared["metric"] == {
        "name": "best_val_accuracy",
        "told": "best test accuracy",
        "unit": "points",
        "higher_is_better": True,
        "scale": 100,
        "digits": 1,
    }
    arms = {arm["arm"]: arm for arm in compared["arms"]}
    assert arms["none"]["scores"] == pytest.approx([100 * (0.9 - (1 + seed / 100) / 3) for seed in range(8)])
    assert arms["reckless"]["scores"] == pytest.approx([10] * 8)
    late = arms["late"]["against_baseline"]
    assert (late["verdict"], late["mean"]) == ("hurts", pytest.approx(-10))
    assert "late lowered best test accuracy by 10.0 points typically, by 10.0 on average, against none" in late["sentence"]
    assert "one of 1 point takes about" in compared["planning"]
    (folder,) = (results / "compare").iterdir()
    assert folder.name == "all@best_val_accuracy"
    page = (folder / "comparison.md").read_text()
    assert "best test accuracy (%)" in page
    assert "As scored: the best epoch; a diverged run counts as chance (10.0)." in page
    assert "difference in best test accuracy from none (points; better to the right)" in (folder / "differences.svg").read_text()


def test_diverged_runs_are_counted_on_each_seed(results: Path) -> None:
    for seed in range(8):
        store_run(results, "none", seed, [2.0, 1.5, 1.0], status="diverged" if seed else "complete")
        store_run(results, "clipnorm", seed, [2.0, 1.5, 1.0], base="clipnorm")
    compared = comparison.compare(results, question=Question("diverged_runs"), baseline="none")
    assert compared.baseline.scores == [0.0, *[100.0] * 7]
    found = against(compared, "clipnorm")
    assert (found.mean, found.won, found.verdict) == (-87.5, 7, "helps")
