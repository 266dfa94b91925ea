"""Many runs: what is built once is built once, what fails is told, and the others go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL

from gradclip_cli import config, engines, runner
from gradclip_cli.runner import PlannedRun, Result
from gradclip_cli.schema import Config
from gradclip_cli.training import Outcome, Progress


class Quiet:
    def __init__(self) -> None:
        self.ended_runs: list[Result] = []

    def preparing(self, run: PlannedRun, what: str) -> None: ...
    def started(self, run: PlannedRun) -> None: ...
    def progressed(self, run: PlannedRun, progress: Progress) -> None: ...

    def ended(self, result: Result) -> None:
        self.ended_runs.append(result)


def planned(results: Path, seeds: list[int]) -> list[PlannedRun]:
    arms = [config.load(arm, [*SMALL, f"name={arm}"]) for arm in ("none", "clipvalue")]
    faster = config.load("none", [*SMALL, "name=faster", "optimizer.learning_rate=0.1"])
    return runner.plan([*arms, faster], seeds, results)


def test_one_engine_serves_all_runs_of_its_kind(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = engines.build
    monkeypatch.setattr(engines, "build", lambda chosen, dataset: built.append(chosen.name) or build(chosen, dataset))
    ended = runner.execute(planned(results, [0, 1]), Quiet())
    assert [result.status for result in ended] == ["complete"] * 6
    assert built == ["none", "clipvalue"]  # the faster arm shares none's compilation


def test_a_run_that_fails_is_marked_and_the_others_go_on(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = runner.train

    def failing(chosen: Config, *others: Any) -> Outcome:
        if chosen.training.seed == 1:
            raise OSError(28, "No space left on device")
        return train(chosen, *others)

    monkeypatch.setattr(runner, "train", failing)
    runs = planned(results, [0, 1, 2])[:3]
    observer = Quiet()
    ended = runner.execute(runs, observer)
    assert [result.status for result in ended] == ["complete", "failed", "complete"]
    assert observer.ended_runs == ended
    assert "No space left on device" in ended[1].told
    assert runs[1].directory.metadata()["status"] == "failed"
    monkeypatch.undo()
    again = runner.execute(planned(results, [0, 1, 2])[:3], Quiet())
    assert [result.run.action for result in again] == ["skip", "replace", "skip"]
    assert {result.status for result in again} == {"complete"}


def test_provenance_names_versions_commit_and_machine() -> None:
    facts = runner.provenance()
    assert set(facts["versions"]) >= {"python", "tensorflow", "keras", "numpy", "gradclip-cli"}
    assert facts["machine"]["cores"] >= 1
    assert facts["git_commit"] is None or len(facts["git_commit"].removesuffix("-dirty")) == 40
