"""`gradclip export`: where runs are written, what is said, and what is never written over."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import call, contents, gradclip, store_run, tree

from gradclip_cli.evidence.event_files import EVENTS


@pytest.fixture
def stored(results: Path) -> Path:
    for seed in range(2):
        store_run(results, "none", seed, [2.0, 1.0 + seed / 10])
        store_run(results, "clipvalue", seed, [2.0, 0.9], base="clipvalue")
    return results


def test_stdout_is_the_table_alone(stored: Path) -> None:
    ended = gradclip("export", "--csv", "-", "--results", str(stored), NO_COLOR="1", COLUMNS="80")
    assert ended.returncode == 0
    assert ended.stderr == ""
    frame = pd.read_csv(io.StringIO(ended.stdout))
    assert frame.groupby(["arm", "seed"], sort=False).size().index.tolist() == [
        ("clipvalue", 0),
        ("clipvalue", 1),
        ("none", 0),
        ("none", 1),
    ]


@pytest.mark.parametrize(
    ("named", "seeds"), [("none", {0, 1}), ("none:1", {1}), ("none/seed-0", {0}), ("{results}/none", {0, 1})]
)
def test_runs_are_named_as_elsewhere(stored: Path, named: str, seeds: set[int]) -> None:
    ended = call("export", named.format(results=stored), "--csv", "-", "--detail", "epochs", "--results", str(stored))
    frame = pd.read_csv(io.StringIO(ended.stdout))
    assert set(frame["arm"]) == {"none"}
    assert set(frame["seed"]) == seeds
    assert set(frame["per"]) == {"epoch"}


def test_a_packed_folder_is_exported_as_it_is(stored: Path) -> None:
    arguments = ("export", "--csv", "-", "--results", str(stored))
    before = call(*arguments).stdout
    assert call("pack", str(stored), "--steps", "--remove").exit_code == 0
    assert call(*arguments).stdout == before


def test_both_are_written_and_told(stored: Path, tmp_path: Path) -> None:
    table, events = tmp_path / "runs.csv", tmp_path / "events"
    ended = call("export", "none", "--csv", str(table), "--tensorboard", str(events), "--results", str(stored))
    assert ended.exit_code == 0
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        f"wrote 2 runs to {table}",
        f"wrote 2 runs to {events}; to look at them: tensorboard --logdir {events}",
    ]
    assert table.read_text().startswith("arm,seed,per,")
    assert tree(events) == {"none", *(f"none/seed-{seed}{file}" for seed in range(2) for file in ("", f"/{EVENTS}"))}
    assert call("export", "none", "-q", "--force", "--csv", str(table), "--results", str(stored)).output == ""


@pytest.mark.parametrize("taken", ["csv", "tensorboard"])
def test_nothing_is_written_where_something_is(stored: Path, tmp_path: Path, taken: str) -> None:
    out = tmp_path / "out"
    (out / "events" / "none" / "seed-1").mkdir(parents=True)
    mine = out / ("runs.csv" if taken == "csv" else "events/none/seed-1/notes.txt")
    mine.write_text("mine")
    before = contents(out)
    asked = ("export", "--csv", str(out / "runs.csv"), "--tensorboard", str(out / "events"), "--results", str(stored))
    ended = call(*asked)
    assert ended.exit_code == 1
    assert "is there already; --force" in ended.stderr
    assert contents(out) == before
    assert call(*asked, "--force").exit_code == 0
    assert mine.read_text() == "mine" if taken == "tensorboard" else mine.read_text().startswith("arm,seed")
    assert (out / "events" / "none" / "seed-1" / EVENTS).exists()


def test_it_wants_to_know_where_to_and_which(stored: Path) -> None:
    ended = call("export", "none", "--results", str(stored))
    assert ended.exit_code == 2
    assert "--tensorboard DIR, --csv FILE (- for stdout), or both" in ended.stderr
    ended = call("export", "nothing", "--csv", "-", "--results", str(stored))
    assert ended.exit_code == 1
    assert "No runs of nothing" in ended.stderr
    (stored / "empty").mkdir()
    ended = call("export", "--csv", "-", "--results", str(stored / "empty"))
    assert ended.exit_code == 1
    assert f"no run to export in {stored / 'empty'}" in ended.stderr


def test_a_missing_tensorboard_is_told_before_anything_is_written(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    out = tmp_path / "out"
    ended = call("export", "--csv", str(out / "a.csv"), "--tensorboard", str(out), "--results", str(stored))
    assert ended.exit_code == 1
    assert "pip install 'gradclip-cli[tensorboard]'" in ended.stderr
    assert not out.exists()


def test_a_run_that_is_left_out_is_a_warning(stored: Path) -> None:
    (stored / "none" / "seed-0" / "run.json").write_text(json.dumps({"schema": 1, "status": "gone"}))
    ended = call("export", "none", "--csv", "-", "--results", str(stored))
    assert ended.exit_code == 0
    assert ended.stderr.startswith("warning: left out: ")
    assert set(pd.read_csv(io.StringIO(ended.stdout))["seed"]) == {1}
