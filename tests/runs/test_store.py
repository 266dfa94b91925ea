"""Run directories: what is written can be read back, and a crash leaves the old or the new."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FACTS

from gradclip_cli.config import loading
from gradclip_cli.errors import ConflictError, StoreError
from gradclip_cli.files import write_atomically
from gradclip_cli.runs import store
from gradclip_cli.runs.csv_files import metric_columns
from gradclip_cli.runs.store import RunDirectory


def started(results: Path, seed: int = 0) -> RunDirectory:
    directory = RunDirectory.of(results, "arm", seed)
    with directory.locked():
        directory.start(loading.load("none", ["name=arm"]), ["a/kernel"], {"seed": seed})
    return directory


def test_start_clears_what_was_there(results: Path) -> None:
    directory = started(results)
    (directory.path / "model.keras").write_text("old")
    directory.append_metrics(dict.fromkeys(metric_columns(["accuracy"]), 1.0))
    again = started(results)
    assert {path.name for path in again.path.iterdir()} == {"config.yaml", "run.json", "metrics.csv", "steps.csv"}
    assert again.metrics_path.read_text() == ",".join(metric_columns(["accuracy"])) + "\n"
    assert again.status() == "running"


def test_metrics_come_back_as_the_same_numbers(results: Path) -> None:
    directory = started(results)
    values = [1, 0.1 + 0.2, 1 / 3, 1e-17, 123456.789, 5e-324, 1.7976931348623157e308, 0.0]
    directory.append_metrics(dict(zip(metric_columns(["accuracy"]), values, strict=True)))
    directory.write_metadata({**FACTS, "seed": 0, "status": "complete", "epochs": 1, "steps": 1})
    assert directory.metrics().iloc[0].tolist() == values


def test_steps_have_six_digits_and_keep_infinities(results: Path) -> None:
    directory = started(results)
    directory.append_steps([[1, 1 / 3, 0.0, 8, float("inf"), float("nan"), 1, 1e-30, 2.0, 3.0, 4.0, 0.1]])
    assert directory.steps_path.read_text().splitlines()[1] == "1,0.333333,0,8,inf,nan,1,1e-30,2,3,4,0.1"
    assert directory.steps(["grad_norm"])["grad_norm"].tolist() == [float("inf")]


REGRESSION = {"metrics": {"mae": {"higher_is_better": False}}, "counts_correct": False, "chance": {}}


def test_columns_are_those_that_run_json_says(results: Path) -> None:
    directory = RunDirectory.of(results, "arm", 0)
    with directory.locked():
        directory.start(loading.load("none", ["name=arm"]), ["a/kernel"], {"seed": 0, **REGRESSION})
    assert directory.metrics_path.read_text().startswith("epoch,loss,mae,val_loss,val_mae,grad_norm_median,")
    assert directory.steps_path.read_text().startswith("step,loss,penalty,grad_norm,")
    directory.append_metrics(dict(zip(metric_columns(["mae"]), [1, 2.0, float("nan"), 3.0, 4.0, 5.0, 6.0, 0.0], strict=True)))
    ended = {**FACTS, "seed": 0, "status": "complete", "epochs": 1, "steps": 0, **REGRESSION}
    directory.write_metadata(ended)
    assert directory.metrics().iloc[0]["val_mae"] == 4
    assert "correct" not in directory.steps()
    directory.write_metadata({**ended, "metrics": None})  # as if an older run had such columns
    with pytest.raises(StoreError, match="its columns are not those of the run's metrics"):
        directory.metrics()


@pytest.mark.parametrize("name", ["loss", "val_loss", "epoch", "a,b", 'a"b', "a\nb", "", "grad_norm_max"])
def test_a_name_that_no_column_can_have_is_refused_before_anything_is_cleared(name: str, results: Path) -> None:
    directory = started(results)
    with directory.locked(), pytest.raises(StoreError, match="a metric can't be called"):
        directory.start(loading.load("none"), ["a/kernel"], {"metrics": {name: {"higher_is_better": True}}})
    assert directory.metrics_path.read_text().startswith("epoch,loss,accuracy")


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


# What isn't gradclip's is never deleted, and a link is never followed to be emptied.


def finished(results: Path, seed: int = 0) -> RunDirectory:
    directory = started(results, seed)
    directory.write_metadata({**FACTS, "seed": seed, "status": "complete", "epochs": 0, "steps": 0})
    return directory


def test_removing_a_run_leaves_what_is_not_ours(results: Path) -> None:
    directory = finished(results)
    (directory.path / "notes.txt").write_text("mine")
    (directory.path / "steps.csv.d").mkdir()
    (directory.path / "model.keras").mkdir()  # a folder is none of gradclip's, whatever its name
    assert directory.remove() == ["model.keras", "notes.txt", "steps.csv.d"]
    assert {path.name for path in directory.path.iterdir()} == {"model.keras", "notes.txt", "steps.csv.d"}
    assert (directory.path / "notes.txt").read_text() == "mine"


def test_removing_the_last_run_removes_its_folders(results: Path) -> None:
    for seed in (0, 1):
        finished(results, seed)
    assert RunDirectory.of(results, "arm", 0).remove() == []
    assert (results / "arm" / "seed-1").is_dir()
    RunDirectory.of(results, "arm", 1).remove()
    assert not (results / "arm").exists()


def test_removing_a_linked_run_removes_the_link_only(results: Path, tmp_path: Path) -> None:
    elsewhere = finished(tmp_path / "elsewhere")
    (results / "arm").mkdir(parents=True)
    (results / "arm" / "seed-0").symlink_to(elsewhere.path)
    before = sorted(elsewhere.path.iterdir())
    RunDirectory.of(results, "arm", 0).remove()
    assert not (results / "arm").exists()
    assert sorted(elsewhere.path.iterdir()) == before


def test_starting_anew_keeps_what_is_not_ours(results: Path) -> None:
    directory = finished(results)
    (directory.path / "notes.txt").write_text("mine")
    (directory.path / ".run.json.4711").write_text("a crash left this")
    started(results)
    assert {path.name for path in directory.path.iterdir()} == {
        "config.yaml",
        "run.json",
        "metrics.csv",
        "steps.csv",
        "notes.txt",
    }


def test_a_lock_leaves_no_empty_folder(results: Path) -> None:
    with RunDirectory.of(results, "arm", 0).locked():
        assert (results / "arm" / "seed-0").is_dir()
    assert not (results / "arm").exists()


def test_folders_that_are_no_runs_are_not_taken_for_one(results: Path) -> None:
    for name in ("seed-07", "seed--1", "seed-\u0663", f"seed-{'9' * 5000}"[:200], "seed-1.0"):
        (results / "arm" / name).mkdir(parents=True)
        (results / "arm" / name / "run.json").write_text("{}")
    assert store.runs(results) == []


# Checkpoints.


def test_a_checkpoint_of_another_run_is_refused(results: Path) -> None:
    mine, other = loading.load("none", ["name=arm"]), loading.load("clipvalue", ["name=arm"])
    directory = started(results)
    directory.write_checkpoint(mine, {"a": np.zeros(3)})
    again = RunDirectory(directory.path)
    checkpoint = again.read_checkpoint(mine)
    assert checkpoint
    assert checkpoint.arrays["a"].tolist() == [0, 0, 0]
    for stranger in (other, mine.with_seed(1)):
        with pytest.raises(StoreError, match="another run's"):
            again.read_checkpoint(stranger)
    longer = mine.model_copy(update={"training": mine.training.model_copy(update={"epochs": 99})})
    assert again.read_checkpoint(longer)


@pytest.mark.parametrize("file", ["metrics.csv", "steps.csv"])
def test_a_checkpoint_of_other_rows_is_refused(results: Path, file: str) -> None:
    chosen = loading.load("none", ["name=arm"])
    directory = started(results)
    directory.append_steps([[1, 1.0, 0.0, 8, 1.0, 1.0, 1, 1.0, 2.0, 3.0, 4.0, 0.1]])
    directory.write_checkpoint(chosen, {})
    path = directory.path / file
    altered = bytearray(path.read_bytes())
    altered[-2] ^= 1  # as long as before
    path.write_bytes(altered)
    with pytest.raises(StoreError, match=rf"{file} is shorter than its checkpoint says, or was changed"):
        RunDirectory(directory.path).read_checkpoint(chosen)


def archive(save: Any = np.savez, **arrays: Any) -> bytes:
    with io.BytesIO() as file:
        save(file, **arrays)
        return file.getvalue()


FACTS_OF_A_CHECKPOINT = {"identity": np.array("x"), "sha256": np.array(["x", "y"])}
BROKEN_CHECKPOINTS: dict[str, Callable[[bytes], bytes]] = {
    "only lengths": lambda whole: archive(lengths=np.array([1, 2])),
    "compressed": lambda whole: archive(np.savez_compressed, a=np.zeros(10_000_000)),
    "lengths of another kind": lambda whole: archive(lengths=np.array("long"), **FACTS_OF_A_CHECKPOINT),
    "not an archive": lambda whole: b"PK\x03\x04 and no more",
    "cut": lambda whole: whole[: len(whole) // 2],
    "objects": lambda whole: archive(lengths=np.array([object()], dtype=object), **FACTS_OF_A_CHECKPOINT),
    "empty": lambda whole: b"",
}
"""By how they are broken, what becomes of a whole one."""


@pytest.mark.parametrize("kind", BROKEN_CHECKPOINTS)
def test_a_broken_checkpoint_is_told(results: Path, kind: str) -> None:
    chosen = loading.load("none", ["name=arm"])
    directory = started(results)
    directory.write_checkpoint(chosen, {"a": np.zeros(3)})
    directory.checkpoint_path.write_bytes(BROKEN_CHECKPOINTS[kind](directory.checkpoint_path.read_bytes()))
    with pytest.raises(StoreError, match="its checkpoint can't be read"):
        directory.read_checkpoint(chosen)


# A full disk.


def test_a_full_disk_names_the_file(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = started(results)
    directory.steps_sha256()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(StoreError, match=r"run\.json: can't be written: No space left on device"):
        directory.write_metadata({"status": "failed"})
    with pytest.raises(StoreError, match=r"checkpoint\.npz: can't be written: No space left on device"):
        directory.write_checkpoint(loading.load("none"), {})
    directory.append_steps([])
    with pytest.raises(StoreError, match=r"steps\.csv: can't be written: No space left on device"):
        directory.steps_sha256()
    directory.write_last_words({"status": "failed"})
    assert directory.status() == "failed"


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/proc/mounts").exists(), reason="mounting a small disk needs root")
def test_a_run_on_a_disk_that_is_really_full_ends_as_failed(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        directory = started(disk / "results")
        row = [1, 1.0, 0.0, 8, 1.0, 1.0, 1, 1.0, 2.0, 3.0, 4.0, 0.1]
        with pytest.raises(StoreError, match=r"steps\.csv: can't be written: No space left on device"):
            directory.append_steps([row] * 10_000)
        directory.write_last_words({"seed": 0, "status": "failed", "reason": "No space left on device"})
        assert directory.status() == "failed"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_rows_are_synced_before_anything_vouches_for_them(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = started(results)
    directory.steps_sha256()
    synced: list[int] = []
    monkeypatch.setattr(store.os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    row = [1, 1.0, 0.0, 8, 1.0, 1.0, 1, 1.0, 2.0, 3.0, 4.0, 0.1]
    for _ in range(3):
        directory.append_steps([row])
    assert synced == []
    directory.write_checkpoint(loading.load("none"), {})
    steps = directory.steps_path.stat().st_ino
    assert synced.count(steps) == 1
    assert synced.index(steps) < synced.index(directory.checkpoint_path.stat().st_ino)
    directory.steps_sha256()
    assert synced.count(steps) == 1


# A run that lost a file is still a run.


@pytest.mark.parametrize("lose", [lambda path: path.unlink(), lambda path: (path.unlink(), path.symlink_to("nowhere"))])
def test_a_run_without_its_run_json_is_not_forgotten(lose: Any, results: Path) -> None:
    directory = finished(results)
    lose(directory.path / "run.json")
    assert store.runs(results) == [directory]
    assert directory.status() == "unreadable"
    with pytest.raises(StoreError, match=r"run\.json: can't be read"):
        directory.stored()


def test_a_status_that_no_run_has_is_refused(results: Path) -> None:
    directory = started(results)
    directory.write_metadata({"status": "exhausted"})
    assert directory.status() == "unreadable"
    with pytest.raises(StoreError, match=r"run\.json: is not one of gradclip's \(status: "):
        directory.metadata()


def test_a_config_that_was_changed_afterwards_is_told(results: Path) -> None:
    directory = started(results)
    facts = {**FACTS, "seed": 0, "status": "complete", "epochs": 0, "steps": 0, "config_sha256": directory.config_sha256()}
    directory.write_metadata(facts)
    assert directory.stored()[1] == loading.load("none", ["name=arm"])
    directory.config_path.write_text(directory.config_path.read_text().replace("learning_rate: 0.01", "learning_rate: 0.1"))
    with pytest.raises(StoreError, match=r"config\.yaml: was changed after the run wrote it"):
        directory.stored()


@pytest.mark.parametrize("recorded", [{}, {"steps_sha256": None}])
def test_steps_of_runs_that_recorded_no_sum_are_read(recorded: dict[str, Any], results: Path) -> None:
    directory = started(results)
    directory.append_steps([[1, 1.0, 0.0, 8, 1.0, 1.0, 1, 1.0, 2.0, 3.0, 4.0, 0.1]])
    directory.write_metadata({**FACTS, "seed": 0, "status": "complete", "epochs": 0, "steps": 1, **recorded})
    assert directory.count_steps() == 1
