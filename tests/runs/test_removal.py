"""`gradclip rm`: runs of the results folder, links themselves, and nothing else; all is looked at before anything goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from conftest import call, store_run, tree

from gradclip_cli.runs.store import RunDirectory


def rm(results: Path, *arguments: str) -> Result:
    return call("rm", *arguments, "--yes", "--results", str(results))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """An arm on another disk, as it were."""
    for seed in (0, 1):
        store_run(tmp_path / "elsewhere", "big", seed, [1.0])
    return tmp_path / "elsewhere" / "big"


def test_a_linked_arm_is_removed_as_a_link(results: Path, elsewhere: Path) -> None:
    results.mkdir()
    (results / "big").symlink_to(elsewhere)
    before = tree(elsewhere)
    ended = rm(results, "big")
    assert ended.exit_code == 0, ended.output
    assert "what it points to stays" in ended.output
    assert not (results / "big").is_symlink()
    assert tree(elsewhere) == before


@pytest.mark.parametrize("arguments", [["big/seed-0"], ["big", "--status", "complete"]])
def test_single_runs_behind_a_link_are_refused(results: Path, elsewhere: Path, arguments: list[str]) -> None:
    results.mkdir()
    (results / "big").symlink_to(elsewhere)
    before = tree(elsewhere)
    ended = rm(results, *arguments)
    assert ended.exit_code == 1
    assert "nothing is removed behind a link" in ended.output
    assert str(elsewhere.parent) in ended.output  # where it could be done
    assert tree(elsewhere) == before


def test_a_linked_run_is_removed_as_a_link(results: Path, elsewhere: Path) -> None:
    store_run(results, "big", 1, [1.0])
    (results / "big" / "seed-0").symlink_to(elsewhere / "seed-0")
    before = tree(elsewhere)
    assert rm(results, "big").exit_code == 0
    assert not (results / "big").exists()
    assert tree(elsewhere) == before


def test_a_linked_results_folder_is_followed(results: Path, tmp_path: Path) -> None:
    store_run(results, "none", 0, [1.0])
    (tmp_path / "link").symlink_to(results)
    assert rm(tmp_path / "link", "none").exit_code == 0
    assert not (results / "none").exists()


def test_nothing_goes_where_one_of_the_runs_is_in_training(results: Path) -> None:
    for seed in (0, 1, 2):
        store_run(results, "none", seed, [1.0])
    before = tree(results)
    with RunDirectory.of(results, "none", 1).locked():
        ended = rm(results, "none")
    assert ended.exit_code == 1
    assert "none/seed-1: another gradclip process is training this run; nothing was removed" in ended.output
    assert tree(results) == before


def test_what_is_not_ours_is_left_and_told(results: Path) -> None:
    run = store_run(results, "none", 0, [1.0])
    (run.path / "notes.txt").write_text("mine")
    ended = rm(results, "none")
    assert ended.exit_code == 0
    assert "seed-0: kept, for it holds what is not gradclip's: notes.txt" in ended.output
    assert [path.name for path in run.path.iterdir()] == ["notes.txt"]
