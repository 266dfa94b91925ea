"""A results folder's summary: with it all is as it is without, whatever became of the runs, of it, or of the folder."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import call, contents, store_run

from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import comparison, report
from gradclip_cli.runs import packing, summaries, summary_file
from gradclip_cli.runs.store import RunDirectory, runs
from gradclip_cli.runs.summaries import SUMMARIZED, SUMMARY, Summary, stamps

ARMS = {"none": "none", "clipvalue": "clipvalue"}
SEEDS = range(6)


@pytest.fixture
def summarized(results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs few as they are, and new as they are, have a summary here."""
    monkeypatch.setattr(summaries, "WORTHWHILE", 1)
    monkeypatch.setattr(summaries, "SETTLED", 0)
    for shift, (arm, base) in enumerate(ARMS.items()):
        for seed in SEEDS:
            store_run(results, arm, seed, [2.0, 1.5 + seed / 7, 1.0 - shift / 9 + seed / 11], base=base)
    told(results)
    assert (results / SUMMARY).is_file()
    return results


def told(results: Path) -> str:
    """All that a comparison says, as JSON, or why there is none."""
    try:
        return report.to_json(comparison.compare(results))
    except ReportError as error:
        return str(error)


def listed(results: Path) -> str:
    return call("list", "--results", str(results)).output


def told_without(results: Path) -> str:
    (results / SUMMARY).unlink(missing_ok=True)
    return told(results)


def nothing_is_read(*_: object) -> object:
    pytest.fail("a run was read anew")


def run_of(results: Path) -> Path:
    return results / "clipvalue" / "seed-3"


def trained_again(results: Path) -> None:
    store_run(results, "clipvalue", 3, [2.0, 1.5, 0.2], base="clipvalue")


def added(results: Path) -> None:
    for arm, base in ARMS.items():
        store_run(results, arm, 9, [2.0, 1.4, 0.9], base=base)


def removed(results: Path) -> None:
    shutil.rmtree(run_of(results))


def broken(results: Path) -> None:
    (run_of(results) / "run.json").write_text("{")


def interrupted(results: Path) -> None:
    store_run(results, "clipvalue", 3, [2.0], status="interrupted")


def diverged(results: Path) -> None:
    store_run(results, "clipvalue", 3, [2.0], status="diverged", base="clipvalue")


def another_config(results: Path) -> None:
    store_run(results, "clipvalue", 3, [2.0, 1.5, 1.0], base="clipvalue", settings=["clipping.threshold=0.07"])


def edited(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    """Writes over a file in place, with as many bytes, and sets its time back."""

    def edit(results: Path) -> None:
        path = run_of(results) / name
        before, content = path.stat(), path.read_bytes()
        assert content.count(old)
        assert len(old) == len(new)
        with open(path, "r+b") as file:
            file.write(content.replace(old, new))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)

    return edit


def a_column_less(results: Path) -> None:
    store_run(results, "clipvalue", 3, [2.0, 1.5, 1.0], base="clipvalue", scores={"mae": (False, lambda loss: loss)})


CHANGES = {
    "nothing": lambda results: None,
    "trained again": trained_again,
    "added": added,
    "removed": removed,
    "broken": broken,
    "interrupted": interrupted,
    "diverged": diverged,
    "another config": another_config,
    "other metrics": a_column_less,
    "all gone": lambda results: [shutil.rmtree(results / arm) for arm in ARMS],
    "run.json edited": edited("run.json", b'"complete"', b'"diverged"'),
    "config.yaml edited": edited("config.yaml", b"units: 10", b"units: 11"),
    "metrics.csv edited": edited("metrics.csv", b"\n1,2.0", b"\n1,3.0"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_comparison_is_the_same_with_a_summary_and_without(change: Callable[[Path], object], summarized: Path) -> None:
    change(summarized)
    assert (summarized / SUMMARY).is_file()
    with_it = told(summarized)
    assert told(summarized) == with_it  # by what the first one has just written
    assert with_it == told_without(summarized)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_list_is_the_same_with_a_summary_and_without(change: Callable[[Path], object], summarized: Path) -> None:
    change(summarized)
    with_it = listed(summarized)
    assert listed(summarized) == with_it
    (summarized / SUMMARY).unlink(missing_ok=True)
    assert listed(summarized) == with_it


def test_nothing_is_read_that_is_known(summarized: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, table = told(summarized), listed(summarized)
    monkeypatch.setattr("gradclip_cli.files.read_bounded", nothing_is_read)
    for module in ("store", "csv_files"):
        monkeypatch.setattr(f"gradclip_cli.runs.{module}.read_bounded", nothing_is_read)
    assert told(summarized) == before
    assert listed(summarized) == table


def test_a_list_writes_a_summary_that_a_comparison_adds_to(summarized: Path) -> None:
    (summarized / SUMMARY).unlink()
    listed(summarized)
    assert {len(row.stamps) for row in Summary.read(summarized).rows.values()} == {1}
    before = told(summarized)
    assert {len(row.stamps) for row in Summary.read(summarized).rows.values()} == {len(SUMMARIZED)}
    trained_again(summarized)
    listed(summarized)
    assert sorted(len(row.stamps) for row in Summary.read(summarized).rows.values())[:2] == [1, len(SUMMARIZED)]
    assert told(summarized) == told_without(summarized) != before


def written_by(version: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        rows = list(Summary.read(path.parent).rows.values())
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(summary_file, "__version__", version)
            path.write_bytes(summary_file.encode(rows))

    return write


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def another_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about.json", "[]")


def in_its_place_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": cut,
    "text": lambda path: path.write_text("{}"),
    "another zip": another_zip,
    "another version": written_by("0.0.0"),
    "a folder": in_its_place_a_folder,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_no_summary_of_this_version_counts_for_nothing(damage: Callable[[Path], object], summarized: Path) -> None:
    before = told(summarized)
    damage(summarized / SUMMARY)
    assert not Summary.read(summarized).rows
    assert told(summarized) == before
    assert "complete" in listed(summarized)


def test_no_byte_that_was_changed_is_believed(summarized: Path) -> None:
    path = summarized / SUMMARY
    content, rows = path.read_bytes(), Summary.read(summarized).rows
    for place in range(0, len(content), 61):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x20]) + content[place + 1 :])
        assert Summary.read(summarized).rows in ({}, rows)


@pytest.mark.parametrize(
    ("old", "new"), [('"at":[0', '"at":[99'), ('"seed":[', '"seed":[7,'), ('"keys":', '"key":'), ('"rows":[0', '"rows":[5')]
)
def test_a_table_that_nobody_here_has_written_counts_for_nothing(
    old: str, new: str, summarized: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a SHA-256 that is right."""
    rows = list(Summary.read(summarized).rows.values())
    dumps = json.dumps
    monkeypatch.setattr(json, "dumps", lambda *content, **how: dumps(*content, **how).replace(old, new, 1))
    forged = summary_file.encode(rows)
    with pytest.raises(ValueError, match="no summary"):
        summary_file.decode(forged)


def test_a_copy_of_the_folder_is_read_anew(summarized: Path, tmp_path: Path) -> None:
    there = tmp_path / "copy"
    shutil.copytree(summarized, there)
    summary = Summary.read(there)
    assert summary.rows
    assert [summary.row(run, stamps(run)) for run in runs(there)] == [None] * len(ARMS) * len(SEEDS)
    assert told(there) == told(summarized)


def test_a_folder_that_was_moved_keeps_its_summary(summarized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = told(summarized)
    there = summarized.rename(tmp_path / "moved")
    monkeypatch.setattr(RunDirectory, "metadata", nothing_is_read)
    assert told(there) == before


def test_where_nothing_can_be_written_there_is_none(summarized: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    before = told(summarized)
    (summarized / SUMMARY).unlink()
    monkeypatch.setattr(summaries, "write_atomically", refuse)
    assert told(summarized) == before
    assert not (summarized / SUMMARY).exists()


def test_what_has_just_changed_is_not_kept(summarized: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (summarized / SUMMARY).unlink()
    monkeypatch.setattr(summaries, "SETTLED", 10**12)
    told(summarized)
    assert not (summarized / SUMMARY).exists()


def test_few_runs_have_no_summary(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "SETTLED", 0)
    for seed in range(3):
        store_run(results, "none", seed, [2.0, 1.5, 1.0])
    told(results)
    assert not (results / SUMMARY).exists()


def test_of_two_that_write_at_once_one_is_kept(summarized: Path) -> None:
    rows = list(Summary.read(summarized).rows.values())
    (summarized / SUMMARY).unlink()
    one, other = Summary.read(summarized), Summary.read(summarized)
    one.keep(rows[:5])
    other.keep(rows[5:])
    assert list(Summary.read(summarized).rows.values()) == rows[5:]
    assert told(summarized) == told_without(summarized)


def test_what_is_removed_is_forgotten(summarized: Path) -> None:
    assert call("rm", "clipvalue/seed-3", "--yes", "--results", str(summarized)).exit_code == 0
    assert ("clipvalue", "seed-3") not in (known := Summary.read(summarized).rows)
    assert len(known) == len(ARMS) * len(SEEDS) - 1
    assert call("rm", *ARMS, "--yes", "--results", str(summarized)).exit_code == 0
    assert not list(summarized.iterdir())


def test_a_pack_holds_no_summary_and_needs_none(summarized: Path) -> None:
    before = told(summarized)
    packing.pack(summarized)
    assert SUMMARY not in (summarized / "runs.sha256").read_text()
    packing.remove_packed(summarized)
    assert contents(summarized, SUMMARY) == {}
    assert told(summarized) == before
    assert contents(summarized, SUMMARY) == {}


def test_an_export_is_the_same_with_a_summary_and_without(summarized: Path) -> None:
    exported = call("export", "--results", str(summarized), "--csv", "-", "--detail", "epochs")
    assert exported.exit_code == 0
    (summarized / SUMMARY).unlink()
    assert call("export", "--results", str(summarized), "--csv", "-", "--detail", "epochs").stdout == exported.stdout
