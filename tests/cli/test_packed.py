"""`gradclip pack` and `unpack`, and what the other commands say of a packed folder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import store_run

from gradclip_cli.cli import main

pytestmark = pytest.mark.usefixtures("unrendered")

SEEDS = range(6)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def stored(results: Path) -> Path:
    for arm, base in (("none", 1.0), ("clipnorm", 0.5)):
        for seed in SEEDS:
            store_run(results, arm, seed, [2.0, base + seed / 7], base=arm)
    return results


@pytest.fixture
def packed(stored: Path) -> Path:
    ended = call("pack", stored, "--steps", "--remove")
    assert ended.exit_code == 0, ended.output
    return stored


def test_pack_says_what_it_did(stored: Path) -> None:
    ended = call("pack", stored)
    assert ended.stdout.startswith(f"packed 12 runs (36 files) in {stored / 'runs.tar.xz'}, ")
    assert ended.stderr == f"Not in {stored / 'runs.tar.xz'}: 12 steps.csv (--steps packs it)\n"
    ended = call("pack", stored, "--steps", "--remove")
    assert f"removed 48 packed files from the runs' folders in {stored}\n" in ended.stdout
    assert call("pack", stored).stdout.startswith("already packed: 12 runs (48 files)")
    assert call("unpack", stored).stdout == f"unpacked 48 files from {stored / 'runs.tar.xz'}\n"
    assert call("unpack", stored).exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--json"],
        ["list", "none", "--status", "complete"],
        ["show", "none:3"],
        ["show", "clipnorm", "--json"],
        pytest.param(["compare"], marks=pytest.mark.rendered),
        ["compare", "none", "clipnorm", "--json", "--metric", "loss_area"],
    ],
)
def test_reading_commands_say_the_same_of_a_packed_folder(packed: Path, tmp_path: Path, arguments: list[str]) -> None:
    out = [] if arguments[0] == "list" else ["--out", tmp_path / "out"]
    there = call(*arguments, "--results", packed, *out)
    assert there.exit_code == 0, there.output
    written = files(tmp_path / "out")
    assert not list(packed.glob("*/seed-*"))
    assert call("unpack", packed).exit_code == 0
    (packed / "looks.json").unlink(missing_ok=True)
    assert call(*arguments, "--results", packed, *out).output == there.output
    assert {name: data for name, data in files(tmp_path / "out").items() if not name.endswith(".png")} == {
        name: data for name, data in written.items() if not name.endswith(".png")
    }


def test_compare_writes_its_files_beside_the_pack(packed: Path) -> None:
    ended = call("compare", "--results", packed)
    assert f"to {packed / 'compare' / 'all'}" in ended.output
    assert (packed / "compare" / "all" / "comparison.json").exists()


def test_a_run_that_was_packed_without_its_steps_says_what_writes_them_again(stored: Path) -> None:
    call("pack", stored, "--remove")
    (stored / "none" / "seed-3" / "steps.csv").unlink()
    ended = call("show", "none:3", "--results", stored)
    assert f"{stored / 'none' / 'seed-3' / 'steps.csv'} is not in its pack, so there is no diagnosis" in ended.stderr
    assert f"gradclip unpack {stored}, then gradclip run --force writes it again" in ended.stderr


def test_a_packed_runs_picture_wants_a_folder(packed: Path) -> None:
    ended = call("show", "none:3", "--results", packed)
    assert ended.exit_code == 0
    assert "is packed, so its picture has no place there; --out DIR draws it." in ended.stderr
    assert not (packed / "none").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "none", "--seeds", "7", "--dry-run"],
        ["run", "none", "--seed", "6"],
        ["run", "clipvalue"],
        ["rm", "mine", "--yes"],
        ["rm", "mine:1", "--dry-run"],
        ["reproduce", "--dry-run"],
        ["sweep", "stability", "--quiet"],
    ],
)
def test_writing_commands_say_how_to_unpack_and_change_nothing(results: Path, arguments: list[str]) -> None:
    for seed in SEEDS:
        store_run(results, "mine", seed, [1.0])
    packed = results
    assert call("pack", packed, "--remove", "--steps").exit_code == 0
    before = files(packed)
    ended = call(*arguments, "--results", packed)
    assert ended.exit_code == 1
    assert f"error: {packed}: is packed" in ended.output
    assert f"gradclip unpack {packed}," in ended.output
    assert f"tar -xJf {packed}/runs.tar.xz -C {packed} && rm {packed}/runs.tar.xz" in ended.output
    assert files(packed) == before


def test_what_is_told_works(packed: Path) -> None:
    told = call("rm", "none", "--yes", "--results", packed).output
    subprocess.run(told.partition("without gradclip: ")[2], shell=True, check=True)
    assert call("rm", "none", "--yes", "--results", packed).exit_code == 0


def test_finished_runs_need_no_unpacking(packed: Path) -> None:
    settings = ["--set", "training.epochs=3", "--set", "training.steps_per_epoch=4", "--set", "name=none"]
    ended = call("run", "none", "--seeds", len(SEEDS), *settings, "--results", packed, "--json")
    assert ended.exit_code == 0, ended.output
    runs = json.loads(ended.stdout)["runs"]
    assert [run["status"] for run in runs] == ["complete"] * 6
    assert runs[3]["metrics"]["loss"] == 1.0 + 3 / 7


def test_a_damaged_pack_is_an_error_with_a_sentence_everywhere(packed: Path) -> None:
    content = (packed / "runs.tar.xz").read_bytes()
    (packed / "runs.tar.xz").write_bytes(content[: len(content) // 2] + b"x" + content[len(content) // 2 + 1 :])
    for arguments in (["list"], ["show", "none"], ["compare"], ["run", "none"]):
        ended = call(*arguments, "--results", packed)
        assert ended.exit_code == 1, ended.output
        assert "runs.tar.xz: can't be read" in ended.output
        assert "This is a fault" not in ended.output
    assert call("pack", packed).exit_code == 1


def test_completion_is_silent_about_a_damaged_pack(packed: Path) -> None:
    from gradclip_cli.cli.options import complete_arms
    from gradclip_cli.cli.stored import list_runs

    context = list_runs.make_context("list", ["--results", str(packed)])
    parameter = list_runs.params[0]
    assert complete_arms(context, parameter, "n") == ["none"]
    (packed / "runs.tar.xz").write_bytes(b"")
    assert complete_arms(context, parameter, "n") == []


def test_a_sweeps_best_runs_get_a_pack_of_their_own(stored: Path) -> None:
    for seed in SEEDS:
        store_run(stored / "best", "none", seed, [1.0])
    (stored / "sweep.json").write_text('{"schema": 1, "seeds": [0], "fresh_seeds": [0, 1, 2, 3, 4, 5]}')
    before = files(stored)
    ended = call("pack", stored, "--steps", "--remove")
    assert [line.split()[1] for line in ended.stdout.splitlines()] == ["12", "6", "48", "24"]
    assert {name for name in files(stored) if "seed-" in name} == set()
    assert len(json.loads(call("list", "--json", "--results", stored / "best").stdout)["runs"]) == 6
    assert call("rm", "none", "--yes", "--results", stored / "best").exit_code == 1
    assert call("unpack", stored).stdout.count("unpacked") == 2
    assert files(stored) == before


def test_a_run_in_a_packed_folder_is_told_as_json(packed: Path) -> None:
    ended = call("run", "clipvalue", "--results", packed, "--json")
    assert json.loads(ended.stdout)["error"]["kind"] == "store"


def test_a_folder_without_runs_or_without_being_there_is_told(tmp_path: Path) -> None:
    assert "holds no runs" in call("pack", tmp_path).output
    assert call("pack", tmp_path / "nowhere").exit_code == 2
