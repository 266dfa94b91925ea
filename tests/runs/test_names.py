"""Names of arms and runs, as users give them, and the near ones where nothing has that name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import call, store_run

from gradclip_cli.runs import names


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("name", ["explode-none", "explode/none", "explode_none", "explode/none.yaml"])
def test_an_arm_is_found_by_its_name_and_by_its_config_s(name: str, three_arms: Path, tmp_path: Path) -> None:
    results, out = ("--results", str(three_arms)), ("--out", str(tmp_path))
    listed = json.loads(call("list", name, "--json", *results).stdout)
    assert {run["arm"] for run in listed["runs"]} == {"explode-none"}
    for shown in (name, f"{name}/seed-3", f"{name}:3"):
        assert json.loads(call("show", shown, "--json", *results, *out).stdout)["run"]["status"] == "complete"
    removed = call("rm", f"{name}/seed-3", "--dry-run", *results)
    assert removed.output.count("would remove") == 1
    assert "explode-none/seed-3" in removed.output
    compared = json.loads(call("compare", name, "none", "--baseline", name, "--json", *results, *out).stdout)
    assert compared["baseline"] == "explode-none"


def test_a_run_s_folder_is_a_name_too(three_arms: Path) -> None:
    removed = call("rm", str(three_arms / "none" / "seed-3"), "--dry-run", "--results", str(three_arms))
    assert removed.output.count("would remove") == 1
    assert call("list", str(three_arms / "none"), "--results", str(three_arms)).output.count("complete") == 6


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["compare", "none", "clipnrom"], "clipnorm"),
        (["compare", "--baseline", "nnoe"], "none"),
        (["show", "clipnrom"], "clipnorm"),
        (["list", "explode-nine"], "explode-none"),
        (["rm", "clipnrom", "--yes"], "clipnorm"),
    ],
)
def test_a_near_miss_of_an_arm_is_told(arguments: list[str], meant: str, three_arms: Path) -> None:
    ended = call(*arguments, "--results", str(three_arms))
    assert ended.exit_code == 1
    assert f"did you mean '{meant}'?" in ended.output
    assert (three_arms / "clipnorm").is_dir()


@pytest.mark.parametrize(
    "command", ["list", "show none", "compare", "compare none", "report", "report none", "export none --csv -", "rm none"]
)
def test_a_folder_of_folders_of_runs_says_which_of_them_to_name(command: str, three_arms: Path) -> None:
    ended = call(*command.split(), "--results", str(three_arms.parent))
    assert f"There are some in {three_arms}, so name that folder: --results {three_arms}" in ended.output.replace("\n", " ")
    assert "Train some first" not in ended.output


def test_many_folders_of_runs_are_not_all_named(tmp_path: Path) -> None:
    for name in "abcde":
        store_run(tmp_path / name, "none", 0, [2.0])
    told = names.nothing_in(tmp_path)
    assert f"There are some in {tmp_path / 'a'}, {tmp_path / 'b'}, {tmp_path / 'c'} and 2 more folders" in told
    assert f"--results {tmp_path / 'a'}" in told


def test_an_arm_without_that_seed_says_which_it_has(three_arms: Path) -> None:
    ended = call("show", "none/seed-9", "--results", str(three_arms))
    assert ended.exit_code == 1
    assert "none has no seed 9" in ended.output
    assert "it has 6, from 0 to 5" in ended.output
