"""Packing and unpacking: every byte comes back, the same runs give the same pack, and nothing is lost on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import store_run

from gradclip_cli.errors import BusyError, ConflictError, StoreError
from gradclip_cli.runs import packing, packs, store
from gradclip_cli.runs.store import RunDirectory


@pytest.fixture
def stored(results: Path) -> Path:
    """Two arms of three runs, one of them diverged, and a report."""
    for arm in ("none", "clipnorm"):
        for seed in (0, 1, 10):
            diverged = (arm, seed) == ("none", 10)
            store_run(results, arm, seed, [2.0, 1.0 + seed / 7], status="diverged" if diverged else "complete")
    (results / "report.md").write_text("# Report\n")
    return results


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def without_steps(content: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in content.items() if not name.endswith("steps.csv")}


@pytest.mark.parametrize("steps", [False, True])
def test_tar_gives_every_byte_back_and_sha256sum_checks_it(stored: Path, tmp_path: Path, steps: bool) -> None:
    before = {name: data for name, data in files(stored).items() if "/" in name}
    packing.pack(stored, steps=steps)
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-xJf", stored / "runs.tar.xz", "-C", out], check=True)
    assert files(out) == (before if steps else without_steps(before))
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", stored / "runs.sha256"], cwd=out, check=True)


def test_the_same_runs_give_the_same_bytes_and_an_unchanged_pack_is_left_alone(stored: Path, tmp_path: Path) -> None:
    shutil.copytree(stored, tmp_path / "copy")  # with times of its own
    (tmp_path / "copy" / "none" / "seed-0" / "run.json").chmod(0o600)
    packing.pack(stored)
    packing.pack(tmp_path / "copy")
    for name in ("runs.tar.xz", "runs.sha256"):
        assert (stored / name).read_bytes() == (tmp_path / "copy" / name).read_bytes()
    written = (stored / "runs.tar.xz").stat()
    assert not packing.pack(stored).written
    assert (stored / "runs.tar.xz").stat() == written


def test_the_list_says_which_run_changed(stored: Path) -> None:
    packing.pack(stored)
    before = (stored / "runs.sha256").read_text().splitlines()
    packing.unpack(stored)
    store_run(stored, "none", 1, [2.0, 0.3])
    packing.pack(stored)
    after = (stored / "runs.sha256").read_text().splitlines()
    changed = {line.split("  ")[1] for line in set(before) ^ set(after)}
    assert changed == {"none/seed-1/metrics.csv", "none/seed-1/run.json"}
    assert [line[66:] for line in after] == sorted(line[66:] for line in after)


@pytest.mark.parametrize("steps", [False, True])
def test_packing_removing_and_unpacking_leaves_the_folder_as_it_was(stored: Path, steps: bool) -> None:
    before = files(stored)
    packing.pack(stored, steps=steps)
    assert packing.remove_packed(stored) == len(without_steps(before) if not steps else before) - 1
    left = {name for name in files(stored) if "/" in name}
    assert left == (set() if steps else {name for name in before if name.endswith("steps.csv")})
    assert (stored / "none").exists() is not steps
    packing.unpack(stored)
    assert files(stored) == before


def test_only_what_is_packed_is_removed(stored: Path) -> None:
    run = RunDirectory.of(stored, "none", 0)
    (run.path / "notes.txt").write_text("mine")
    (run.path / "model.keras").write_text("weights")
    packed = packing.pack(stored, steps=True)
    assert packed.left == {"notes.txt": 1, "model.keras": 1}
    packing.remove_packed(stored)
    assert {path.name for path in stored.rglob("*") if path.is_file()} == {
        "notes.txt", "model.keras", "report.md", "runs.tar.xz", "runs.sha256"
    }  # fmt: skip


def test_a_file_that_was_changed_since_is_not_removed(stored: Path) -> None:
    packing.pack(stored, steps=True)
    steps = stored / "none" / "seed-0" / "steps.csv"
    steps.write_text(steps.read_text().replace("2", "3"))
    with pytest.raises(StoreError, match=r"steps\.csv: differs from the one in"):
        packing.remove_packed(stored)
    assert steps.exists()


def test_steps_join_a_pack_later_and_what_is_packed_stays_in_it(stored: Path) -> None:
    before = files(stored)
    packing.pack(stored)
    packing.remove_packed(stored)
    assert packing.pack(stored, steps=True).files == 24
    packing.remove_packed(stored)
    store_run(stored, "late", 0, [1.0])
    assert packing.pack(stored).files == 27
    packing.unpack(stored)
    assert without_steps(before).items() <= files(stored).items()
    assert before.keys() <= files(stored).keys()


def test_a_long_name_is_packed(results: Path) -> None:
    arm = "none+" + "a" * 190
    store_run(results, arm, 4_294_967_295, [1.0])
    before = files(results)
    packing.pack(results, steps=True)
    packing.remove_packed(results)
    assert [run.arm for run in store.runs(results)] == [arm]
    subprocess.run(["tar", "-xJf", results / "runs.tar.xz", "-C", results], check=True)
    assert before.items() <= files(results).items()


def test_runs_that_are_not_finished_or_not_whole_are_refused_by_name(stored: Path) -> None:
    store_run(stored, "stopped", 3, [2.0], status="interrupted")
    metrics = stored / "clipnorm" / "seed-1" / "metrics.csv"
    metrics.write_text(metrics.read_text().replace("2.0", "2.5"))
    before = files(stored)
    with pytest.raises(StoreError) as refused:
        packing.pack(stored)
    assert "stopped/seed-3: interrupted, not finished" in str(refused.value)
    assert "clipnorm/seed-1/metrics.csv: was changed" in str(refused.value)
    assert files(stored) == before


def test_damaged_steps_matter_only_where_they_are_packed(stored: Path) -> None:
    steps = stored / "none" / "seed-0" / "steps.csv"
    steps.write_text(steps.read_text().replace("2", "3"))
    with pytest.raises(StoreError, match=r"none/seed-0/steps\.csv: was changed"):
        packing.pack(stored, steps=True)
    packing.pack(stored)


def test_a_run_in_training_is_refused(stored: Path) -> None:
    with RunDirectory.of(stored, "none", 1).locked(), pytest.raises(StoreError, match="none/seed-1: another gradclip process"):
        packing.pack(stored)
    packing.pack(stored)
    with RunDirectory.of(stored, "none", 1).locked(), pytest.raises(BusyError):
        packing.remove_packed(stored)
    assert (stored / "none" / "seed-1" / "run.json").exists()


def test_nothing_is_removed_behind_a_link(stored: Path, tmp_path: Path) -> None:
    shutil.move(stored / "none", tmp_path / "elsewhere")
    (stored / "none").symlink_to(tmp_path / "elsewhere")
    before = files(tmp_path / "elsewhere")
    packing.pack(stored)
    with pytest.raises(ConflictError, match="nothing is removed behind a link"):
        packing.remove_packed(stored)
    assert files(tmp_path / "elsewhere") == before
    assert (stored / "clipnorm" / "seed-0" / "run.json").exists()


def test_an_empty_folder_is_refused(results: Path) -> None:
    results.mkdir()
    with pytest.raises(StoreError, match="holds no runs"):
        packing.pack(results)
    with pytest.raises(StoreError, match="is not packed"):
        packing.unpack(results)


def test_a_name_that_the_list_cannot_hold_is_refused(results: Path) -> None:
    shutil.move(store_run(results, "none", 0, [1.0]).path.parent, results / "two\nlines")
    with pytest.raises(StoreError, match="rename the arm's folder"):
        packing.pack(results)


def test_a_crash_while_packing_leaves_the_old_pack(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packing.pack(stored)
    before = files(stored)
    store_run(stored, "late", 0, [1.0])

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        packing.pack(stored)
    assert {name: data for name, data in files(stored).items() if not name.startswith("late")} == before


def test_what_changes_while_it_is_packed_is_noticed(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = RunDirectory.of(stored, "none", 0).metrics_path
    manifest = packs.manifest

    def changed_meanwhile(sha256: dict[str, str]) -> str:
        metrics.write_text("changed")
        return manifest(sha256)

    monkeypatch.setattr(packs, "manifest", changed_meanwhile)
    with pytest.raises(StoreError, match="was changed while it was packed"):
        packing.pack(stored)
    assert not packs.is_packed(stored)


def test_unpacking_overwrites_nothing(stored: Path) -> None:
    packing.pack(stored)
    packing.remove_packed(stored)
    mine = stored / "none" / "seed-0" / "run.json"
    mine.write_text("mine")
    with pytest.raises(StoreError, match=r"none/seed-0/run\.json: differs"):
        packing.unpack(stored)
    assert mine.read_text() == "mine"
    assert packs.is_packed(stored)
    assert not (stored / "clipnorm" / "seed-0" / "run.json").exists()
