"""Runs that failed alike are told once: at the end by their reasons, and meanwhile the first few of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradclip_cli.cli import displays
from gradclip_cli.cli.execution import RunsFailed, require_none_failed
from gradclip_cli.config import loading
from gradclip_cli.runs.actions import Action
from gradclip_cli.runs.many import PlannedRun, Result
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.store import RunDirectory


def ended(count: int, message: str, status: Status = Status.FAILED, first: int = 0) -> list[Result]:
    """Runs that ended so; in their message FOLDER is each one's own."""
    config = loading.load("none")
    found = []
    for seed in range(first, first + count):
        directory = RunDirectory(Path("results") / "none" / f"seed-{seed}")
        run = PlannedRun(config.with_seed(seed), directory, Action.TRAIN, "new")
        found.append(Result(run, status, message=message.replace("FOLDER", str(directory.path))))
    return found


def said_of(results: list[Result]) -> str:
    with pytest.raises(RunsFailed) as raised:
        require_none_failed(results, ", then reports")
    return str(raised.value)


def test_one_reason_of_all_is_said_once() -> None:
    assert said_of([*ended(180, "FOLDER/run.json: disk full"), *ended(20, "", Status.COMPLETE, 180)]) == (
        "180 of 200 runs failed, all for one reason; the same command trains them again, then reports.\n"
        "  results/none/seed-0/run.json: disk full\n"
        "    none seed 0, none seed 1, none seed 2 and 177 more"
    )


def test_several_reasons_are_each_said_once_with_the_runs_of_each() -> None:
    assert said_of([*ended(4, "out of memory"), *ended(1, "no data", first=4)]) == (
        "5 of 5 runs failed; the same command trains them again, then reports.\n"
        "  out of memory\n"
        "    none seed 0, none seed 1, none seed 2 and 1 more\n"
        "  no data\n"
        "    none seed 4"
    )


def test_a_single_failed_run_stands_on_one_line() -> None:
    assert said_of(ended(1, "no data")).endswith("again, then reports.\n  none seed 0 (no data)")


def test_of_a_hundred_reasons_ten_are_said() -> None:
    lines = said_of([each for seed in range(100) for each in ended(1, f"reason {seed}", first=seed)]).splitlines()
    assert lines[-1] == "  and 90 more reasons"
    assert len(lines) == 22


def test_while_they_go_the_first_few_of_a_reason_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    results = [*ended(20, "FOLDER/run.json: disk full"), *ended(1, "out of memory", first=20)]
    with displays.RunDisplay([result.run for result in results], quiet=True) as display:
        for result in results:
            display.ended(result)
    assert capsys.readouterr().err.splitlines() == [
        "[1/21] none seed 0: failed: results/none/seed-0/run.json: disk full",
        "[2/21] none seed 1: failed: results/none/seed-1/run.json: disk full",
        "[3/21] none seed 2: failed: results/none/seed-2/run.json: disk full",
        "More runs that fail so are not shown one by one; they are counted at the end.",
        "[21/21] none seed 20: failed: out of memory",
    ]


def test_each_divergence_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    results = ended(5, "loss NaN at step 3", Status.DIVERGED)
    with displays.RunDisplay([result.run for result in results]) as display:
        for result in results:
            display.ended(result)
    assert len(capsys.readouterr().err.splitlines()) == 5
