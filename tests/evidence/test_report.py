"""Stored runs side by side: the figures are those of the files, and broken runs are named and left out."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import slowly, store_run
from made_up import OF_ONE_RUN
from markdown_it import MarkdownIt

from gradclip_cli.errors import ReportError, StoreError
from gradclip_cli.evidence import arms, comparison, figures, looks, plans, report
from gradclip_cli.evidence.looks import look_folder
from gradclip_cli.evidence.questions import Question
from gradclip_cli.runs.store import RunDirectory, runs
from gradclip_cli.texts import for_terminal

pytestmark = pytest.mark.usefixtures("unrendered")


def test_figures_are_those_of_the_files(two_arms: Path) -> None:
    compared = comparison.compare(two_arms)
    assert compared.baseline.arm.name == "none"
    assert compared.table["arm"].tolist() == ["none", "clipvalue"]
    row = compared.table.iloc[1]
    files = [pd.read_csv(two_arms / "clipvalue" / f"seed-{seed}" / "metrics.csv") for seed in range(3)]
    last = pd.DataFrame([file.iloc[-1] for file in files])
    for column in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert row[column] == pytest.approx(last[column].mean())
        assert row[f"{column}_std"] == pytest.approx(last[column].std(ddof=1))
    assert row["grad_norm_max"] == max(file["grad_norm_max"].max() for file in files)
    assert row["clipped_fraction"] == pytest.approx(0.25)
    assert not compared.differences
    assert not compared.warnings


def test_baseline_comes_first_and_must_exist(two_arms: Path) -> None:
    assert comparison.compare(two_arms, ["none", "clipvalue"], "clipvalue").table["arm"].tolist() == ["clipvalue", "none"]
    with pytest.raises(ReportError, match="No arm 'other'"):
        comparison.compare(two_arms, baseline="other")
    with pytest.raises(ReportError, match="No runs of missing"):
        comparison.compare(two_arms, ["none", "missing"])


def store_ends(results: Path, *names: str, base: str = "none") -> None:
    for name in names:
        store_run(results, name, 0, [2.0, 1.5, 1.0], base=base)


def test_the_one_unclipped_arm_is_the_baseline(results: Path) -> None:
    store_ends(results, "a", "z", base="clipvalue")
    store_ends(results, "plain")
    assert comparison.compare(results).baseline.arm.name == "plain"
    store_ends(results, "none")
    assert comparison.compare(results).baseline.arm.name == "none"  # of several the one of that name


def test_without_one_unclipped_arm_the_baseline_is_asked_for(results: Path) -> None:
    store_ends(results, "a", "z", base="clipvalue")
    with pytest.raises(ReportError, match=r"None of these arms is unclipped.*--baseline.* a, z"):
        comparison.compare(results)
    assert comparison.compare(results, baseline="z").baseline.arm.name == "z"
    assert comparison.compare(results, ["a"]).baseline.arm.name == "a"  # alone, it is held against nothing
    store_ends(results, "first", "second")
    with pytest.raises(ReportError, match=r"2 of these arms are unclipped.*--baseline.* first, second$"):
        comparison.compare(results)


@pytest.mark.parametrize("broken", [[1], [0, 1, 2]])
def test_steps_that_are_broken_are_told_and_stop_nothing(broken: list[int], two_arms: Path, tmp_path: Path) -> None:
    for seed in broken:
        RunDirectory.of(two_arms, "none", seed).steps_path.write_text("step,loss\n1,2\n")
    compared = comparison.with_gradients(comparison.compare(two_arms))
    assert len(compared.warnings) == len(broken)
    for seed, warning in zip(broken, compared.warnings, strict=True):
        assert f"none/seed-{seed}/steps.csv" in warning
    report.write(compared, tmp_path / "a")
    report.write(comparison.compare(two_arms), tmp_path / "b")
    for folder in ("a", "b"):
        assert json.loads((tmp_path / folder / "comparison.json").read_text())["warnings"] == list(compared.warnings)


@pytest.mark.parametrize(
    ("damage", "hashed", "told"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), True, "cut short"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), False, "cut short"),
        (lambda path: path.write_text(path.read_text().replace(",1,1,1,1,1,", ",0,1,1,1,1,", 1)), True, "SHA-256"),
        (lambda path: path.write_text(path.read_text().replace(",1,1,1,1,1,", ",0,1,1,1,1,", 1)), False, None),
        (lambda path: path.write_text(path.read_text().replace("\n1,", "\none,", 1)), True, "SHA-256"),
        (lambda path: path.write_text(path.read_text().replace("\n1,", "\none,", 1)), False, "could not convert string"),
    ],
)
def test_altered_steps_are_left_out_and_told(two_arms: Path, tmp_path: Path, damage: Any, hashed: bool, told: str | None) -> None:
    """Of older runs, which kept no SHA-256 of their steps, what can be seen is told; another figure can't."""
    run = RunDirectory.of(two_arms, "none", 1)
    if not hashed:
        run.write_metadata({**run.metadata(), "steps_sha256": None})
    damage(run.steps_path)
    compared = comparison.with_gradients(comparison.compare(two_arms))
    warnings = [warning for warning in compared.warnings if "none/seed-1/steps.csv" in warning]
    assert [str(told) in warning for warning in warnings] == [True] * bool(told)
    assert np.isnan(compared.gradients["none"].median_norm[1]).all() == bool(told)
    assert compared.baseline.arm.seeds == [0, 1, 2]  # its metrics are whole
    report.write(compared, tmp_path)


def test_json_is_complete_and_has_no_nan(two_arms: Path) -> None:
    store_run(two_arms, "one", 0, [2.0, 1.0, 0.5])
    content = json.loads(report.to_json(comparison.compare(two_arms)), parse_constant=pytest.fail)
    assert content["schema"] == plans.COMPARISON_SCHEMA
    assert content["arms"][2]["seeds"] == [0]
    assert content["arms"][2]["loss_std"] is None  # one seed has no spread
    assert content["arms"][0]["config"]["training"]["epochs"] == 3


@pytest.mark.rendered
def test_files_are_written_and_reproducible(two_arms: Path, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in report.write(comparison.compare(two_arms), tmp_path / "a")}
    second = {path.name: path.read_bytes() for path in report.write(comparison.compare(two_arms), tmp_path / "b")}
    assert set(first) == set(report.FILES)
    assert first == second
    assert first["comparison.png"].startswith(b"\x89PNG")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a" / "comparison.csv"), comparison.compare(two_arms).table)


@pytest.mark.rendered
@pytest.mark.parametrize("losses", [[], *slowly([2.0])])
def test_a_diverged_run_is_compared_and_drawn(losses: list[float], two_arms: Path, tmp_path: Path) -> None:
    store_run(two_arms, "clipvalue", 3, losses, status="diverged", base="clipvalue")
    compared = comparison.compare(two_arms)
    assert compared.table.iloc[1][["complete", "diverged"]].tolist() == [3, 1]
    report.write(compared, tmp_path)


@pytest.mark.rendered
def test_an_arm_of_nothing_but_early_divergence(results: Path, tmp_path: Path) -> None:
    store_run(results, "none", 0, [], status="diverged")
    report.write(comparison.compare(results), tmp_path)
    assert report.run_rows(comparison.compare(results)) == [["none", "1", *["-"] * 7, "diverged"]]


def test_out_folder_that_cannot_be_written(two_arms: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--out"):
        report.write(comparison.compare(two_arms), tmp_path / "file")


def test_only_what_a_threshold_can_be_held_against_is_drawn(results: Path) -> None:
    store_ends(results, "none")
    for mode in ("agc", "clipnorm", "global_clipnorm"):
        store_ends(results, mode, base=mode)
    norms = figures.panels(comparison.compare(results))[4]
    assert norms.thresholds == {"clipnorm": (1.0, "each variable"), "global_clipnorm": (1.0, "all together")}


def test_means_of_training_stand_at_the_middle_of_their_epochs(two_arms: Path) -> None:
    loss, val_loss, *_ = figures.panels(comparison.compare(two_arms))
    assert loss.curves[0].x.tolist() == [0.5, 1.5, 2.5]
    assert val_loss.curves[0].x.tolist() == [1, 2, 3]


def test_tables_say_what_is_recorded_and_what_is_scored(two_arms: Path) -> None:
    store_run(two_arms, "clipvalue", 3, [0.2], status="diverged", base="clipvalue", evaluation_split="test")
    compared = comparison.compare(two_arms)
    assert report.run_columns(compared)[2:6] == ["loss", "accuracy", "test loss (val_loss)", "test accuracy (val_accuracy)"]
    assert report.run_caption(compared).startswith("As recorded: each run's last whole epoch")
    assert report.verdict_caption(compared).startswith("As scored: the last epoch; a diverged run counts as chance (10.0).")
    page = report.to_markdown(compared)
    assert (
        page.index(report.verdict_caption(compared))
        < page.index("## What the runs did")
        < page.index(report.run_caption(compared))
    )
    for metric in OF_ONE_RUN:
        assert "diverged" in report.verdict_caption(comparison.compare(two_arms, question=Question(metric)))
    store_run(two_arms, "held", 0, [1.0], epochs=1, evaluation_split="holdout")
    assert report.run_columns(comparison.compare(two_arms, ["held"]))[4] == "holdout loss (val_loss)"


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["none", "clipnorm"], "none,clipnorm"),
        (["explode-none", "explode-clipnorm", "explode-l2"], "explode-none,-clipnorm,-l2"),
        (["none+optimizer.learning_rate=1", "none+optimizer.learning_rate=10"], "none+optimizer.learning_rate=1,=10"),
        (["a-b-none", "a-clipnorm"], "a-b-none,a-clipnorm"),
        (["wide", "wide-output"], "wide,wide-output"),
    ],
)
def test_the_folder_of_a_look_names_its_arms(names: list[str], name: str, results: Path) -> None:
    store_ends(results, *names)
    compared = comparison.compare(results, names, names[0])
    assert look_folder(compared, results, everything=False) == results / "compare" / name


def test_the_folder_of_a_look_tells_looks_apart(results: Path) -> None:
    store_ends(results, "none", "other", "a" * 90, "a" * 91, "with,comma", "with")
    for number, odd in enumerate(["odd name\x1b[1m", "odd name\x1b[2m"]):
        store_ends(results, f"odd{number}")
        (results / f"odd{number}").rename(results / odd)

    def folder(*names: str, baseline: str | None = None, metric: str = "val_accuracy", seeds: comparison.Seeds = None) -> str:
        compared = comparison.compare(results, names, baseline, Question(metric), seeds=seeds)
        place = look_folder(compared, results, everything=not names, baseline=baseline, seeds=seeds)
        assert place.parent == results / "compare"
        return place.name

    looks = [
        folder(baseline="none"), folder("none", "other"), folder("none", "other", baseline="other"),
        folder("none", "other", metric="loss"), folder("none", "other", seeds="all"), folder("none", "other", seeds=[0]),
        folder("none", "a" * 90), folder("none", "a" * 91), folder("none", "with,comma"), folder("none", "with", "other"),
        folder("none", "odd name\x1b[1m"), folder("none", "odd name\x1b[2m"), folder(baseline="other"),
    ]  # fmt: skip
    assert len(set(looks)) == len(looks)
    assert looks[:6] == ["none,all", "none,other", "other,none", "none,other@loss", "none,other@seeds-all", "none,other@seeds-0"]
    assert all(re.fullmatch(r"[A-Za-z0-9._+=,@~-]{1,80}", look) for look in looks)
    assert folder() == "all"
    assert folder("none", "a" * 90) == looks[6]  # the same look has the same folder


def test_a_folder_of_looks_is_no_arm(two_arms: Path) -> None:
    compared = comparison.compare(two_arms)
    report.write(compared, looks.look_folder(compared, two_arms, everything=True))
    assert (two_arms / "compare" / "all" / "comparison.json").exists()
    assert {run.arm for run in runs(two_arms)} == {"none", "clipvalue"}
    assert [part.arm.name for part in comparison.compare(two_arms).arms] == ["none", "clipvalue"]


def test_a_report_s_files_are_never_replaced(two_arms: Path) -> None:
    (two_arms / "report.md").write_text("# of a reproduction\n")
    with pytest.raises(ReportError, match=r"report\.md.*another folder with --out"):
        looks.require_no_report(two_arms)
    looks.require_no_report(two_arms / "compare" / "all")
    (two_arms / "sweep.json").write_text("{}")
    (two_arms / "best").mkdir()
    with pytest.raises(ReportError, match=r"best.*sweep\.json"):
        looks.require_no_report(two_arms / "best")


def test_names_with_odd_characters_survive(results: Path, tmp_path: Path) -> None:
    arm = "clipvalue+optimizer.learning_rate=0.1"
    store_run(results, arm, 0, [2.0, 1.0, 0.5])
    shutil.copytree(results / arm, results / "copy of a folder")  # not an arm name, still a folder with runs
    assert arm in comparison.compare(results, [arm]).table["arm"].tolist()


HOSTILE = ["[bold]x[/bold] | <script>alert(1)</script>", r"$\frac{$", "![a](b)*c*`d`", "x\x1b[31m\n# y"]


def test_a_page_shows_hostile_names_literally(results: Path, tmp_path: Path) -> None:
    for seed in range(2):
        store_run(results, "none", seed, [2.0, 1.5, 1.0])
        store_run(results, "clipvalue", seed, [2.0, 1.4, 0.9], base="clipvalue")
    read, _ = arms.read_arms(results)
    renamed = [read[0], *(replace(read[1], name=name) for name in HOSTILE)]
    compared = replace(comparison.compare_arms(renamed, read[0].name), notes=(HOSTILE[0],), warnings=(HOSTILE[2],))
    page = report.to_markdown(compared)
    blocks = MarkdownIt("commonmark").enable("table").parse(page)
    assert {part.type for block in blocks for part in block.children or []} == {"text", "image"}
    for line in page.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (9, 11)
    shown = "\n".join("".join(part.content for part in block.children or []) for block in blocks)
    for name in HOSTILE:
        assert shown.count(for_terminal(name)) > 2
    report.write(compared, tmp_path)


def test_axes_of_stored_runs_end_where_values_do(two_arms: Path) -> None:
    made = figures.panels(comparison.compare(two_arms))
    assert [panel.bounds for panel in made] == [(0, math.inf)] * 2 + [(0, 1)] * 2 + [(-math.inf, math.inf)] * 2 + [(0, 1)] * 2
