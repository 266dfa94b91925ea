"""Stored runs side by side: the figures are those of the files, and broken runs are named and left out."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import store_run
from markdown_it import MarkdownIt

from gradclip_cli import arms, comparison, report
from gradclip_cli.errors import ReportError, StoreError
from gradclip_cli.safe_text import for_terminal
from gradclip_cli.store import RunDirectory


@pytest.fixture
def stored(results: Path) -> Path:
    for seed in range(3):
        store_run(results, "none", seed, [2.0, 1.5, 1.0 + 0.1 * seed])
        store_run(results, "clipvalue", seed, [2.0, 1.4, 0.9 + 0.1 * seed], base="clipvalue")
    return results


def test_figures_are_those_of_the_files(stored: Path) -> None:
    compared = comparison.compare(stored)
    assert compared.baseline.arm.name == "none"
    assert compared.table["arm"].tolist() == ["none", "clipvalue"]
    row = compared.table.iloc[1]
    files = [pd.read_csv(stored / "clipvalue" / f"seed-{seed}" / "metrics.csv") for seed in range(3)]
    last = pd.DataFrame([file.iloc[-1] for file in files])
    for column in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert row[column] == pytest.approx(last[column].mean())
        assert row[f"{column}_std"] == pytest.approx(last[column].std(ddof=1))
    assert row["grad_norm_max"] == max(file["grad_norm_max"].max() for file in files)
    assert row["clipped_fraction"] == pytest.approx(0.25)
    assert not compared.differences
    assert not compared.warnings


def test_baseline_comes_first_and_must_exist(stored: Path) -> None:
    assert comparison.compare(stored, ["none", "clipvalue"], "clipvalue").table["arm"].tolist() == ["clipvalue", "none"]
    with pytest.raises(ReportError, match="No arm 'other'"):
        comparison.compare(stored, baseline="other")
    with pytest.raises(ReportError, match="No runs of missing"):
        comparison.compare(stored, ["none", "missing"])


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
def test_a_broken_run_is_named_and_the_rest_goes_on(damage: Callable[[RunDirectory], None], stored: Path) -> None:
    broken = RunDirectory.of(stored, "none", 1)
    damage(broken)
    compared = comparison.compare(stored)
    assert compared.table["runs"].tolist() == [2, 3]
    assert len(compared.warnings) == 1
    assert str(broken.path) in compared.warnings[0]


def test_steps_file_that_is_broken_is_told(stored: Path, tmp_path: Path) -> None:
    RunDirectory.of(stored, "none", 1).steps_path.write_text("step,loss\n1,2\n")
    with pytest.raises(StoreError, match=r"none/seed-1/steps\.csv"):
        report.write(comparison.compare(stored), tmp_path)


def test_only_broken_runs(results: Path) -> None:
    damage_cut(store_run(results, "none", 0, [2.0, 1.0, 0.5]))
    store_run(results, "none", 1, [2.0], status="interrupted")
    with pytest.raises(ReportError, match="No finished run") as caught:
        comparison.compare(results)
    assert "seed-0" in str(caught.value)
    assert "interrupted, not finished" in str(caught.value)


def test_what_differs_besides_clipping_is_listed(stored: Path) -> None:
    store_run(stored, "other", 0, [2.0, 1.0, 0.5], settings=["model.units=12", "clipping={mode: clipnorm, threshold: 1}"])
    (told,) = comparison.compare(stored).differences
    assert told == "other differs from none in more than clipping: model.units is 12, not 10"


def test_mixed_versions_machines_and_engines_are_warned_of(stored: Path) -> None:
    store_run(
        stored,
        "none",
        3,
        [2.0, 1.0, 0.5],
        versions={"tensorflow": "2.20"},
        machine={"processor": "b"},
        settings=["engine.jit=false"],
    )
    warnings = "\n".join(comparison.compare(stored).warnings)
    for words in ("mixed versions of tensorflow: 2.21", "2.20", "mixed machines", "mixed engine settings", "none/seed-3"):
        assert words in warnings


def test_what_only_one_framework_needs_is_no_mixed_version(stored: Path) -> None:
    for seed in range(6):
        store_run(
            stored, "pytorch-none", seed, [2.0, 1.0, 0.5], versions={"torch": "2.13"}, settings=["engine.framework=pytorch"]
        )
    (warning,) = comparison.compare(stored, ["none", "pytorch-none"]).warnings
    assert warning.startswith("mixed engine settings: framework tensorflow")
    assert "framework pytorch" in warning


def test_json_is_complete_and_has_no_nan(stored: Path) -> None:
    store_run(stored, "one", 0, [2.0, 1.0, 0.5])
    content = json.loads(report.to_json(comparison.compare(stored)), parse_constant=pytest.fail)
    assert content["schema"] == report.SCHEMA
    assert content["arms"][2]["seeds"] == [0]
    assert content["arms"][2]["loss_std"] is None  # one seed has no spread
    assert content["arms"][0]["config"]["training"]["epochs"] == 3


def test_files_are_written_and_reproducible(stored: Path, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in report.write(comparison.compare(stored), tmp_path / "a")}
    second = {path.name: path.read_bytes() for path in report.write(comparison.compare(stored), tmp_path / "b")}
    assert set(first) == set(report.FILES)
    assert first == second
    assert first["comparison.png"].startswith(b"\x89PNG")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a" / "comparison.csv"), comparison.compare(stored).table)


def test_step_bins_and_their_stand_in(results: Path) -> None:
    run = store_run(results, "none", 0, [2.0, 1.0, 0.5])
    (arm,), _ = arms.read(results)
    bins = arms.step_bins(arm)
    assert len(bins.middles) == 12  # no more bins than steps
    np.testing.assert_allclose(bins.median_norm[0], [loss * step for step, loss in enumerate(np.repeat([2.0, 1.0, 0.5], 4), 1)])
    np.testing.assert_allclose(bins.largest_norm, bins.median_norm[0])
    np.testing.assert_allclose(bins.clipped[0], [1, 0] * 6)
    run.steps_path.unlink()
    bins = arms.step_bins(arm)
    np.testing.assert_allclose(bins.median_norm[0], np.repeat([2.0, 1.0, 0.5], 4))
    np.testing.assert_allclose(bins.largest_norm, np.repeat([20.0, 10.0, 5.0], 4))
    np.testing.assert_allclose(bins.clipped[0], 0.25)


@pytest.mark.parametrize("losses", [[], [2.0]])
def test_a_diverged_run_is_compared_and_drawn(losses: list[float], stored: Path, tmp_path: Path) -> None:
    store_run(stored, "clipvalue", 3, losses, status="diverged", base="clipvalue")
    compared = comparison.compare(stored)
    assert compared.table.iloc[1][["complete", "diverged"]].tolist() == [3, 1]
    report.write(compared, tmp_path)


def test_an_arm_of_nothing_but_early_divergence(results: Path, tmp_path: Path) -> None:
    store_run(results, "none", 0, [], status="diverged")
    report.write(comparison.compare(results), tmp_path)


def test_out_folder_that_cannot_be_written(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--out"):
        report.write(comparison.compare(stored), tmp_path / "file")


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
    read, _ = arms.read(results)
    renamed = [read[0], *(replace(read[1], name=name) for name in HOSTILE)]
    compared = replace(comparison.compare_arms(renamed), notes=(HOSTILE[0],), warnings=(HOSTILE[2],))
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


def test_axes_of_stored_runs_end_where_values_do(stored: Path) -> None:
    made = report.panels(comparison.compare(stored))
    assert [panel.bounds for panel in made] == [(0, math.inf)] * 2 + [(0, 1)] * 2 + [(-math.inf, math.inf), (0, 1)]
