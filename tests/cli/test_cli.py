"""The command as its users type it: real processes, exit codes, what is printed where, and what is on disk afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pandas as pd
import pytest
from conftest import (
    QUICKEST,
    SMALL,
    UNCOMPILED,
    call,
    command,
    gradclip,
    latest,
    needs_pytorch,
    options,
    store_run,
    tree,
    wait_until,
)

from gradclip_cli import __version__
from gradclip_cli.cli import COMMANDS
from gradclip_cli.config import loading
from gradclip_cli.limits import MOST_SEED

# Uncompiled but for one run: what the commands here are about is not how fast they train.
QUICK = (*SMALL, *UNCOMPILED["tensorflow"])
SETTINGS = options(*QUICK)
EXPLODE = latest(
    *QUICK,
    "name=exploded",
    "model={cell: simple_rnn, units: 32, activation: relu, recurrent_gain: 2.0}",
    "optimizer.learning_rate=1",
    "training.steps_per_epoch=300",
)
LONG = ["run", "none", *options("name=long", "data.subset=sample", "training.epochs=9999")]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One real command and its results: two arms and one that diverges, two seeds each, from files that give them short names."""
    folder = tmp_path_factory.mktemp("trained")
    results, files = folder / "results", []
    for arm, settings in (("none", []), ("clipvalue", []), ("exploded", EXPLODE)):
        said = loading.load("clipvalue" if arm == "clipvalue" else "none", latest(f"name={arm}", *QUICK, *settings))
        files.append(folder / f"{arm}.yaml")
        files[-1].write_text(loading.to_yaml(said))
    ended = gradclip("run", *map(str, files), "--seeds", "2", "--save-model", "--results", str(results), "-v")
    assert ended.returncode == 3, ended.stderr
    assert "2 of 6 runs diverged" in ended.stderr
    assert len(re.findall(r"^\[\d/6\] .* not finite at step \d+", ended.stderr, flags=re.MULTILINE)) == 2
    assert [line.split()[0] for line in ended.stdout.splitlines()] == ["complete"] * 4 + ["diverged"] * 2
    for arm in ("none", "clipvalue"):
        assert (results / arm / "seed-1" / "model.keras").stat().st_size > 1000
    return ended, results


@pytest.fixture(scope="module")
def trained(told: tuple[subprocess.CompletedProcess[str], Path]) -> Path:
    """What that command trained."""
    return told[1]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A quiet command that trains one run with the framework that is imported soonest, and that run."""
    results = tmp_path_factory.mktemp("quiet")
    settings = options(*SMALL, *UNCOMPILED[QUICKEST], "name=other")
    ended = gradclip("--quiet", "run", "clipvalue", *settings, "--save-model", "--results", str(results))
    return ended, results / "other" / "seed-0"


def require_written(ended: subprocess.CompletedProcess[str], run: Path, *more: str) -> None:
    """A verbose command told both epochs of a run, and left it whole."""
    assert f"complete {run}" in [" ".join(line.split()) for line in ended.stdout.splitlines()]
    named = f"{run.parent.name} {run.name.replace('-', ' ')} "
    lines = [line for line in ended.stderr.splitlines() if line.startswith(named) and " epoch " in line]
    assert len(lines) == 2
    assert all(word in lines[-1] for word in ("loss", "acc", "norm", "val_loss", "val_acc"))
    assert "\x1b" not in ended.stderr + ended.stdout
    assert {path.name for path in run.iterdir()} == {"config.yaml", "metrics.csv", "steps.csv", "run.json", *more}
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "complete"
    assert record["versions"]["tensorflow"]
    assert record["evaluation_split"] == "test"


@pytest.mark.trains
def test_run_writes_the_files_and_verbose_tells_each_epoch(told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    ended, results = told
    require_written(ended, results / "clipvalue" / "seed-1", "model.keras")


@pytest.mark.trains
@pytest.mark.slow
def test_a_compiled_run_is_called_as_its_settings_are(results: Path) -> None:
    ended = gradclip("run", "clipvalue", *options(*SMALL), "--results", str(results), "-v")
    assert ended.returncode == 0, ended.stderr
    arm = "clipvalue+data.subset=sample+training.epochs=2+training.steps_per_epoch=6"
    assert ended.stdout.split() == ["complete", str(results / arm / "seed-0")]
    require_written(ended, results / arm / "seed-0")


@needs_pytorch
@pytest.mark.trains
def test_a_run_with_pytorch_says_so_and_saves_its_own_model(quiet: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    ended, run = quiet
    assert ended.returncode == 0, ended.stderr
    assert {path.name for path in run.iterdir()} == {"config.yaml", "metrics.csv", "steps.csv", "run.json", "model.pt"}
    versions = json.loads((run / "run.json").read_text())["versions"]
    assert versions["torch"]
    assert not {"tensorflow", "keras"} & versions.keys()


@pytest.mark.trains
def test_quiet_run_says_nothing_on_stderr(quiet: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    ended, _ = quiet
    assert ended.returncode == 0
    assert ended.stderr == ""


@pytest.mark.trains
def test_a_finished_run_is_left_alone_and_force_trains_it_again(trained: Path) -> None:
    record = trained / "none" / "seed-0" / "run.json"
    before = record.read_bytes()
    again = gradclip("run", "none", *SETTINGS, "--set", "name=none", "--results", str(trained))
    assert again.returncode == 0
    assert "already complete" in again.stderr
    assert record.read_bytes() == before
    csvs = [(trained / "none" / "seed-0" / name).read_bytes() for name in ("metrics.csv", "steps.csv")]
    forced = call("run", "none", *SETTINGS, "--set", "name=none", "--results", str(trained), "--force", "--save-model")
    assert forced.exit_code == 0, forced.output
    assert record.read_bytes() != before
    assert [(trained / "none" / "seed-0" / name).read_bytes() for name in ("metrics.csv", "steps.csv")] == csvs


@pytest.mark.trains
def test_a_diverged_run_stays_an_outcome(trained: Path) -> None:
    again = gradclip("--quiet", "run", "none", *options(*EXPLODE), "--results", str(trained))
    assert again.returncode == 3
    shown = call("show", "exploded", "--results", str(trained))
    assert re.search(r"diverged .*simple_rnn/.* not finite at step \d+", shown.output)


@pytest.mark.trains
def test_another_config_in_the_directory_is_refused_with_the_difference(trained: Path) -> None:
    before = tree(trained)
    for seed in ("0", "5"):  # the run itself, and a new seed of the same arm
        ended = call(
            "run",
            "none",
            *SETTINGS,
            "--set",
            "name=none",
            "--set",
            "model.units=11",
            "--seeds",
            f"{seed}-{seed}",
            "--results",
            str(trained),
        )
        assert ended.exit_code == 1
        assert "holds another config (model.units: 10 there, 11 here)" in ended.output
        assert "--force" in ended.output
    assert tree(trained) == before


@pytest.mark.trains
def test_dry_run_writes_nothing(results: Path, trained: Path) -> None:
    ended = call("run", "none", "clipvalue", "--seeds", "0-2", "--dry-run", "--results", str(results))
    assert ended.exit_code == 0
    assert ended.output.count("train ") == 6
    assert not results.exists()
    planned = call(
        "run", "none", *SETTINGS, "--set", "name=none", "--seeds", "3", "--dry-run", "--json", "--results", str(trained)
    )
    assert [run["action"] for run in json.loads(planned.output)["runs"]] == ["skip", "skip", "train"]


def test_runs_that_share_a_compilation_stand_together(results: Path) -> None:
    ended = call("run", "none", "clipvalue", "adam/none", "--seeds", "2", "--dry-run", "--json", "--results", str(results))
    arms = [run["arm"] for run in json.loads(ended.stdout)["runs"]]
    assert arms == ["none", "none", "clipvalue", "clipvalue", "adam-none", "adam-none"]


@contextmanager
def long_run(results: Path, framework: str) -> Iterator[subprocess.Popen[str]]:
    """A real process in the middle of training; killed afterwards if it still runs."""
    command = [sys.executable, "-m", "gradclip_cli", *LONG, *options(*UNCOMPILED[framework]), "--results", str(results)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    steps = results / "long" / "seed-0" / "steps.csv"
    try:
        wait_until(lambda: process.poll() is not None or (steps.exists() and steps.stat().st_size > 100_000))
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.trains
@pytest.mark.parametrize(
    ("number", "code", "framework"),
    [
        (signal.SIGINT, 130, QUICKEST),
        pytest.param(signal.SIGINT, 130, "tensorflow", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, "tensorflow", marks=pytest.mark.slow),
    ],
)
def test_a_signal_leaves_an_honest_directory(number: signal.Signals, code: int, framework: str, results: Path) -> None:
    """Stopped in the middle of real training, from outside; the same command would start the run over."""
    with long_run(results, framework) as process:
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Give the same command again" in stderr
    assert stdout.split() == ["interrupted", str(results / "long" / "seed-0")]
    record = json.loads((results / "long" / "seed-0" / "run.json").read_text())
    assert record["status"] == "interrupted"
    assert len(pd.read_csv(results / "long" / "seed-0" / "steps.csv")) == record["steps"]
    assert call("list", "--results", str(results)).output.count("interrupted") == 1
    assert "not finished" in call("compare", "--results", str(results)).output
    again = call(*LONG, *options(*UNCOMPILED[framework]), "--results", str(results), "--dry-run")
    assert "goes on from its checkpoint" in again.output


@pytest.mark.trains
@pytest.mark.slow
def test_two_processes_on_one_run_of_which_a_second_interrupt_stops_the_first_at_once(results: Path) -> None:
    with long_run(results, QUICKEST) as first:
        command = [sys.executable, "-m", "gradclip_cli", *LONG, *options(*UNCOMPILED[QUICKEST]), "--results", str(results)]
        second = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert second.stderr
        assert any("waiting for another gradclip process" in line for line in second.stderr)
        second.send_signal(signal.SIGINT)  # who waits can be stopped, and disturbs nothing
        assert second.wait(timeout=60) == 130
        assert first.poll() is None
        assert json.loads((results / "long" / "seed-0" / "run.json").read_text())["status"] == "running"
        for _ in range(2):
            first.send_signal(signal.SIGINT)
        assert first.wait(timeout=60) == 130
    assert json.loads((results / "long" / "seed-0" / "run.json").read_text())["status"] == "interrupted"


@pytest.mark.trains
@pytest.mark.slow
def test_two_fresh_processes_write_the_same_bytes(trained: Path, results: Path) -> None:
    """Above, `--force` writes them in one that is not fresh."""
    ended = gradclip("run", "none", *SETTINGS, "--set", "name=none", "--results", str(results))
    assert ended.returncode == 0
    for name in ("metrics.csv", "steps.csv", "config.yaml"):
        assert (results / "none" / "seed-0" / name).read_bytes() == (trained / "none" / "seed-0" / name).read_bytes()


def test_results_directory_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    ended = call("run", "none", *SETTINGS, "--results", str(blocked))
    assert ended.exit_code == 1
    assert "can't be written" in ended.stderr
    assert "--results" in ended.stderr
    assert blocked.read_text() == "not a folder"


def test_without_the_dataset_nothing_is_written(results: Path, tmp_path: Path) -> None:
    ended = gradclip("run", "none", "--results", str(results), GRADCLIP_DATA=str(tmp_path / "nowhere"))
    assert ended.returncode == 1
    assert "Fashion-MNIST was not found" in ended.stderr
    assert "--data-dir" in ended.stderr
    assert not results.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_read_only_results_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    ended = gradclip("run", "none", *SETTINGS, "--results", str(tmp_path / "results"))
    assert ended.returncode == 1
    assert "can't be written" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "no-such.yaml"], "no such config"),
        (["run", "none", "--set", "optimizer.rate=1"], "unknown key 'rate'"),
        (["run", "none", "--seeds", "5-1"], "--seeds 5-1"),
        (["run"], "Missing argument"),
        (["run", "none", "--sed", "3"], "No such option"),
        (["frobnicate"], "No such command"),
        (["compare", "--margin", "0"], "x>0"),
        (["compare", "--margin", "nan"], "nan is not a finite number"),
        (["compare", "--effect", "inf"], "inf is not a finite number"),
        (["compare", "--target-loss", "-1"], "x>0"),
        (["compare", "--target-loss", "inf"], "inf is not a finite number"),
        (["compare", "--seeds", "some"], "--seeds some: expected a count"),
    ],
)
def test_usage_and_config_errors_exit_2(arguments: list[str], expected: str, results: Path) -> None:
    ended = call(*arguments, *(["--results", str(results)] if arguments[0] == "run" else []))
    assert ended.exit_code == 2
    assert expected in ended.output
    assert not results.exists()


RESET = "optimizer.name=adam resets optimizer.learning_rate to adam's 0.001 (was 0.01)"


@pytest.mark.parametrize("order", [0, 1])
def test_what_an_override_resets_is_said_once_for_each_config(order: int, results: Path) -> None:
    settings = ["--set", "training.epochs=3", "--set", "optimizer.name=adam"]
    command = ["run", "none", "clipnorm", *(settings[2:] + settings[:2] if order else settings), "--seeds", "7"]
    told = call(*command, "--dry-run", "--json", "--results", str(results))
    arms = [f"{arm}+optimizer.name=adam+training.epochs=3" for arm in ("none", "clipnorm")]
    assert told.stderr.splitlines() == [f"{arm}: {RESET}" for arm in arms]
    assert json.loads(told.stdout)["resets"] == {arm: [RESET] for arm in arms}
    assert call("--quiet", *command, "--dry-run", "--results", str(results)).stderr == ""
    held = call(*command, "--set", "optimizer.learning_rate=0.01", "--dry-run", "--json", "--results", str(results))
    assert held.stderr == ""
    assert not any(json.loads(held.stdout)["resets"].values())


def test_too_few_seeds_for_a_verdict_are_told_before_training(results: Path) -> None:
    def said(*arguments: str) -> str:
        return call("run", *arguments, "--dry-run", "--results", str(results)).stderr

    assert said("none", "clipvalue") == (
        "Verdicts need more seeds: 1 comparison at least 6 (--seeds 6), and these arms share 1.\n"
    )
    assert "3 comparisons at least 7 (--seeds 7), and these arms share 6.\n" in said(
        "none", "clipvalue", "clipnorm", "agc", "--seeds", "6"
    )
    assert said("none", "clipvalue", "--seeds", "6") == ""
    assert said("none") == ""
    assert call("--quiet", "run", "none", "clipvalue", "--dry-run", "--results", str(results)).stderr == ""
    for arm in ("none", "clipvalue"):  # what is there counts
        for seed in range(5):
            store_run(results, arm, seed, [2.0], base=arm, settings=["training.steps_per_epoch=500"], epochs=10)
    assert said("none", "clipvalue", "--seeds", "5,") == ""
    assert "these arms share 5" in said("none", "clipvalue", "--seeds", "4,")


def test_reproduce_says_how_many_seeds_its_verdicts_take(results: Path) -> None:
    told = call("reproduce", "--dry-run", "--results", str(results)).stderr
    assert "A verdict on the 4 primary tests takes at least 8 seeds; there are 10.\n" in told
    told = call("reproduce", "--seeds", "3", "--dry-run", "--results", str(results)).stderr
    assert "takes at least 8 seeds; 3 can show nothing.\n" in told


def test_a_seed_that_no_config_may_have_is_no_pilot_s() -> None:
    assert call("suggest", "none", "--seed", str(MOST_SEED + 1)).exit_code == 2
    assert f"<={MOST_SEED}" in call("suggest", "none", "--seed", str(MOST_SEED + 1)).stderr


def test_error_goes_to_stderr_without_a_traceback_unless_asked(tmp_path: Path) -> None:
    plain = gradclip("show", "nothing", "--results", str(tmp_path))
    assert (plain.returncode, plain.stdout) == (1, "")
    assert "No runs of nothing" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert "Traceback" in gradclip("--debug", "show", "nothing", "--results", str(tmp_path)).stderr


def test_a_fault_of_ours_is_told_as_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from gradclip_cli.runs import store

    def broken(results: Path) -> None:
        raise ZeroDivisionError("an accident")

    monkeypatch.setattr(store, "runs", broken)
    ended = call("list", "--results", str(tmp_path))
    assert ended.exit_code == 1
    assert "ZeroDivisionError: an accident" in ended.output
    assert "--debug" in ended.output


@pytest.mark.trains
def test_list_show_and_json(trained: Path) -> None:
    listed = json.loads(call("list", "--json", "--results", str(trained)).output)
    assert listed["schema"] == 1
    arms = {run["arm"]: run["status"] for run in listed["runs"]}
    assert arms == {"none": "complete", "clipvalue": "complete", "exploded": "diverged"}
    for arm in arms:
        assert [run["seed"] for run in listed["runs"] if run["arm"] == arm] == [0, 1]
    assert call("list", "--status", "diverged", "--results", str(trained)).output.count("seed") == 1
    for name in ("none", "none/seed-1", "none:1", str(trained / "none" / "seed-1")):
        shown = json.loads(call("show", name, "--json", "--results", str(trained)).stdout)
        assert shown["run"]["arm"] == "none"
        assert len(shown["metrics"]) == 2
        assert shown["clipping"] == "none: every gradient was used whole; all gradients were finite"
        assert (shown["health"]["cut_quartiles"], shown["health"]["steps_not_finite"]) == ([None] * 3, 0)
    assert "lstm(10), SGD 0.01, clipping clipvalue 0.5" in call("show", "clipvalue", "--results", str(trained)).output


@pytest.mark.trains
@pytest.mark.usefixtures("unrendered")
def test_compare_prints_a_table_and_writes_files(trained: Path, tmp_path: Path) -> None:
    ended = call("compare", "none", "clipvalue", "exploded", "--results", str(trained), "--out", str(tmp_path / "out"))
    assert ended.exit_code == 0, ended.stderr
    assert ended.stdout.splitlines()[0].split()[:2] == ["arm", "seeds"]
    assert "±" in ended.stdout
    assert "exploded differs from none in more than clipping: model.cell is simple_rnn, not lstm" in ended.stdout
    assert tree(tmp_path / "out") >= {"comparison.png", "comparison.svg", "comparison.csv", "comparison.json"}
    as_json = call("compare", "none", "clipvalue", "--json", "--results", str(trained), "--out", str(tmp_path / "out"))
    assert json.loads(as_json.stdout) == json.loads((tmp_path / "out" / "comparison.json").read_text())


@pytest.mark.trains
def test_rm_asks_dry_runs_and_removes(trained: Path, tmp_path: Path) -> None:
    import shutil

    results = tmp_path / "copy"
    shutil.copytree(trained, results)
    assert "would remove" in call("rm", "none", "--dry-run", "--results", str(results)).output
    unanswered = call("rm", "none", "--results", str(results))
    assert unanswered.exit_code == 1
    assert "nothing was removed" in unanswered.output
    assert "--yes" in unanswered.output
    assert (results / "none" / "seed-0").exists()
    assert call("rm", "none/seed-0", "--yes", "--results", str(results)).exit_code == 0
    assert [path.name for path in (results / "none").iterdir()] == ["seed-1"]
    assert call("rm", "none", "--yes", "--results", str(results)).exit_code == 0
    assert not (results / "none").exists()
    unknown = call("rm", "nothing", "--yes", "--results", str(results))
    assert unknown.exit_code == 1
    assert "No runs of nothing" in unknown.output


def test_version_module_and_short_help() -> None:
    assert __version__ in gradclip("--version").stdout
    assert call("-h").output == call("--help").output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_ends_no_option_without_a_word(name: str) -> None:
    parameters = command(name).params
    assert command(name).help
    assert all(parameter.help for parameter in parameters if isinstance(parameter, click.Option))


def complete(words: str, position: int, cwd: Path) -> set[str]:
    ended = gradclip(cwd=cwd, COMP_WORDS=words, COMP_CWORD=str(position), _GRADCLIP_COMPLETE="bash_complete")
    return {line.split(",")[-1] for line in ended.stdout.splitlines()}


@pytest.mark.trains
def test_completion_knows_configs_arms_and_keys(trained: Path) -> None:
    folder = trained.parent
    assert "clipvalue" in complete("gradclip run cl", 2, folder)
    assert complete("gradclip compare cl", 2, folder) == {"clipvalue"}
    assert "none/seed-1" in complete("gradclip show none", 2, folder)
    assert "optimizer.learning_rate=" in complete("gradclip run none --set optimizer.l", 4, folder)
