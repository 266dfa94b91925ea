"""Run directories: what is written can be read back, and a crash leaves the old or the new."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradclip_cli import config, store
from gradclip_cli.errors import ConflictError, StoreError
from gradclip_cli.files import write_atomically
from gradclip_cli.store import METRICS, RunDirectory


def started(results: Path, seed: int = 0) -> RunDirectory:
    directory = RunDirectory.of(results, "arm", seed)
    with directory.locked():
        directory.start(config.load("none", ["name=arm"]), ["a/kernel"], {"seed": seed})
    return directory


def test_start_clears_what_was_there(results: Path) -> None:
    directory = started(results)
    (directory.path / "model.keras").write_text("old")
    directory.append_metrics(dict.fromkeys(METRICS, 1.0))
    again = started(results)
    assert {path.name for path in again.path.iterdir()} == {"config.yaml", "run.json", "metrics.csv", "steps.csv"}
    assert again.metrics_path.read_text() == ",".join(METRICS) + "\n"
    assert again.status() == "running"


def test_metrics_come_back_as_the_same_numbers(results: Path) -> None:
    directory = started(results)
    values = [1, 0.1 + 0.2, 1 / 3, 1e-17, 123456.789, 5e-324, 1.7976931348623157e308, 0.0]
    directory.append_metrics(dict(zip(METRICS, values, strict=True)))
    directory.write_metadata({"status": "complete", "epochs": 1})
    assert directory.metrics().iloc[0].tolist() == values


def test_steps_have_six_digits_and_keep_infinities(results: Path) -> None:
    directory = started(results)
    directory.append_steps([[1, 1 / 3, 0.0, 8, float("inf"), float("nan"), 1, 1e-30, 2.0, 3.0, 4.0]])
    assert directory.steps_path.read_text().splitlines()[1] == "1,0.333333,0,8,inf,nan,1,1e-30,2,3,4"
    assert directory.steps(["grad_norm"])["grad_norm"].tolist() == [float("inf")]


def test_a_locked_run_is_refused(results: Path) -> None:
    directory = started(results)
    with (
        directory.locked(),
        pytest.raises(ConflictError, match="another gradclip process"),
        RunDirectory(directory.path).locked(),
    ):
        pass
    assert not (directory.path / ".lock").exists()


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_runs_are_found_in_order_and_other_folders_are_not(results: Path) -> None:
    for seed in (10, 2, 0):
        started(results, seed)
    (results / "arm" / "seed-x").mkdir()
    (results / "notes").mkdir()
    (results / "comparison.csv").write_text("")
    assert [run.seed for run in store.runs(results)] == [0, 2, 10]
    assert store.runs(results / "nowhere") == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"status": 3}', "\x00"])
def test_broken_run_json(content: str, results: Path) -> None:
    directory = started(results)
    (directory.path / "run.json").write_text(content)
    assert directory.status() == "unreadable"
    with pytest.raises(StoreError, match=r"run\.json"):
        directory.metadata()
