"""The commands on configs that a script of the user's own trains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import call
from recordings import SEEN
from scripted import in_shell, store, write_training

from gradclip_cli.config import loading, sweeps
from gradclip_cli.config.recorded import RecordedConfig
from gradclip_cli.config.schema import Config
from gradclip_cli.gradients.rules.clipnorm import ClipNorm
from gradclip_cli.gradients.rules.none import Unclipped
from gradclip_cli.problems import identified


def store_all(configs: Sequence[Config], seeds: int, results: Path) -> None:
    """Runs of scripts that score better, the larger their clip is."""
    for config in map(identified, configs):
        assert isinstance(config, RecordedConfig)
        for seed in range(seeds):
            run = config.with_seed(seed)
            assert isinstance(run, RecordedConfig)
            store(run, results, accuracy=0.5 + seed / 100 + float(config.values["clip"] or 0) / 10)


@pytest.fixture
def arms(tmp_path: Path, results: Path) -> list[str]:
    """Two arms of three seeds that differ in a value; their configs."""
    paths = write_training(tmp_path, "mild", "strong")
    store_all([loading.load(path) for path in paths], 3, results)
    return paths


def test_scripts_are_trained_as_other_configs_are(tmp_path: Path, results: Path) -> None:
    paths = write_training(tmp_path, "mild", "strong")
    trained = call("run", *paths, "--seed", "1", "--results", str(results), "--json")
    assert trained.exit_code == 0, trained.stderr
    found = [(run["arm"], run["status"], run["health"], run["metrics"]["accuracy"]) for run in json.loads(trained.stdout)["runs"]]
    assert found == [("mild", "complete", "healthy", 0.61), ("strong", "complete", "healthy", 0.71)]
    assert "[1/2] mild seed 1: complete in " in trained.stderr
    assert "acc 0.610, gradients healthy" in trained.stderr
    again = call("run", *paths, "--seed", "1", "--results", str(results), "--dry-run")
    assert [line.split()[0] for line in again.stdout.splitlines()] == ["skip", "skip"]


def test_a_failed_script_is_told_once_with_its_last_lines(tmp_path: Path, results: Path) -> None:
    in_shell(tmp_path, "echo 'the data are gone'; exit 3")
    failed = call("run", str(tmp_path / "mine.yaml"), "--seeds", "2", "--results", str(results))
    assert failed.exit_code == 1
    assert failed.stdout.split() == ["failed", str(results / "mine/seed-0"), "failed", str(results / "mine/seed-1")]
    assert failed.stderr.count("mine seed 0: failed: exit code 3: the data are gone") == 1
    assert failed.stderr.count("  the data are gone\n") == 1
    quiet = call("-q", "run", str(tmp_path / "mine.yaml"), "--results", str(results))
    assert "its last lines" not in quiet.stderr
    assert "exit code 3: the data are gone" in quiet.stderr
    shown = call("show", "mine/seed-0", "--results", str(results))
    assert f"output     {results / 'mine/seed-0/output.log'}" in shown.stdout
    removed = call("rm", "mine", "--yes", "--results", str(results))
    assert removed.exit_code == 0
    assert not (results / "mine").exists()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["check"], "gradclip can take no step. Run one seed of it and look at that: gradclip run"),
        (["suggest"], "gradclip can take no step. Run one seed of it and look at that: gradclip run"),
        (["try"], "gradclip can take no step. Make a config of each arm, train them with gradclip run, then gradclip compare."),
        (["run", "--save-model"], "a script saves its model itself: leave --save-model out"),
        (["run", "--cluster", "tcp://nowhere:1"], "a cluster trains no script: leave --cluster out, and start it here"),
    ],
)
def test_what_a_script_can_t_do_is_refused_with_what_can_be_done(
    command: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    in_shell(tmp_path, "touch started")
    refused = call(command[0], "mine.yaml", *command[1:])
    assert refused.exit_code == 2
    assert told in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_script_arms_are_compared_with_the_one_that_is_named(arms: list[str], results: Path) -> None:
    unnamed = call("compare", "--results", str(results), "--json")
    assert unnamed.exit_code == 1
    assert "None of these arms is unclipped: name the baseline with --baseline" in unnamed.stdout
    told = call("compare", "--results", str(results), "--baseline", "mild", "--json").stdout
    assert "They differ in values.clip; what of it is clipping, only their scripts know." in told
    compared = json.loads(told)
    assert compared["differences"] == ["strong differs from mild in more than clipping: values.clip is 2.0, not 1.0"]


@pytest.mark.parametrize(
    ("threshold", "told"),
    [(1.0, []), (3.0, ["clipped differs from free in more than clipping: values.clip is 1.0, not 2.0"])],
)
def test_the_baseline_is_the_arm_whose_recorder_saw_no_clipping(
    threshold: float, told: list[str], tmp_path: Path, results: Path
) -> None:
    """A value that is the threshold is the clipping, and no other difference."""
    paths = write_training(tmp_path, "clipped", "free")
    for path, rule in zip(paths, (ClipNorm(threshold=threshold), Unclipped()), strict=True):
        config = loading.load(path)
        assert isinstance(config, RecordedConfig)
        store(config, results, seen=replace(SEEN, clipping=rule))
    compared = json.loads(call("compare", "--results", str(results), "--json").stdout)
    assert [arm["arm"] for arm in compared["arms"]] == ["free", "clipped"]
    assert compared["differences"] == told


def test_a_sweep_goes_over_a_script_s_values(tmp_path: Path, results: Path) -> None:
    write_training(tmp_path, "mine")
    (tmp_path / "grid.yaml").write_text("base: mine.yaml\ngrid: {values.clip: [1, 3, 2]}\nseeds: 2\n")
    store_all(sweeps.load(str(tmp_path / "grid.yaml")).configs, 2, results)
    swept = call("sweep", str(tmp_path / "grid.yaml"), "--results", str(results), "--json")
    assert swept.exit_code == 0, swept.stderr
    content = json.loads(swept.stdout)
    assert [(cell["arm"], cell["best"]) for cell in content["cells"]] == [
        ("mine+values.clip=1", False),
        ("mine+values.clip=2", False),
        ("mine+values.clip=3", True),
    ]
    assert content["facts"]["command"] == "python train.py {seed} {clip}"
    assert (results / "report.md").is_file()


def test_a_sweep_of_scripts_says_what_it_can_of_its_time(tmp_path: Path, results: Path) -> None:
    write_training(tmp_path, "mine")
    (tmp_path / "grid.yaml").write_text("base: mine.yaml\ngrid: {values.clip: [1, 2]}\nseeds: 2\n")
    planned = call("sweep", str(tmp_path / "grid.yaml"), "--results", str(results), "--dry-run")
    assert "4 of 4 runs to train; how long a script takes, only a run of it tells." in planned.stderr
    (tmp_path / "grid.yaml").write_text("base: mine.yaml\ngrid: {values.clpi: [1, 2]}\nseeds: 2\n")
    refused = call("sweep", str(tmp_path / "grid.yaml"), "--results", str(results), "--dry-run")
    assert refused.exit_code == 2
    assert "grid.yaml:2:8: values.clpi: no word of `command` has {clpi}" in refused.stderr
