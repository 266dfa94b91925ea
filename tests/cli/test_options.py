"""Options that commands share, in both places; what scripts get: JSON, its errors too, and exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import Result
from conftest import call, command, options, store_run

from gradclip_cli.cli import COMMANDS
from gradclip_cli.cli.options import WayOption
from gradclip_cli.errors import ExitCode
from gradclip_cli.runs import many
from gradclip_cli.runs.many import PlannedRun
from gradclip_cli.runs.trainers import THIS_PROCESS, Way, available_cores


@pytest.mark.parametrize("arguments", [["-q", "list"], ["list", "-q"], ["list", "--quiet"], ["list", "-v"], ["list", "--debug"]])
def test_general_options_are_taken_before_and_after_the_command(arguments: list[str], three_arms: Path) -> None:
    ended = call(*arguments, "--results", str(three_arms))
    assert ended.exit_code == 0, ended.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_s_help_names_the_general_options(name: str) -> None:
    shown = call(name, "--help").output
    assert all(option in shown for option in ("--quiet", "--verbose", "--debug"))


def test_debug_after_the_command_shows_the_traceback(tmp_path: Path) -> None:
    assert "Traceback" in call("show", "nothing", "--debug", "--results", str(tmp_path)).output


@pytest.mark.usefixtures("unrendered")
def test_quiet_compare_says_nothing_but_the_result(three_arms: Path, tmp_path: Path) -> None:
    ended = call("compare", "-q", "none", "clipnorm", "--results", str(three_arms), "--out", str(tmp_path))
    assert ended.stdout
    assert ended.stderr == ""


def test_run_takes_one_seed_by_its_number(results: Path) -> None:
    def planned(*arguments: str) -> Result:
        return call("run", "none", *arguments, "--dry-run", "--json", "--results", str(results))

    assert [run["seed"] for run in json.loads(planned("--seed", "3").stdout)["runs"]] == [3]
    assert [run["seed"] for run in json.loads(planned("--seeds", "3").stdout)["runs"]] == [0, 1, 2]
    both = planned("--seed", "3", "--seeds", "3")
    assert both.exit_code == 2
    assert "--seeds" in both.stderr


def test_a_mistake_in_the_command_has_the_code_of_one_in_a_config() -> None:
    assert click.UsageError.exit_code == ExitCode.MISTAKEN == 2


# JSON.


def test_errors_under_json_are_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def error(*arguments: str) -> dict[str, object]:
        ended = call(*arguments, "--json")
        content = json.loads(ended.stdout)
        assert content["schema"] == 1
        assert content["error"]["exit_code"] == ended.exit_code != 0
        assert str(content["error"]["message"]).splitlines()[0] in ended.stderr
        assert "error:" in ended.stderr.lower()
        return dict(content["error"])

    assert error("show", "nothing")["kind"] == "report"
    config = error("run", "none", "--set", "optimizer.rate=1", "--set", "training.epochz=1")
    assert config["kind"] == "config"
    assert len(list(config["problems"])) == 2  # type: ignore[call-overload]  # JSON is of any type
    assert error("run", "none", "--epochs", "3")["kind"] == "usage"
    assert error("frobnicate")["kind"] == "usage"
    assert error("run")["kind"] == "usage"


def test_a_fault_under_json_is_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from gradclip_cli.runs import store

    def broken(results: Path) -> None:
        raise ZeroDivisionError("an accident")

    monkeypatch.setattr(store, "runs", broken)
    ended = call("list", "--json", "--results", str(tmp_path))
    assert json.loads(ended.stdout)["error"] == {"kind": "fault", "message": "ZeroDivisionError: an accident", "exit_code": 1}


def test_run_json_tells_metrics_seconds_and_health(results: Path) -> None:
    made = store_run(results, "none", 0, [2.0, 1.5, 1.0], seconds=12.5, health={"word": "spiking"})
    config = ["name=none", "training.epochs=3", "training.steps_per_epoch=4"]
    ended = call("run", "none", *options(*config), "--json", "--results", str(results))
    (run,) = json.loads(ended.stdout)["runs"]
    assert run["path"] == str(made.path)
    assert run["status"] == "complete"
    assert run["metrics"] == pytest.approx(
        {"epoch": 3, "loss": 1.0, "accuracy": 2 / 3, "val_loss": 1.1, "val_accuracy": 0.9 - 1 / 3}
    )
    assert run["seconds"] == 12.5
    assert run["health"] == "spiking"


@pytest.mark.parametrize("ending", ["failed", "interrupted"])
def test_what_was_done_before_an_error_stands_in_the_same_json(
    ending: str, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(planned: list[PlannedRun], *others: object, **named: object) -> list[many.Result]:
        ended = [many.Result(planned[0], ending, message="no memory")]
        if ending == "interrupted":
            raise many.Interrupted(15, ended)
        return ended

    monkeypatch.setattr(many, "execute", execute)
    ended = call("run", "none", "--json", "--results", str(results))
    content = json.loads(ended.stdout)
    assert [run["status"] for run in content["runs"]] == [ending]
    assert content["error"]["exit_code"] == ended.exit_code == {"failed": 1, "interrupted": 143}[ending]
    assert content["error"]["kind"] == {"failed": "runs failed", "interrupted": "interrupted"}[ending]


# What trains.


def chosen(monkeypatch: pytest.MonkeyPatch, results: Path, *arguments: str) -> Way:
    """The way that a command hands to `execute`."""
    ways: list[Way] = []
    monkeypatch.setattr(many, "execute", lambda planned, display, execution: ways.append(execution.way) or [])
    ended = call("run", "none", *arguments, "--results", str(results))
    assert ended.exit_code == 0, ended.output
    return ways[0]


def test_options_choose_the_way(monkeypatch: pytest.MonkeyPatch, results: Path) -> None:
    """Without connecting to anything; the environment's count of worker processes gives way to a cluster."""
    monkeypatch.setenv("GRADCLIP_JOBS", "7")
    assert chosen(monkeypatch, results).at_once == 7
    assert chosen(monkeypatch, results, "--jobs", "3").at_once == 3
    cluster = chosen(monkeypatch, results, "--cluster", "tcp://127.0.0.1:1")
    assert not cluster.data_found_here
    assert cluster.left_behind == "what had not come back is trained again"
    assert chosen(monkeypatch, results, "--cluster", "").at_once == 7
    monkeypatch.delenv("GRADCLIP_JOBS")
    assert chosen(monkeypatch, results).at_once == available_cores()


def test_an_option_of_a_third_way_is_all_that_a_command_needs(monkeypatch: pytest.MonkeyPatch, results: Path) -> None:
    in_threads = replace(THIS_PROCESS, at_once=9, left_behind="threads are forgotten")
    third = WayOption(["--threads"], way=lambda name: in_threads, trains="threads", help="Threads train.")
    monkeypatch.setattr(command("run"), "params", [*command("run").params, third])
    assert chosen(monkeypatch, results, "--threads", "few") is in_threads
    assert chosen(monkeypatch, results).at_once == 1  # the tests' GRADCLIP_JOBS
    for other, told in {
        "--jobs=2": "--jobs counts worker processes here; with --threads threads train.",
        "--cluster=there": "With --cluster those of the cluster train, with --threads threads: give one of the two.",
    }.items():
        refused = call("run", "none", "--threads", "few", other)
        assert refused.exit_code == 2
        assert told in " ".join(refused.stderr.split())
