"""How long a trial takes is told before, and how many seeds fit into a time; what took longer is told after."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import gradclip
from own_models import write_problem

from gradclip_cli.errors import ExitCode
from gradclip_cli.experiments.budget import affordable_seeds, overrun
from gradclip_cli.experiments.check import Checked
from gradclip_cli.runs.many import Result
from gradclip_cli.runs.metadata import Status

A_RUN = 2.0


def made_up() -> Any:
    """What was checked: a run takes two seconds, and all runs share two cores."""

    def seconds(runs: int, *, arms: int, workers: int) -> float:
        return A_RUN * runs / workers

    return SimpleNamespace(a_run=A_RUN, seconds=seconds, pace=SimpleNamespace(compilation=5.0))


@pytest.mark.parametrize(("budget", "seeds"), [(60, 20), (30, 10), (1, 1)])
def test_as_many_seeds_of_all_arms_as_fit(budget: float, seeds: int) -> None:
    checked: Checked = made_up()
    assert affordable_seeds(checked, budget, arms=3, workers=2).seeds == seeds


def ended(seconds: float, arm: str = "none", action: str = "train") -> Result:
    run: Any = SimpleNamespace(action=action, config=SimpleNamespace(name=arm))
    return Result(run, Status.COMPLETE, seconds)


@pytest.mark.parametrize(
    ("seconds", "seeds", "why"),
    [
        (8.0, 5, "a run took 8 seconds, and 2 at the pace that was measured before, so the machine was slower"),
        (2.1, 5, "so starting and compiling took longer"),
        (8.0, 2, "a run took 8 seconds, and 7 at the pace that was measured before, so starting"),  # each compiles
    ],
)
def test_what_took_much_longer_than_its_budget_is_told_with_the_pace(seconds: float, seeds: int, why: str) -> None:
    results = [ended(seconds, arm) for arm in ("none", "a") for _ in range(seeds)]
    told = overrun(made_up(), 60, 240, [*results, ended(0.1, action="skip")], workers=2)
    assert told.startswith("Training took 240 seconds, 4.0 times the budget of 60: ")
    assert why in told


@pytest.mark.parametrize("took", [30, 90])
def test_what_took_about_its_budget_is_no_news(took: float) -> None:
    assert overrun(made_up(), 60, took, [ended(2.0)], workers=1) == ""
    assert overrun(made_up(), took / 90, 3.0, [ended(3.0)], workers=1) == ""  # a seed doesn't fit, as was told


@pytest.mark.slow
@pytest.mark.trains
def test_off_a_terminal_each_stage_is_said_as_it_begins_and_how_long_it_takes(tmp_path: Path) -> None:
    config = write_problem(tmp_path)
    few = ["--seeds", "1", "--pilot-steps", "20", "--rules", "none,clipnorm=1", "-j", "1", "--results", str(tmp_path / "results")]
    done = gradclip("try", str(config), *few)
    assert done.returncode == ExitCode.DONE, done.stderr
    stages = [rf"looking at {config}", "checking whether it trains", r"pilot: 20 unclipped steps, about \d+ (seconds?|minutes)"]
    stages += [r"2 of 2 runs to train: about \d+ (seconds?|minutes)\."]
    assert re.search(".*".join(f"^{stage}$" for stage in stages), done.stderr, re.DOTALL | re.MULTILINE), done.stderr
    assert "looking at" not in gradclip("try", str(config), *few, "--quiet").stderr
