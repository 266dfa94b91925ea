"""Many runs: what is built once is built once, what fails is told, and the others go on."""

from __future__ import annotations

import contextlib
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, slowly, store_run
from trained import Quiet, one

from gradclip_cli import engines
from gradclip_cli.config import loading
from gradclip_cli.config.datasets import DATASETS
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ConflictError
from gradclip_cli.problems import idx_files
from gradclip_cli.runs import many
from gradclip_cli.runs import one as trainer
from gradclip_cli.runs.loop import Outcome, Setup
from gradclip_cli.runs.many import Execution, PlannedRun, Result
from gradclip_cli.runs.one import Workshop
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.summaries import stamps
from gradclip_cli.runs.workers import in_worker_processes

pytestmark = [pytest.mark.trains, pytest.mark.usefixtures("engines_built_once")]


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
    assert ended[0].run.directory.metadata()["chance"] == {"loss": math.log(10), "accuracy": 0.1}


def test_which_data_the_other_runs_of_an_arm_saw_is_read_once_until_it_changes(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store_run(results, "none", 0, [1.0], epochs=1, dataset_sha256="0" * 64)
    read = []
    metadata = RunDirectory.metadata
    monkeypatch.setattr(RunDirectory, "metadata", lambda each: read.append(each.path) or metadata(each))

    def data() -> str | None:
        return trainer._data_of(run.path, stamps(run, ["run.json"]))

    assert [data(), data()] == ["0" * 64] * 2
    assert len(read) == 1
    stored = metadata(run)
    run.write_metadata({**stored, "dataset_sha256": "1" * 64})
    assert data() == "1" * 64
    run.metadata_path.unlink()
    assert data() is None


def test_what_takes_the_time_before_the_first_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Compiling:
        compiles = True

    monkeypatch.setattr(engines, "build", lambda chosen, dataset: Compiling())
    chosen = loading.load("none", SMALL)

    def told(workshop: Workshop, chosen: Config) -> list[str]:
        heard: list[str] = []
        workshop.prepare(chosen, None, heard.append)
        return heard

    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    assert told(Workshop(), chosen) == ["loading the dataset", "importing TensorFlow", "compiling"]
    assert told(Workshop(), loading.load("none", [*SMALL, "engine.framework=pytorch"]))[1] in (
        "importing PyTorch",
        "building the model",
    )
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    workshop = Workshop()
    assert told(workshop, chosen) == ["loading the dataset", "building the model", "compiling"]
    assert told(workshop, chosen) == ["loading the dataset", "building the model"]


def test_a_run_that_fails_is_marked_and_the_others_go_on(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = trainer.train

    def failing(setup: Setup, *others: Any, **more: Any) -> Outcome:
        if setup.config.training.seed == 1:
            raise OSError(28, "No space left on device")
        return train(setup, *others, **more)

    monkeypatch.setattr(trainer, "train", failing)
    runs = planned(results, [0, 1, 2])[:3]
    observer = Quiet()
    ended = many.execute(runs, observer)
    assert [result.status for result in ended] == ["complete", "failed", "complete"]
    assert observer.ended_runs == ended
    assert "No space left on device" in ended[1].message
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


# What another command does meanwhile.


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
    assert "holds another config (optimizer.learning_rate: 0.5 there, 0.01 here)" in second.message
    assert first.run.directory.metrics_path.read_bytes() == written


def test_force_does_not_wait_to_replace_what_another_process_trains(results: Path) -> None:
    (run,) = one(results, force=True)
    with run.directory.locked():
        (ended,) = many.execute([run], Quiet())
    assert ended.status == "failed"
    assert "another gradclip process is training this run" in ended.message


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
    ended = many.execute(runs, observer, Execution(way=in_worker_processes(jobs)))
    assert [result.status for result in ended] == ["complete", "complete"]
    assert [result.run.action for result in ended] == ["skip", "train"]
    assert [result.run.directory for result in observer.ended_runs] == [other.directory, busy.directory]


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


# What is read once.


@pytest.mark.parametrize(("seeds", "times"), [([0], 1), ([0, 1], 2)])
def test_a_lone_run_reads_its_data_once(seeds: list[int], times: int, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many read them once more, before workers do."""
    # A batch size of its own, so that no other test gets an engine that took the sample for the whole.
    chosen = loading.load("none", [*SMALL[1:], "engine.jit=false", "data.batch_size=31"])
    sample = DATASETS[chosen.data.dataset].sample
    read: list[str] = []

    def locate(name: str, folder: Path | None = None, **others: Any) -> idx_files.Source:
        read.append(name)
        directory = idx_files.sample_directory(name)
        return idx_files.Source(directory, "the sample", idx_files._read_all(directory, sample.files))

    monkeypatch.setattr(idx_files, "locate", locate)
    ended = many.execute(many.plan([chosen], seeds, results), Quiet())
    assert {result.status for result in ended} == {"complete"}
    assert len(read) == times
