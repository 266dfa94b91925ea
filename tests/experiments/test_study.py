"""`study`: made-up runs judged family by family, what the report says, and one trained, packed and reported again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from conftest import call, store_run

from gradclip_cli.config import loading, studies
from gradclip_cli.config.studies import Study
from gradclip_cli.errors import ConflictError, ReportError
from gradclip_cli.evidence import samples
from gradclip_cli.experiments import study as experiment
from gradclip_cli.experiments import study_report
from gradclip_cli.experiments.study import Result

SEEDS = 8
STUDY = """
name: made
question: Does clipping make a run repeatable?
seen: Nothing.
power: Little.
seeds: 0-7
replicates: 3
arms: {none: none, clipnorm: clipnorm, clipvalue: clipvalue}
tests:
  - {family: primary, metric: repeatability, baseline: none, arms: [clipnorm, clipvalue]}
  - {family: primary, metric: collapsed_share, baseline: none, arms: [clipnorm]}
  - {family: beside, metric: loss, baseline: none, arms: [clipnorm]}
rules: {primary: The spread within a seed is smaller., beside: Description.}
"""
WIDTHS = {"none": 0.3, "clipnorm": 0.03, "clipvalue": 0.29}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    path = tmp_path / "made.yaml"
    path.write_text(STUDY)
    return studies.load(str(path))


@pytest.fixture
def made(study: Study, results: Path) -> Path:
    """Runs whose spread within a seed differs by arm; of three unclipped ones of each seed one collapses."""
    experiment.record_plan(study, results)
    for arm in study.arms:
        for number, config in enumerate(arm.configs):
            for seed in arm.seeds:
                last = 1.0 + number * WIDTHS[arm.name] + seed / 100
                losses = [2.0, 0.5, last] if arm.name == "none" and number == 2 else [2.0, last + 0.01, last]
                settings = [f"model.perturbation={config.model.perturbation}"]
                store_run(results, config.name, seed, losses, base=arm.name, settings=settings)
    return results


@pytest.fixture
def result(study: Study, made: Path) -> Result:
    return experiment.read(study, made)


def scores(result: Result, arm: str) -> np.ndarray:
    """The spread within each seed, in points, from the arms' own files."""
    parts = (result.arms[arm], *result.arms[arm].replicates)
    lasts = [[pd.read_csv(run.directory.metrics_path)["val_accuracy"].iloc[-1] for run in part.runs] for part in parts]
    return 100 * np.std(lasts, axis=0, ddof=1)


def test_each_family_is_adjusted_for_itself(result: Result) -> None:
    primary, beside = result.family("primary"), result.family("beside")
    assert [each.test.arm for each in primary] == ["clipnorm", "clipvalue", "clipnorm"]
    least = 2 / 2**SEEDS
    assert [each.against.p for each in primary] == pytest.approx([least, least, least])
    assert [each.against.p_adjusted for each in primary] == pytest.approx([3 * least] * 3)
    assert [each.against.p_adjusted for each in beside] == pytest.approx([beside[0].against.p])


def test_the_figures_are_those_of_pandas_and_scipy(result: Result) -> None:
    [first, *_] = result.family("primary")
    differences = scores(result, "clipnorm") - scores(result, "none")
    assert first.against.differences == pytest.approx(differences)
    assert first.against.mean == pytest.approx(differences.mean())
    assert first.against.p == pytest.approx(scipy.stats.wilcoxon(differences).pvalue)
    pairs = [(one + other) / 2 for index, one in enumerate(differences) for other in differences[index:]]
    assert first.against.typical == pytest.approx(np.median(pairs))


def test_collapses_are_counted_over_all_runs_of_a_seed(result: Result) -> None:
    collapses = result.family("primary")[2]
    assert collapses.yardstick.scores(collapses.pair.base).tolist() == pytest.approx([1 / 3] * SEEDS)
    assert collapses.yardstick.scores(collapses.pair.arm).tolist() == [0.0] * SEEDS
    assert collapses.against.verdict == "helps"
    row = study_report.runs_rows(result)[0]
    assert row == ["none", "0-7", "3", "24", "0", "8 (33.3%)"]


def test_the_report_says_all_that_was_planned_and_found(result: Result, made: Path) -> None:
    paths = study_report.write(result, made)
    assert all(path.stat().st_size for path in paths)
    page = (made / "report.md").read_text()
    for text in (
        result.study.question,
        result.study.sha256,
        "The spread within a seed is smaller.",
        *study_report.sentences(result),
    ):
        assert text in page
    assert "Nothing of it had been seen before." in page
    assert "Not as planned" not in page
    stored = json.loads((made / "study.json").read_text())
    assert [each["verdict"] for each in stored["tests"]] == ["helps", "helps", "helps", "no difference shown"]
    assert stored["arms"][0]["collapsed"] == SEEDS
    assert {path.name for path in paths} == {path.name for path in made.iterdir() if path.suffix in (".png", ".md")} | {
        "study.json"
    }


def test_the_plan_holds_the_files_hash_and_what_was_seen(study: Study, results: Path) -> None:
    experiment.record_plan(study, results)
    plan = json.loads((results / "plan.json").read_text())
    assert plan["kind"] == "study"
    assert plan["rules"]["file SHA-256"] == study.sha256
    assert plan["rules"]["seen"] == "Nothing."
    assert len(plan["arms"]) == 9
    assert [test["family"] for test in plan["tests"]] == ["primary", "primary", "primary", "beside"]


def test_a_study_changed_after_its_plan_is_told(study: Study, made: Path, tmp_path: Path) -> None:
    path = tmp_path / "changed.yaml"
    path.write_text(STUDY.replace("is smaller", "is larger"))
    changes = experiment.read(studies.load(str(path)), made).adherence.changes
    assert any("Rules read otherwise than planned" in change and "primary" in change for change in changes)


def test_a_missing_run_is_no_reason_to_judge_the_others(study: Study, made: Path) -> None:
    (made / "clipnorm" / "seed-3" / "run.json").unlink()
    with pytest.raises(ReportError, match=r"clipnorm, seed 3\. Remove them"):
        experiment.read(study, made)


def test_a_folder_of_other_runs_is_refused(study: Study, results: Path) -> None:
    store_run(results, "none", 0, [2.0, 1.5, 1.0], settings=["optimizer.learning_rate=0.5"])
    with pytest.raises(ConflictError, match="another folder with --results"):
        experiment.plan(study, results)


def test_arms_that_share_no_seed_are_told(tmp_path: Path, results: Path) -> None:
    path = tmp_path / "apart.yaml"
    arms = "{none: none, clipnorm: {config: clipnorm, seeds: [5]}}"
    path.write_text(
        STUDY.replace("{none: none, clipnorm: clipnorm, clipvalue: clipvalue}", arms)
        .replace(", clipvalue]", "]")
        .replace("0-7", "0-1")
    )
    apart = studies.load(str(path))
    for arm in apart.arms:
        for config in arm.configs:
            for seed in arm.seeds:
                store_run(
                    results,
                    config.name,
                    seed,
                    [2.0, 1.0],
                    base=arm.name,
                    settings=[f"model.perturbation={config.model.perturbation}"],
                )
    with pytest.raises(ReportError, match="shares no seed"):
        experiment.read(apart, results)


def test_how_many_seeds_a_verdict_takes_is_said_before(study: Study) -> None:
    said = experiment.verdict_sentence(study)
    assert f"primary: 3 tests, at least {samples.seeds_for_a_verdict(3)} seeds, there are 8" in said
    assert "beside: 1 test" in said


SMALL = """
question: Does clipping make a run repeatable?
seen: Nothing.
power: None.
seeds: 0-1
replicates: 2
arms:
  none: {config: {extends: none, data: {subset: sample}, engine: {jit: false}, training: {epochs: 1, steps_per_epoch: 5}}}
  clipvalue:
    config: {extends: clipvalue, data: {subset: sample}, engine: {jit: false}, training: {epochs: 1, steps_per_epoch: 5}}
tests: [{family: primary, metric: repeatability, baseline: none, arms: [clipvalue]}]
rules: {primary: Description.}
"""


@pytest.mark.trains
@pytest.mark.slow
def test_a_study_is_trained_packed_and_reported_again(tmp_path: Path) -> None:
    path, folder = tmp_path / "small.yaml", tmp_path / "runs"
    path.write_text(SMALL)
    arguments = ("study", str(path), "--results", str(folder), "--jobs", "1")
    planned = call(*arguments, "--dry-run")
    assert "8 of 8 runs to train" in planned.stderr
    assert planned.stdout.splitlines()[0] == f"train    {folder / 'none'}, seeds 0-1  (new)"
    assert planned.stdout.count("\n") == 4
    assert not folder.exists()
    first = call(*arguments)
    assert first.exit_code == 0, first.output
    assert "Does clipping make a run repeatable?" in first.stdout
    assert first.stdout.endswith("\n\n1 test: not testable in 1. 8 runs, all complete.\n")
    kept = {name: (folder / name).read_bytes() for name in ("report.md", "study.json", "plan.json", "repeats.png")}
    assert call("pack", str(folder), "--remove").exit_code == 0
    for name in ("report.md", "study.json"):
        (folder / name).unlink()
    again = call(*arguments, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout) == json.loads(kept["study.json"])
    assert {name: (folder / name).read_bytes() for name in kept} == kept


def test_a_study_is_no_config(tmp_path: Path) -> None:
    assert not set(loading.shipped_names()) & {f"studies/{name}" for name in loading.shipped_studies()}
    assert call("study", "none").exit_code == 2
