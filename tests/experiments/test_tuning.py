"""Tuned arms of a study: the choice among made-up candidates, what is laid down before, and the report of both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import call, store_run

from gradclip_cli.config import studies
from gradclip_cli.config.candidates import Candidate
from gradclip_cli.config.schema import Config
from gradclip_cli.config.studies import Study
from gradclip_cli.errors import ReportError
from gradclip_cli.experiments import study as experiment
from gradclip_cli.experiments import study_report, study_tuning, tuning
from gradclip_cli.experiments.study import Result
from gradclip_cli.runs.actions import Action

STUDY = """
name: made
question: Is clipping better at its best?
seen: Nothing.
power: Little.
seeds: 100-107
tuning: {seeds: 0-2, holdout: 10000, refine: 2}
arms:
  none:
    config: &short {extends: none, training: {epochs: 3, steps_per_epoch: 4}}
    grid: &rates {optimizer.learning_rate: [0.1, 1, 10, 100]}
  clipnorm:
    config: &clipped {extends: clipnorm, training: {epochs: 3, steps_per_epoch: 4}}
    grid: &norms {clipping.threshold: [0.5, 1], optimizer.learning_rate: [0.1, 1, 10, 100]}
  none-again: {config: *short, grid: *rates, tuning_seeds: 3-5}
  clipnorm-again: {config: *clipped, grid: *norms, tuning_seeds: 3-5}
tests:
  - {family: tuned, metric: val_accuracy, baseline: none, arms: [clipnorm]}
  - {family: again, metric: val_accuracy, baseline: none-again, arms: [clipnorm-again]}
rules: {tuned: It is better where the test says so., again: The same.}
"""


def loss(candidate: Candidate) -> float:
    """Made up: best at a rate of 10 (unclipped 1), at the finer 20 better yet, and at the threshold 0.5."""
    rate = candidate.config.optimizer.learning_rate
    clipped = candidate.config.clipping.mode == "clipnorm"
    best = 20.0 if clipped else 1.0
    wrong = abs(np.log10(rate / best)) * (0.1 if clipped else 0.4)
    return 0.5 + float(wrong) + (0.2 if clipped and candidate.config.clipping.threshold == 1 else 0.0)


def store(results: Path, config: Config, seeds: tuple[int, ...], value: float) -> None:
    settings = [f"optimizer.learning_rate={config.optimizer.learning_rate}", f"data.holdout={config.data.holdout}"]
    if config.clipping.mode == "clipnorm":
        settings.append(f"clipping.threshold={config.clipping.threshold}")
    for seed in seeds:
        last = value + 0.001 * (seed % 3)
        store_run(results, config.name, seed, [2.0, last, last], base=config.clipping.mode, settings=settings)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    path = tmp_path / "made.yaml"
    path.write_text(STUDY)
    return studies.load(str(path))


@pytest.fixture
def made(study: Study, results: Path) -> Path:
    """All runs of the study: the candidates', the finer ones', and the arms'."""
    experiment.record_plan(study, results)
    for tuned in study.tuned:
        best = min(tuned.candidates, key=loss)
        for candidate in (*tuned.candidates, *tuned.beside(best)):
            store(results / "tuning", candidate.config, tuned.seeds, loss(candidate))
        arm = min((*tuned.candidates, *tuned.beside(best)), key=loss)
        store(results, tuned.settled(arm), study.seeds, 0.5 if tuned.arm.startswith("clip") else 0.6)
    return results


@pytest.fixture
def result(study: Study, made: Path) -> Result:
    return experiment.read(study, made)


def test_the_best_candidate_becomes_the_arm(study: Study, made: Path) -> None:
    choices = tuning.choose(study, made)
    assert {name: choice.best.label for name, choice in choices.items()} == {
        "none": "learning rate 1",
        "clipnorm": "threshold 0.5, learning rate 20",
        "none-again": "learning rate 1",
        "clipnorm-again": "threshold 0.5, learning rate 20",
    }
    arms = {arm.name: arm.configs for arm in tuning.settled(study, choices).arms}
    [clipnorm] = arms["clipnorm"]
    assert (clipnorm.name, clipnorm.data.holdout, clipnorm.optimizer.learning_rate) == ("clipnorm", 0, 20)


def test_finer_candidates_are_planned_beside_the_best_of_the_grid(study: Study, made: Path) -> None:
    names = {(run.config.name, run.config.training.seed, run.action) for run in tuning.plan_finer(study, made)}
    assert {action for *_, action in names} == {Action.SKIP}  # they are there: finished, and of the very configs
    assert {name for name, *_ in names} == {
        *(f"none{again}+optimizer.learning_rate={rate}" for again in ("", "-again") for rate in ("0.5", "2")),
        *(
            f"clipnorm{again}+clipping.threshold=0.5+optimizer.learning_rate={rate}"
            for again in ("", "-again")
            for rate in (5, 20)
        ),
    }
    assert {seed for name, seed, _ in names if "again" in name} == {3, 4, 5}


def test_all_that_will_be_chosen_among_is_laid_down_before(study: Study, results: Path) -> None:
    experiment.record_plan(study, results)
    plan = json.loads((results / "plan.json").read_text())
    assert plan["tuned"] == {"none": [0, 1, 2], "clipnorm": [0, 1, 2], "none-again": [3, 4, 5], "clipnorm-again": [3, 4, 5]}
    assert len(plan["arms"]) == 24
    assert plan["seeds"] == [*range(100, 108)]
    assert "best mean score" in plan["rules"]["tuning"]
    assert "times and divided by 2" in plan["rules"]["tuning"]
    assert plan["seen"]["runs"] == {}


def test_candidates_and_arms_that_were_there_before_are_told(study: Study, results: Path) -> None:
    none, clipnorm, *_ = study.tuned
    store(results / "tuning", none.candidates[1].config, (0, 7), 1.0)
    store(results, clipnorm.settled(clipnorm.candidates[0]), (100,), 1.0)
    experiment.record_plan(study, results)
    seen = json.loads((results / "plan.json").read_text())["seen"]["runs"]
    assert seen == {"clipnorm": [100], "tuning/none+optimizer.learning_rate=1": [0]}


def test_a_missing_candidate_is_no_reason_to_choose_among_the_others(study: Study, made: Path) -> None:
    (made / "tuning" / "none+optimizer.learning_rate=10" / "seed-1" / "run.json").unlink()
    with pytest.raises(ReportError, match="can't be read"):
        experiment.read(study, made)


def test_arms_of_one_grid_are_pooled_over_their_seeds(result: Result) -> None:
    found = study_tuning.pools(result.choices)
    assert [(pool.names, pool.seeds) for pool in found] == [
        (("none", "none-again"), (0, 1, 2, 3, 4, 5)),
        (("clipnorm", "clipnorm-again"), (0, 1, 2, 3, 4, 5)),
    ]
    assert found[1].grid.scores.shape == (8, 6)  # without the finer ones, which both need not have
    assert found[1].grid.best_row == "threshold 0.5"


def test_the_report_says_what_was_chosen_and_how_sure_it_is(result: Result, made: Path) -> None:
    paths = study_report.write(result, made)
    page = (made / "report.md").read_text()
    for text in (
        "| clipnorm | 10 | 0-2 | threshold 0.5, learning rate 20 |",
        "## The whole procedure again",
        "| clipnorm against none | 20 |",
        "## The range of good values of the learning rate",
        "4 tuned arms, whose candidates are trained with seeds 0-5",
        "which 10,000 images stand in it",
    ):
        assert text in page
    assert made / "tuning.png" in paths
    stored = json.loads((made / "study.json").read_text())["tuning"]
    assert [each["chosen"] for each in stored["choices"]][1] == "clipnorm+clipping.threshold=0.5+optimizer.learning_rate=20"
    [splits] = stored["splits"]
    assert (splits["arm"], len(splits["differences"])) == ("clipnorm", 20)
    assert [each["arm"] for each in stored["ranges"]] == ["none", "clipnorm"]


TUNED = """
question: Is clipping better at its best?
seen: Nothing.
power: None.
seeds: 10-11
tuning: {seeds: 0-1, holdout: 1000, refine: 2}
arms:
  none:
    config: &short {extends: none, data: {subset: sample}, engine: {jit: false}, training: {epochs: 1, steps_per_epoch: 5}}
    grid: {optimizer.learning_rate: [0.1, 1]}
  clipnorm: {config: {extends: clipnorm, data: {subset: sample}, engine: {jit: false}, training: {epochs: 1, steps_per_epoch: 5}}}
tests: [{family: tuned, metric: val_accuracy, baseline: none, arms: [clipnorm]}]
rules: {tuned: Description.}
"""


@pytest.mark.trains
@pytest.mark.slow
def test_a_tuned_study_is_trained_packed_and_reported_again(tmp_path: Path) -> None:
    path, folder = tmp_path / "tuned.yaml", tmp_path / "runs"
    path.write_text(TUNED)
    arguments = ("study", str(path), "--results", str(folder), "--jobs", "1")
    assert "Candidates of tuned arms: 4 of 4 runs" in call(*arguments, "--dry-run").stderr
    assert not folder.exists()
    first = call(*arguments)
    assert first.exit_code == 0, first.output
    assert len(list((folder / "tuning").glob("none+*/seed-*"))) == 8
    kept = {name: (folder / name).read_bytes() for name in ("report.md", "study.json", "plan.json")}
    for place in (folder, folder / "tuning"):
        assert call("pack", str(place), "--remove").exit_code == 0
    again = call(*arguments, "--json")
    assert again.exit_code == 0, again.output
    assert {name: (folder / name).read_bytes() for name in kept} == kept
    assert not list(folder.rglob("metrics.csv"))  # nothing was trained again
