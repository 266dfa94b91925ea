"""`reproduce`: the rules decide the claims, the report says what was measured, and an interrupted one goes on."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner
from conftest import import_pytorch, mistakes, store_run

from gradclip_cli import plots
from gradclip_cli.article import claims, reproduce
from gradclip_cli.article.report import to_markdown, write_reproduction
from gradclip_cli.article.reproduce import (
    ADAM,
    ARMS,
    ARTICLE,
    EXPLODE,
    REMEDIES,
    answer_claims,
    config_name,
    held_against,
    plan_reproduction,
)
from gradclip_cli.cli import main
from gradclip_cli.config import loading
from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import stats
from gradclip_cli.runs.one import Workshop

SEEDS = list(range(9))


# All arms of the reproduction with figures that support every claim.
SUPPORTING: dict[str, dict[str, Any]] = {
    "none": {"loss": 1.0},
    "clipnorm": {"loss": 0.95, "largest_applied": 1.0},
    "clipvalue": {"loss": 0.9, "largest_applied": 1.0},
    "control": {"loss": 1.0},
    "wide-output": {"loss": 0.96, "largest_applied": 1.0},
    "explode-none": {"loss": 1.0, "status": "diverged"},
    "explode-clipnorm": {"loss": 0.5, "largest_applied": 1.0 + 5e-7},
    **{arm: {"loss": 1.0} for arm in claims.REMEDIES},
    **{arm: {"loss": 1.0, "status": "diverged"} for arm in claims.COUNTERPARTS},
    "adam-none": {"loss": 0.5},
    "adam-clipnorm": {"loss": 0.5, "largest_applied": 1.0},
    "adam-clipvalue": {"loss": 0.5, "largest_applied": 1.0},
}


def figures_of(arm: str, changes: dict[str, Any]) -> dict[str, Any]:
    figures = {"health": {"first_spike": None, "first_explosion": None}, "status": "complete"}
    figures |= SUPPORTING[arm] | changes.get(arm.replace("-", "_"), {})
    if figures["status"] == "diverged":  # a run of one epoch of four steps, warned of at its second
        figures["health"] = {"first_spike": {"step": 2}, "first_explosion": None, **changes.get("warnings", {})}
    return figures


def store_arm(results: Path, arm: str, figures: dict[str, Any]) -> None:
    others = {key: value for key, value in figures.items() if key != "loss"}
    for seed in SEEDS:
        losses, diverged = [2.0, 1.5 * figures["loss"], figures["loss"] + 0.01 * np.sin(seed + len(arm))], None
        if figures["status"] == "diverged":
            losses, diverged = [2.0], {"step": 40 + seed, "told": "x"}
        store_run(results, arm, seed, losses, base=config_name(arm), diverged=diverged, **others)


@functools.cache
def supporting() -> tempfile.TemporaryDirectory[str]:
    """The arms that support every claim, stored once to be copied."""
    folder = tempfile.TemporaryDirectory()
    for arm in SUPPORTING:
        store_arm(Path(folder.name), arm, figures_of(arm, {}))
    return folder


def store_all(results: Path, settings: Sequence[str] = (), **changes: Any) -> None:
    """All arms with figures that support every claim, but for what `changes` says of an arm."""
    for arm in SUPPORTING:
        figures = figures_of(arm, changes)
        if settings or figures != figures_of(arm, {}):
            store_arm(results, arm, {**figures, "settings": settings})
        else:
            shutil.copytree(Path(supporting().name) / arm, results / arm)


def verdicts(results: Path) -> dict[str, str]:
    return {answer.id: answer.verdict for answer in answer_claims(SEEDS, results).claims}


def test_all_supported_and_the_files_say_so(results: Path) -> None:
    store_all(results)
    reproduction = answer_claims(SEEDS, results)
    write_reproduction(reproduction, results)
    told = {answer.id: answer.verdict for answer in reproduction.claims}
    assert [told[f"C{number}"] for number in range(1, 9)] == ["supported"] * 8
    content = json.loads((results / "claims.json").read_text(), parse_constant=pytest.fail)
    assert {claim["id"]: claim["verdict"] for claim in content["claims"]} == told
    assert json.loads((results / "looks.json").read_text())["first_compared"] == dict.fromkeys(ARMS, SEEDS)
    page = (results / "report.md").read_text()
    for figure in ("comparison.png", "differences.png", "noise.png", "explosion.png"):
        assert f"({figure})" in page
        assert (results / figure).stat().st_size > 10_000
    assert page.count("**supported**") == 8
    assert all(f"## C{number}: " in page for number in range(1, 9))
    assert all(assumed in page for assumed in claims.ASSUMED)


def test_the_page_shows_stored_texts_literally_and_its_own_markup_as_such(results: Path) -> None:
    store_all(results, none={"machine": {"system": "<b>", "processor": "*x* | y"}})
    page = to_markdown(answer_claims(SEEDS, results))
    assert r"&lt;b&gt;, \*x\* \| y." in page
    assert page.count("**supported**") == 8


def test_a_run_that_cannot_be_read_is_never_left_out_silently(results: Path) -> None:
    store_all(results)
    (results / "explode-none" / "seed-3" / "metrics.csv").write_text("")
    with pytest.raises(ReportError, match=r"explode-none: seed 3 .*explode-none/seed-3/metrics\.csv"):
        answer_claims(SEEDS, results)


def test_steps_that_cannot_be_read_are_told_in_the_report(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_all(results)
    for name in ("comparison_figure", "differences_figure", "save"):
        monkeypatch.setattr(plots, name, lambda *anything: None)
    for arm in ("clipvalue", "explode-clipnorm"):
        (results / arm / "seed-2" / "steps.csv").write_text("step\n1\n")
    drawn = write_reproduction(answer_claims(SEEDS, results), results)
    assert drawn.to_json() == (results / "claims.json").read_text()
    page = (results / "report.md").read_text()
    for arm in ("clipvalue", "explode-clipnorm"):
        assert sum(f"{arm}/seed-2/steps.csv" in note for note in drawn.notes) == 1
        assert f"{arm}/seed-2/steps.csv" in page


def test_runs_that_diverged_before_their_first_epoch_count(results: Path) -> None:
    store_all(results)
    for seed in SEEDS:
        store_run(
            results, "explode-none", seed, [], status="diverged", base="explode/none", diverged={"step": 1 + seed, "told": "x"}
        )
    answer = {answer.id: answer for answer in answer_claims(SEEDS, results).claims}["C4"]
    assert answer.figures["count"] == answer.figures["runs"] == len(SEEDS)


@pytest.mark.parametrize(
    ("arm", "change", "claim", "verdict"),
    [
        ("clipvalue", {"loss": 1.2}, "C2", "contradicted"),
        ("clipvalue", {"loss": 1.2}, "C3", "contradicted"),
        ("clipvalue", {"loss": 1.0}, "C2", "not shown"),
        ("clipnorm", {"largest_applied": 1.001}, "C1", "contradicted"),
        ("clipnorm", {"largest_applied": None}, "C1", "not shown"),
        ("adam_clipvalue", {"largest_applied": 1.00001}, "C1", "contradicted"),
        ("explode_none", {"status": "complete"}, "C4", "contradicted"),
        ("explode_clipnorm", {"status": "diverged"}, "C5", "contradicted"),
        ("explode_clipnorm", {"loss": 1.5}, "C5", "contradicted"),  # learnt something, but not enough
        ("explode_l2", {"status": "diverged"}, "C6", "supported in part"),
        ("explode_mse", {"loss": 2.2}, "C6", "supported in part"),  # complete, but nothing learnt
        ("wide_output", {"loss": 1.2}, "C7", "contradicted"),
        ("wide_output", {"loss": 0.5}, "C7", "supported"),
        ("warnings", {"first_spike": None}, "C8", "contradicted"),
        ("warnings", {"first_spike": {"step": 4}}, "C8", "contradicted"),  # with the end is too late
        ("adam_none", {"health": {"first_spike": {"step": 1}, "first_explosion": None}}, "C8", "not shown"),  # a false alarm
        ("adam_none", {"loss": 1.0}, "C8", "not shown"),  # no run that ended well
        ("none", {"health": None}, "C8", "supported"),
    ],
)
def test_rules_decide(arm: str, change: dict[str, Any], claim: str, verdict: str, results: Path) -> None:
    store_all(results, **{arm: change})
    assert verdicts(results)[claim] == verdict


def test_no_remedy_works_or_none_is_decided(results: Path) -> None:
    store_all(results, **{arm.replace("-", "_"): {"status": "diverged"} for arm in claims.REMEDIES})
    answer = {answer.id: answer for answer in answer_claims(SEEDS, results).claims}["C6"]
    assert answer.verdict == "contradicted"
    assert answer.figures["explode-l2"]["count"] == 0
    assert answer.figures["explode-l2"]["p_adjusted"] == pytest.approx(5 * scipy.stats.binomtest(0, 9).pvalue)
    few = answer_claims(SEEDS[:5], results)
    assert {answer.id: answer.verdict for answer in few.claims}["C6"] == "not shown"  # five seeds can't decide


def test_warnings_are_counted_over_unclipped_runs(results: Path) -> None:
    store_all(results, clipvalue={"loss": 0.3, "health": {"first_spike": {"step": 1}, "first_explosion": None}})
    answer = {answer.id: answer for answer in answer_claims(SEEDS, results).claims}["C8"]
    bad, well = answer.figures["first_spike, ended badly"], answer.figures["first_spike, ended well"]
    assert (bad["count"], bad["runs"]) == (27, 27)  # explode-none and two counterparts, nine seeds each
    assert (well["count"], well["runs"]) == (0, 9)  # adam-none; what a clipped run was warned of is no false alarm
    assert answer.figures["leads"]["first_spike"] == [2] * 27


def test_runs_from_before_warnings_were_recorded_decide_nothing(results: Path) -> None:
    store_all(results)
    run = next((results / "none").glob("seed-*/run.json"))
    content = json.loads(run.read_text())
    del content["health"]
    run.write_text(json.dumps(content))
    assert verdicts(results)["C8"] == "not shown"


def test_primary_tests_are_one_family(results: Path) -> None:
    store_all(results)
    content = json.loads(answer_claims(SEEDS, results).to_json())
    figures = {claim["id"]: claim["figures"] for claim in content["claims"]}
    family = [figures[claim]["p"] for claim in content["primary_tests"]]
    assert [figures[claim]["p_adjusted"] for claim in content["primary_tests"]] == pytest.approx(stats.holm(family))
    assert figures["C4"]["p"] == pytest.approx(scipy.stats.binomtest(9, 9).pvalue)
    assert (figures["C4"]["low"], figures["C4"]["high"]) == pytest.approx(stats.share_interval(9, 9))


def test_two_frameworks_are_held_together(results: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    store_all(results)
    store_all(other, clipvalue={"loss": 1.1}, settings=["engine.framework=pytorch"])
    both = held_against(answer_claims(SEEDS, other), results)
    assert both.agreement
    assert both.agreement.frameworks == ("pytorch", "tensorflow")
    assert both.agreement.differing == ["C2", "C3"]
    assert both.agreement.verdicts["C2"] == ("contradicted", "supported")
    assert {each.arm: each.against.mean for each in both.agreement.twins} == {
        "none": 0, "clipnorm": 0, "control": 0, "clipvalue": pytest.approx(-100 * 0.2 / 3)
    }  # fmt: skip
    write_reproduction(both, other)
    report = (other / "report.md").read_text()
    assert "PyTorch and TensorFlow (Keras) agree on 6 of 8 claims. They differ on C2: contradicted and supported; C3" in report
    assert json.loads((other / "claims.json").read_text())["agreement"]["differing"] == ["C2", "C3"]
    assert (other / "frameworks.png").stat().st_size > 10_000
    shutil.rmtree(other)
    store_all(other, settings=["engine.framework=pytorch"])
    alike = held_against(answer_claims(SEEDS, results), other).agreement
    assert alike
    assert alike.sentence == "TensorFlow (Keras) and PyTorch agree on all 8 claims."


def test_a_framework_that_lacks_what_an_arm_needs_is_refused(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the runs are planned, with file, line and column, in the words that a config gets that asks for it itself."""
    without_adam = dataclasses.replace(
        FRAMEWORKS["pytorch"],
        lacking=lambda config: {"optimizer.name": "adam is not there"} if config.optimizer.name == "adam" else {},
    )
    monkeypatch.setattr(loading, "FRAMEWORKS", {**FRAMEWORKS, "pytorch": without_adam})
    ended = CliRunner().invoke(main, ["reproduce", "--framework", "pytorch", "--results", str(results), "--dry-run"])
    assert ended.exit_code == 2
    (mistake,) = mistakes("adam/none", "engine.framework=pytorch")
    assert re.fullmatch(r".*adam/none\.yaml:\d+:\d+: optimizer\.name: adam is not there", mistake)
    assert mistake in ended.stderr


def test_each_arm_is_trained_by_the_framework_and_keeps_its_name(results: Path) -> None:
    planned = plan_reproduction(SEEDS, results, "pytorch")
    assert {run.config.engine.framework for run in planned} == {"pytorch"}
    assert {run.config.name for run in planned} == set(ARMS)


def test_one_framework_is_not_held_against_itself(results: Path) -> None:
    store_all(results)
    with pytest.raises(ReportError, match="Both were trained by tensorflow"):
        held_against(answer_claims(SEEDS, results), results)


def test_rounding_bound_counts_what_the_norm_sums() -> None:
    one = 2.0**-24
    assert claims.rounding_bound(loading.load("clipvalue")) == one
    assert claims.rounding_bound(loading.load("clipnorm")) == 1120 * one  # 28 x 40, the LSTM's kernel
    assert claims.rounding_bound(loading.load("global_clipnorm")) == (1120 + 400 + 40 + 100 + 10) * one


def test_noise_floor_by_hand(results: Path) -> None:
    store_all(results)
    spreads = {spread.what.split()[0]: spread for spread in answer_claims(SEEDS, results).spreads}
    control = np.array([0.01 * (np.sin(seed + 7) - np.sin(seed + 4)) for seed in SEEDS])
    assert spreads["control"].loss_late == pytest.approx(control.std(ddof=1))
    assert spreads["control"].accuracy_late == pytest.approx(100 * control.std(ddof=1) / 3)
    assert spreads["control"].loss_early == 0
    unpaired = np.sqrt(2) * np.array([0.01 * np.sin(seed + 4) for seed in SEEDS]).std(ddof=1)
    assert spreads["two"].loss_late == pytest.approx(unpaired)


def test_plan_holds_all_arms_and_their_seeds(results: Path) -> None:
    planned = reproduce.plan_reproduction([0, 1], results)
    assert {run.config.name for run in planned} == {*ARTICLE, *EXPLODE, *REMEDIES, *ADAM, "control", "wide-output"} == set(ARMS)
    assert len(planned) == 34
    assert not results.exists()
    with pytest.raises(ReportError, match="at least 2"):
        reproduce.plan_reproduction([0], results)


def test_plan_on_record_is_the_first_one(results: Path) -> None:
    reproduce.record_plan([0, 1], results)
    reproduce.record_plan([0, 1, 2], results)
    assert json.loads((results / "experiment.json").read_text())["seeds"] == [0, 1]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    ended = CliRunner().invoke(main, ["reproduce", "--seeds", "2", "--results", str(tmp_path / "file")])
    assert ended.exit_code == 1
    assert "can't be written" in ended.output
    assert "fault in gradclip" not in ended.output


def test_dry_run_estimates_and_finished_runs_are_not_trained_again(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = CliRunner().invoke(main, ["reproduce", "--seeds", "3", "--dry-run", "--results", str(results)])
    assert "51 of 51 runs to train: about" in empty.stderr
    assert not results.exists()
    # Stored runs of another length than the configs': the plan must refuse them, not count them as done.
    store_all(results)
    refused = CliRunner().invoke(main, ["reproduce", "--seeds", "3", "--results", str(results)])
    assert refused.exit_code == 1
    assert "training.epochs: 3 there, 10 here" in refused.output


@pytest.mark.slow
def test_reproduce_from_end_to_end_and_interrupted(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real training on the sample, shortened; stopped after a few runs, the same command finishes the rest."""
    load_all = loading.load_all
    short = ("data.subset=sample", "training.epochs=2", "training.steps_per_epoch=5", "engine.jit=false")

    def load_short(names: Any, settings: Any = ()) -> list[loading.Config]:
        loaded = [loading.load(name) for name in names]
        return [load_all([name], [*short, f"name={given.name}"])[0] for name, given in zip(names, loaded, strict=True)]

    monkeypatch.setattr(loading, "load_all", load_short)
    train, trained = Workshop.train, []

    def counted(workshop: Workshop, *others: Any) -> Any:
        if len(trained) == 5:
            raise KeyboardInterrupt
        trained.append(others)
        return train(workshop, *others)

    monkeypatch.setattr(Workshop, "train", counted)
    first = CliRunner().invoke(main, ["reproduce", "--seeds", "2", "--jobs", "1", "--results", str(results)])
    assert first.exit_code == 130
    assert not (results / "report.md").exists()
    monkeypatch.setattr(Workshop, "train", train)
    second = CliRunner().invoke(main, ["reproduce", "--seeds", "2", "--results", str(results)])
    assert second.exit_code == 0, second.output
    assert "29 of 34 runs to train" in second.stderr
    answers = {claim["id"]: claim["verdict"] for claim in json.loads((results / "claims.json").read_text())["claims"]}
    assert answers["C1"] == "supported"
    assert answers["C2"] == "not shown"  # two seeds can't show anything
    import_pytorch()  # for the second half
    other = results.with_name("other")
    arguments = ["--seeds", "2", "--jobs", "1", "--results", str(other), "--framework", "pytorch", "--against", str(results)]
    third = CliRunner().invoke(main, ["reproduce", *arguments])
    assert third.exit_code == 0, third.output
    assert "PyTorch and TensorFlow (Keras) agree on" in third.stdout
    assert json.loads((other / "none" / "seed-0" / "run.json").read_text())["versions"].keys() >= {"torch"}
