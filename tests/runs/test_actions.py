"""What is to be done with a run's directory, and what is never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import FACTS, SMALL, latest
from trained import Quiet, one

from gradclip_cli.config import loading
from gradclip_cli.errors import ConflictError
from gradclip_cli.runs import many

pytestmark = pytest.mark.usefixtures("engines_built_once")


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


def test_a_run_that_stopped_before_its_config_was_written_starts_over(results: Path) -> None:
    (run,) = one(results)
    run.directory.path.mkdir(parents=True)
    run.directory.write_metadata({"status": "failed"})
    (again,) = one(results)
    assert (again.action, again.reason) == ("replace", "failed before its config was written: starts over")


@pytest.mark.trains
def test_what_a_newer_version_wrote_is_not_replaced(results: Path) -> None:
    (ended,) = many.execute(one(results), Quiet())
    path = ended.run.directory.path / "run.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(ConflictError, match="newer gradclip"):
        one(results)


@pytest.mark.trains
def test_a_seed_that_was_changed_is_no_reason_to_train_anew(results: Path) -> None:
    (ended,) = many.execute(one(results), Quiet())
    path = ended.run.directory.config_path
    path.write_text(path.read_text().replace("seed: 0", "seed: 5"))
    with pytest.raises(ConflictError, match=r"its folder says 0, config\.yaml says 5, run\.json says 0"):
        one(results)
