"""Many runs: what is built once is built once, what fails is told, and the others go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, latest

from gradclip_cli import config, engines, runner, trainer
from gradclip_cli.errors import ConflictError
from gradclip_cli.runner import PlannedRun, Result
from gradclip_cli.schema import Config
from gradclip_cli.training import Outcome, Progress


class Quiet:
    def __init__(self) -> None:
        self.ended_runs: list[Result] = []

    def preparing(self, run: PlannedRun, what: str) -> None: ...
    def remarked(self, run: PlannedRun, remark: str) -> None: ...
    def progressed(self, run: PlannedRun, progress: Progress) -> None: ...

    def ended(self, result: Result) -> None:
        self.ended_runs.append(result)


def planned(results: Path, seeds: list[int]) -> list[PlannedRun]:
    arms = [config.load(arm, [*SMALL, f"name={arm}", "engine.jit=false"]) for arm in ("none", "clipvalue")]
    faster = config.load("none", [*SMALL, "name=faster", "optimizer.learning_rate=0.1", "engine.jit=false"])
    return runner.plan([*arms, faster], seeds, results)


def test_one_engine_serves_all_runs_of_its_kind(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = engines.build
    monkeypatch.setattr(engines, "build", lambda chosen, dataset: built.append(chosen.name) or build(chosen, dataset))
    ended = runner.execute(planned(results, [0, 1]), Quiet())
    assert [result.status for result in ended] == ["complete"] * 6
    assert built == ["none", "clipvalue"]  # the faster arm shares none's compilation


def test_a_run_that_fails_is_marked_and_the_others_go_on(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = trainer.train

    def failing(chosen: Config, *others: Any, **more: Any) -> Outcome:
        if chosen.training.seed == 1:
            raise OSError(28, "No space left on device")
        return train(chosen, *others, **more)

    monkeypatch.setattr(trainer, "train", failing)
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


def test_an_engine_that_cannot_be_built_fails_its_runs_only(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = engines.build

    def failing(chosen: Config, dataset: Any) -> Any:
        if chosen.clipping.mode == "clipvalue":
            raise RuntimeError("XLA can't compile this")
        return build(chosen, dataset)

    monkeypatch.setattr(engines, "build", failing)
    ended = runner.execute(planned(results, [0]), Quiet())
    assert {result.run.config.name: result.status for result in ended} == {
        "none": "complete", "clipvalue": "failed", "faster": "complete",
    }  # fmt: skip


def test_plan_says_what_will_be_done(results: Path) -> None:
    (run,) = runner.plan([config.load("none", [*SMALL, "name=one"])], [0], results)
    assert (run.action, run.reason) == ("train", "new")
    run.directory.path.mkdir(parents=True)
    run.directory.start(run.config, ["lstm/kernel"], {})

    def planned_now(*settings: str) -> tuple[str, str]:
        (again,) = runner.plan([config.load("none", latest(*SMALL, "name=one", *settings))], [0], results)
        return again.action, again.reason

    assert planned_now() == ("replace", "running before it was finished: starts over")
    run.directory.write_checkpoint({})
    assert planned_now() == ("resume", "running before it was finished: goes on from its checkpoint")
    run.directory.write_metadata({"status": "complete"})
    assert planned_now() == ("skip", "already complete")
    assert planned_now("training.epochs=5") == ("resume", "goes on from 2 to 5 epochs")
    for settings in ("training.epochs=1", "training.steps_per_epoch=7"):
        with pytest.raises(ConflictError, match="holds another config"):
            planned_now(settings)
    run.directory.remove_checkpoint()
    with pytest.raises(ConflictError, match=r"training\.epochs: 2 there, 5 here"):
        planned_now("training.epochs=5")
