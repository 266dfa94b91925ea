"""A study's detectors on made-up runs: fixed on some seeds, judged on others, reported, and again from a pack without steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import store_run

from gradclip_cli.config import studies
from gradclip_cli.config.studies import Study
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence.signals import SIGNALS_FILE
from gradclip_cli.experiments import study as experiment
from gradclip_cli.experiments import study_detectors_report, study_report
from gradclip_cli.experiments.study_detectors import Found
from gradclip_cli.runs import packing

STUDY = """
name: watched
question: Can a divergence be seen coming?
seen: Nothing.
power: Little.
seeds: 0-5
arms: {explosive: none, article: clipvalue}
tests: [{family: beside, metric: diverged_runs, baseline: explosive, arms: [article]}]
detectors: {arms: [explosive, article], calibrated_on: 0-2, judged_on: 3-9, horizon: 8, early: 6, false_alarms: 10}
rules: {beside: Description., detectors: More than by chance.}
"""
CALM = [2.0] * 10
"""An epoch's loss, of four steps each."""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    path = tmp_path / "watched.yaml"
    path.write_text(STUDY)
    return studies.load(str(path))


@pytest.fixture
def made(study: Study, results: Path) -> Path:
    """Explosive runs diverge at step 40 with a larger loss from step 37 on, seed 5 without a sign; one article's run is loud."""
    experiment.record_plan(study, results)
    for seed in range(6):
        last = [2.0, 2.0] if seed == 5 else [2.0, 50.0]
        store_run(results, "explosive", seed, [*CALM[:8], *last], status="diverged", epochs=10)
        calm = [*CALM[:4], 9.0, *CALM[:5]] if seed == 4 else CALM
        store_run(results, "article", seed, calm, base="clipvalue", epochs=10)
    return results


def found_in(study: Study, results: Path) -> Found:
    found = experiment.read(study, results).detectors
    assert found is not None
    return found


def test_each_arm_has_its_own_thresholds(study: Study, made: Path) -> None:
    explosive, article = found_in(study, made).arms
    assert (list(explosive.calibrated_on), list(explosive.judged_on)) == ([0, 1, 2], [3, 4, 5])
    by_name = {each.signal.name: each for each in explosive.detectors}
    loss = by_name["loss"]
    assert loss.threshold == 2.0
    assert loss.fresh.leads == (3, 3, None)
    assert (loss.fresh.seen, loss.fresh.seen_early) == (2, 0)
    assert loss.fresh.ordinary_steps == 3 * (40 - 8 - 1)
    assert by_name["loss over its running median"].threshold == 1.0
    assert by_name["gradient norm"].fresh.leads == (8, 8, 8)  # made-up norms grow with the step
    assert [each.fresh.events for each in article.detectors] == [0] * 6
    assert article.detectors[-1].fresh.false_alarms == 1


def test_the_report_tells_and_draws_what_was_found(study: Study, made: Path) -> None:
    result = experiment.read(study, made)
    paths = study_report.write(result, made)
    assert {path.name for path in paths} >= {SIGNALS_FILE, "detectors-explosive.png", "report.md", "study.json"}
    assert not (made / "detectors-article.png").exists()  # nothing diverged there
    page = (made / "report.md").read_text()
    assert "*The rule.* More than by chance." in page
    assert "(detectors-explosive.png)" in page
    sentences = study_detectors_report.sentences(result.detectors)
    assert any("saw 2 of 3 divergences" in each and "half of these at least 3 steps before" in each for each in sentences)
    assert any(each.startswith("article: ") and "no run diverged" in each for each in sentences)
    assert all(each in page for each in sentences)
    stored = json.loads((made / "study.json").read_text())["detectors"]
    assert (stored["horizon"], stored["early"], [each["arm"] for each in stored["arms"]]) == (8, 6, ["explosive", "article"])
    assert [each["fresh"]["leads"] for each in stored["arms"][0]["detectors"] if each["name"] == "loss"] == [[3, 3, None]]


def test_detectors_that_did_the_same_are_told_once(study: Study, made: Path) -> None:
    explosive, _ = found_in(study, made).arms
    loss = next(each for each in explosive.detectors if each.signal.name == "loss")
    same = [each.signal.name for each in explosive.alike(loss)]
    assert same == ["update norm", "loss"]  # made-up updates are a hundredth of the loss
    told = study_detectors_report.sentences(found_in(study, made))
    assert len([each for each in told if each.startswith("explosive: update norm above 0.02, or loss above 2: ")]) == 1


def test_the_same_follows_from_a_pack_without_steps(study: Study, made: Path) -> None:
    first = experiment.read(study, made)
    study_report.write(first, made)
    kept = (made / SIGNALS_FILE).read_bytes()
    packing.pack(made)
    packing.remove_packed(made)
    for path in made.glob("*/*/steps.csv"):
        path.unlink()
    again = experiment.read(study, made)
    assert study_report.to_json(again) == study_report.to_json(first)
    assert made / SIGNALS_FILE not in study_report.write(again, made)
    assert (made / SIGNALS_FILE).read_bytes() == kept


def test_missing_steps_are_told_with_what_to_do(study: Study, made: Path) -> None:
    for seed in (1, 4):
        (made / "explosive" / f"seed-{seed}" / "steps.csv").unlink()
    with pytest.raises(ReportError, match=r"the steps of 2 runs are missing: .*explosive, seeds 1, 4.*pack --steps.*--results"):
        experiment.read(study, made)


def test_kept_steps_of_another_run_are_refused(study: Study, made: Path) -> None:
    study_report.write(experiment.read(study, made), made)
    longer = store_run(made, "explosive", 1, [*CALM, 2.0], status="diverged", epochs=11)
    longer.steps_path.unlink()
    with pytest.raises(ReportError, match=r"holds 40 steps of .*explosive/seed-1, where 44 were trained"):
        found_in(study, made)


def test_runs_that_all_diverge_at_once_fix_nothing(study: Study, results: Path) -> None:
    for seed in range(6):
        store_run(results, "explosive", seed, [2.0], status="diverged", epochs=10)
        store_run(results, "article", seed, CALM, base="clipvalue", epochs=10)
    with pytest.raises(ReportError, match=r"explosive: no ordinary step .* seeds 0-2 diverges too early"):
        experiment.read(study, results)


def test_a_plan_says_what_detectors_read(study: Study, made: Path) -> None:
    plan = json.loads((made / "plan.json").read_text())
    assert plan["rules"]["detectors"] == "More than by chance."
    assert "fixed on seeds 0-2" in plan["rules"]["detectors, how"]


def test_a_study_without_detectors_has_none(study: Study, made: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text("\n".join(line for line in STUDY.splitlines() if not line.startswith(("detectors", "name"))))
    result = experiment.read(studies.load(str(path)), made)
    assert result.detectors is None
    assert "Detectors" not in study_report.to_markdown(result)
    assert "detectors" not in json.loads(study_report.to_json(result))
