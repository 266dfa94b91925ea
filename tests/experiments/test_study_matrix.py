"""A study's matrix: cells of made-up runs, successes beside them, and what goes with help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import scipy.stats
from conftest import store_run

from gradclip_cli.config import studies
from gradclip_cli.experiments import study as experiment
from gradclip_cli.experiments import study_matrix, study_report, study_success
from gradclip_cli.experiments.study import Result

STUDY = """
name: crossed
question: When does clipping help?
seen: Nothing.
power: Little.
seeds: 0-11
matrix:
  family: help
  baseline: none
  rules: {none: {mode: none}, clipnorm: {mode: clipnorm, threshold: 1}, agc: {mode: agc}}
  problems:
    helped: {config: none, metric: val_accuracy, success: val_accuracy >= 0.6, about: "made to be helped"}
    idle: {config: none, metric: val_accuracy, rules: [none, clipnorm]}
rules: {help: The test says so.}
"""
LOSSES = {"helped.none": 1.2, "helped.clipnorm": 0.5, "helped.agc": 1.2001, "idle.none": 0.5, "idle.clipnorm": 0.5}


@pytest.fixture
def result(tmp_path: Path, results: Path) -> Result:
    """On one problem clipnorm helps on every seed and agc does next to nothing; on the other clipnorm never acts."""
    path = tmp_path / "crossed.yaml"
    path.write_text(STUDY)
    study = studies.load(str(path))
    experiment.record_plan(study, results)
    health = {"word": "spiking", "spikes": 3, "first_spike": None, "first_explosion": None}
    for arm in study.arms:
        for seed in arm.seeds:
            last = LOSSES[arm.name] + 0.01 * seed
            rule = arm.name.partition(".")[2]
            share = 0.0 if arm.name in ("idle.clipnorm", "helped.none", "idle.none") else 0.25
            settings = {"clipnorm": ["clipping.mode=clipnorm", "clipping.threshold=1"], "agc": ["clipping.mode=agc"], "none": []}[
                rule
            ]
            store_run(results, arm.name, seed, [2.0, last, last], settings=settings, clipped_fraction=share, health=health)
    return experiment.read(study, results)


def test_cells_say_what_each_rule_does(result: Result, results: Path) -> None:
    assert result.study.matrix is not None
    figure = study_matrix.figure(result, result.study.matrix)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    for told in ("+23.3 points", "hardly acted", "solved by 12 of 12", "solved by 0 of 12", "helped", "idle", "clipnorm", "agc"):
        assert told in texts


def test_successes_are_counted_and_tested_in_pairs(result: Result) -> None:
    found = {each.arm: each for each in study_success.successes(result)}
    assert list(found) == ["helped.none", "helped.clipnorm", "helped.agc"]
    assert (found["helped.none"].own.count, found["helped.clipnorm"].own.count) == (0, 12)
    p = scipy.stats.binomtest(12, 12).pvalue
    assert found["helped.clipnorm"].p == pytest.approx(p)
    assert found["helped.clipnorm"].p_adjusted == pytest.approx(2 * p)
    assert (found["helped.agc"].p, found["helped.none"].p) == (1, None)


def test_the_report_has_the_table_and_what_goes_with_help(result: Result, results: Path) -> None:
    paths = study_report.write(result, results)
    assert {path.name for path in paths} == {"matrix.png", "report.md", "study.json"}
    page = (results / "report.md").read_text()
    assert "helps in 1 of 3 cells, on 1 problem (helped); hurts in 1 of 3 cells, on 1 problem (helped)." in page
    assert "val_accuracy &gt;= 0.6" in page
    assert page.count("with 80% power") == page.count("No difference in")
    assert "| helped | made to be helped | 0 of 12 | 3.0 |" in page
    assert "| 12 of 12 | 100.0% | 73.5% to 100.0% | helped.none |" in page
    stored = json.loads((results / "study.json").read_text())
    assert [each["acted_most"] for each in stored["matrix"]] == [0.25, 0.0]
    assert [each["successes"] for each in stored["successes"]] == [0, 12, 0]


def test_thresholds_of_single_layers_are_told_with_how_often_they_were_exceeded(tmp_path: Path, results: Path) -> None:
    path = tmp_path / "layers.yaml"
    tests = "[{family: output, metric: loss, baseline: narrow, arms: [wide]}]"
    said = "question: Wider?\nseen: Nothing.\npower: Little.\nseeds: 0-5\n"
    path.write_text(f"{said}arms: {{narrow: clipnorm, wide: wide_output}}\ntests: {tests}\nrules: {{output: The test.}}\n")
    for name, base in (("narrow", "clipnorm"), ("wide", "wide_output")):
        for seed in range(6):
            clipped = {"lstm/kernel": 12, "dense/kernel": 3, "dense/bias": 0}
            store_run(results, name, seed, [2.0, 1.0, 0.5 + 0.01 * seed], base=base, clipped_steps=clipped)
    result = experiment.read(studies.load(str(path)), results)
    told = "In wide gradients exceeded their own layer's threshold on 25.0% (dense/kernel), 0.0% (dense/bias) of the steps."
    assert study_report.layer_sentences(result) == [told]
    assert told in study_report.to_markdown(result)
