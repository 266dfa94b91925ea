"""Many runs: what is built once is built once, what fails is told, and the others go on."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from conftest import FACTS, SMALL, latest, slowly

from gradclip_cli import engines
from gradclip_cli.config import loading
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ConflictError
from gradclip_cli.runs import many
from gradclip_cli.runs import one as trainer
from gradclip_cli.runs.loop import Outcome, Progress
from gradclip_cli.runs.many import PlannedRun, Result

pytestmark = pytest.mark.usefixtures("engines_built_once")


class Quiet:
    def __init__(self) -> None:
        self.ended_runs: list[Result] = []

    def preparing(self, run: PlannedRun, what: str) -> None: ...
    def remarked(self, run: PlannedRun, remark: str) -> None: ...
    def progressed(self, run: PlannedRun, progress: Progress) -> None: ...

    def ended(self, result: Result) -> None:
        self.ended_runs.append(result)


def planned(results: Path, seeds: list[int]) -> list[PlannedRun]:
    arms = [loading.load(arm, [*SMALL, f"name={arm}", "engine.jit=false"]) for arm in ("none", "clipvalue")]
    faster = loading.load("none", [*SMALL, "name=faster", "optimizer.learning_rate=0.1", "engine.jit=false"])
    return many.plan([*arms, faster], seeds, results)


def test_one_engine_serves_all_runs_of_its_kind(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = engines.build
    monkeypatch.setattr(engines, "build", lambda chosen, dataset: built.append(chosen.name) or build(chosen, dataset))
    ended = many.execute(planned(results, [0, 1]), Quiet())
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
    ended = many.execute(runs, observer)
    assert [result.status for result in ended] == ["complete", "failed", "complete"]
    assert observer.ended_runs == ended
    assert "No space left on device" in ended[1].told
    assert runs[1].directory.metadata()["status"] == "failed"
    monkeypatch.undo()
    again = many.execute(planned(results, [0, 1, 2])[:3], Quiet())
    assert [result.run.action for result in again] == ["skip", "replace", "skip"]
    assert {result.status for result in again} == {"complete"}


def test_an_engine_that_cannot_be_built_fails_its_runs_only(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = engines.build

    def failing(chosen: Config, dataset: Any) -> Any:
        if chosen.clipping.mode == "clipvalue":
            raise RuntimeError("XLA can't compile this")
        return build(chosen, dataset)

    monkeypatch.setattr(engines, "build", failing)
    ended = many.execute(planned(results, [0]), Quiet())
    assert {result.run.config.name: result.status for result in ended} == {
        "none": "complete", "clipvalue": "failed", "faster": "complete",
    }  # fmt: skip


def test_plan_says_what_will_be_done(results: Path) -> None:
    (run,) = many.plan([loading.load("none", [*SMALL, "name=one"])], [0], results)
    assert (run.action, run.reason) == ("train", "new")
    run.directory.path.mkdir(parents=True)
    run.directory.start(run.config, ["lstm/kernel"], {})

    def planned_now(*settings: str) -> tuple[str, str]:
        (again,) = many.plan([loading.load("none", latest(*SMALL, "name=one", *settings))], [0], results)
        return again.action, again.reason

    assert planned_now() == ("replace", "running before it was finished: starts over")
    run.directory.write_checkpoint(run.config, {})
    assert planned_now() == ("resume", "running before it was finished: goes on from its checkpoint")
    run.directory.write_metadata({**FACTS, "seed": 0, "status": "complete", "epochs": 2, "steps": 12})
    assert planned_now() == ("skip", "already complete")
    assert planned_now("training.epochs=5") == ("resume", "goes on from 2 to 5 epochs")
    for settings in ("training.epochs=1", "training.steps_per_epoch=7"):
        with pytest.raises(ConflictError, match="holds another config"):
            planned_now(settings)
    run.directory.remove_checkpoint()
    with pytest.raises(ConflictError, match=r"training\.epochs: 2 there, 5 here"):
        planned_now("training.epochs=5")


# What another command does meanwhile.


def one(results: Path, *settings: str, force: bool = False) -> list[PlannedRun]:
    chosen = loading.load("none", [*SMALL, "name=one", "engine.jit=false", *settings])
    return many.plan([chosen], [0], results, force=force)


def test_a_run_that_was_finished_meanwhile_is_left_as_it_is(results: Path) -> None:
    planned_before = one(results)
    (first,) = many.execute(one(results), Quiet())
    written = first.run.directory.metadata()
    observer = Quiet()
    (second,) = many.execute(planned_before, observer)
    assert (second.status, second.run.action) == ("complete", "skip")
    assert "meanwhile" in second.run.reason
    assert first.run.directory.metadata() == written
    assert observer.ended_runs == [second]


def test_another_configs_run_that_was_finished_meanwhile_is_not_replaced(results: Path) -> None:
    planned_before = one(results)
    (first,) = many.execute(one(results, "optimizer.learning_rate=0.5"), Quiet())
    written = first.run.directory.metrics_path.read_bytes()
    (second,) = many.execute(planned_before, Quiet())
    assert second.status == "failed"
    assert "holds another config (optimizer.learning_rate: 0.5 there, 0.01 here)" in second.told
    assert first.run.directory.metrics_path.read_bytes() == written


def test_force_does_not_wait_to_replace_what_another_process_trains(results: Path) -> None:
    (run,) = one(results, force=True)
    with run.directory.locked():
        (ended,) = many.execute([run], Quiet())
    assert ended.status == "failed"
    assert "another gradclip process is training this run" in ended.told


def test_force_replaces_it_all_the_same(results: Path) -> None:
    forced = one(results, force=True)
    many.execute(one(results, "optimizer.learning_rate=0.5"), Quiet())
    (second,) = many.execute(forced, Quiet())
    assert second.status == "complete"
    assert second.run.directory.config().optimizer.learning_rate == 0.01


@pytest.mark.parametrize("jobs", [1, *slowly(2)])
def test_a_busy_run_comes_last_and_is_looked_at_again(results: Path, jobs: int) -> None:
    """Another process holds the first run's lock, and finishes it while the others are trained."""
    runs = [run for run in planned(results, [0, 1]) if run.config.name == "none"]
    busy, other = runs
    (whole,) = many.execute([run for run in planned(results / "twin", [0]) if run.config.name == "none"], Quiet())
    lock = contextlib.ExitStack()
    lock.enter_context(busy.directory.locked())

    class FinishesTheOther(Quiet):
        def ended(self, result: Result) -> None:
            super().ended(result)
            if result.run == other:
                for path in whole.run.directory.path.iterdir():
                    (busy.directory.path / path.name).write_bytes(path.read_bytes())
                lock.close()

    observer = FinishesTheOther()
    ended = many.execute(runs, observer, jobs=jobs)
    assert [result.status for result in ended] == ["complete", "complete"]
    assert [result.run.action for result in ended] == ["skip", "train"]
    assert [result.run.directory for result in observer.ended_runs] == [other.directory, busy.directory]


def test_a_folder_that_holds_something_else_is_refused_and_kept(results: Path) -> None:
    (results / "one" / "seed-0").mkdir(parents=True)
    (results / "one" / "seed-0" / "notes.txt").write_text("mine")
    with pytest.raises(ConflictError, match=r"is no run, but holds notes\.txt"):
        one(results)
    assert (results / "one" / "seed-0" / "notes.txt").read_text() == "mine"


def test_a_file_in_a_runs_place_is_refused(results: Path) -> None:
    (results / "one").mkdir(parents=True)
    (results / "one" / "seed-0").write_text("mine")
    for force in (False, True):
        with pytest.raises(ConflictError, match="is no folder"):
            one(results, force=force)


def test_a_linked_arm_is_trained_into_and_a_linked_run_is_not(results: Path, tmp_path: Path) -> None:
    (tmp_path / "disk" / "one").mkdir(parents=True)
    results.mkdir()
    (results / "one").symlink_to(tmp_path / "disk" / "one")
    (ended,) = many.execute(one(results), Quiet())
    assert ended.status == "complete"
    assert (tmp_path / "disk" / "one" / "seed-0" / "run.json").is_file()
    (results / "one").unlink()
    (results / "one").mkdir()
    (results / "one" / "seed-0").symlink_to(tmp_path / "disk" / "one" / "seed-0")
    with pytest.raises(ConflictError, match="is a link"):
        one(results, force=True)


def test_a_run_that_stopped_before_its_config_was_written_starts_over(results: Path) -> None:
    (run,) = one(results)
    run.directory.path.mkdir(parents=True)
    run.directory.write_metadata({"status": "failed"})
    (again,) = one(results)
    assert (again.action, again.reason) == ("replace", "failed before its config was written: starts over")


def test_what_a_newer_version_wrote_is_not_replaced(results: Path) -> None:
    (ended,) = many.execute(one(results), Quiet())
    path = ended.run.directory.path / "run.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(ConflictError, match="newer gradclip"):
        one(results)


def test_a_seed_that_was_changed_is_no_reason_to_train_anew(results: Path) -> None:
    (ended,) = many.execute(one(results), Quiet())
    path = ended.run.directory.config_path
    path.write_text(path.read_text().replace("seed: 0", "seed: 5"))
    with pytest.raises(ConflictError, match=r"its folder says 0, config\.yaml says 5, run\.json says 0"):
        one(results)
