"""A recorded run's directory, whoever records: what it holds, how it ends, and that the loop never hears of a failure."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recordings import SEEN, records

from gradclip_cli.config.recorded import RecordedConfig
from gradclip_cli.recorder.epochs import MOST_NORMS, EpochNorms
from gradclip_cli.recorder.places import Place
from gradclip_cli.recorder.recording import Recording
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.store import RUN_VARIABLE, RunDirectory, runs


def recorded(folder: Path, scores: list[dict[str, float]], **options: int) -> RunDirectory:
    """A complete recording of four steps an epoch."""
    recording = Recording(Place(folder), **options)
    recording.begin(SEEN)
    for number, row in enumerate(scores, 1):
        recording.steps = 4 * number * options.get("every", 1)
        recording.add(records())
        recording.end_epoch(row)
    recording.finish()
    return RunDirectory.at(folder)


def test_it_is_a_run_as_others_are(tmp_path: Path) -> None:
    run = recorded(tmp_path / "mine" / "seed-3", [{"loss": 1.5, "accuracy": 0.5, "val_loss": 1.4, "val_accuracy": 0.6}] * 2)
    metadata, config = run.stored()
    assert (config.name, config.training.seed, config.training.epochs, config.training.steps_per_epoch) == ("mine", 3, 2, 4)
    assert metadata["status"] == "complete"
    assert metadata["recorded"] is True
    assert metadata["seed_named"] is True
    assert metadata["metrics"] == {"accuracy": {"higher_is_better": True}}
    assert metadata["clipped_steps"] == {"dense/kernel": 4, "dense/bias": 4}
    assert metadata["health"]["word"] == "healthy"
    assert run.metrics()["val_accuracy"].tolist() == [0.6, 0.6]
    assert run.metrics()["grad_norm_median"].tolist() == [12.5, 12.5]
    assert run.metrics()["clipped_fraction"].tolist() == [0.5, 0.5]
    steps = run.steps()
    assert steps["step"].tolist() == list(range(1, 9))
    assert steps["grad_norm"].tolist() == [5.0, 10.0, 15.0, 20.0] * 2
    assert [found.path for found in runs(tmp_path)] == [run.path]


def test_one_step_in_several(tmp_path: Path) -> None:
    run = recorded(tmp_path / "mine" / "seed-0", [{"loss": 1.5}], every=5)
    assert run.metadata()["steps"] == 20
    assert run.steps()["step"].tolist() == [5, 10, 15, 20]


def test_columns_that_come_later_are_added(tmp_path: Path) -> None:
    run = recorded(tmp_path / "mine" / "seed-0", [{"loss": 3.0}, {"loss": 2.0, "val_loss": 2.5}, {"loss": 1.0, "mae": 0.1}])
    metrics = run.metrics()
    assert metrics["loss"].tolist() == [3.0, 2.0, 1.0]
    assert np.array_equal(metrics["val_loss"], [np.nan, 2.5, np.nan], equal_nan=True)
    assert run.metadata()["metrics"] == {"mae": {"higher_is_better": False}}


def test_a_place_without_a_seed_is_the_next_one_that_is_free(tmp_path: Path) -> None:
    for _ in range(2):
        recording = Recording(Place(tmp_path / "mine"))
        recording.begin(SEEN)
        recording.finish()
    assert [(run.seed, run.metadata()["seed_named"]) for run in runs(tmp_path)] == [(0, False), (1, False)]


def test_a_loss_or_weight_that_is_not_finite_is_told(tmp_path: Path) -> None:
    for name, broken in {
        "loss": replace(records(), loss=np.array([1.0, np.nan, 1.0, 1.0])),
        "weights": replace(records(), weights_finite=np.array([[True, True]] * 3 + [[True, False]])),
    }.items():
        recording = Recording(Place(tmp_path / name / "seed-0"))
        recording.begin(SEEN)
        recording.steps = 8
        recording.add(records())
        recording.add(broken)
        recording.end_epoch({"loss": 1.0})
        recording.finish()
    told = {run.arm: run.metadata()["diverged"] for run in runs(tmp_path)}
    assert {name: where["step"] for name, where in told.items()} == {"loss": 6, "weights": 8}
    assert told["weights"]["variables"] == ["dense/bias"]
    assert {run.status() for run in runs(tmp_path)} == {Status.DIVERGED}


def test_an_unknown_loss_is_no_divergence(tmp_path: Path) -> None:
    recording = Recording(Place(tmp_path / "mine" / "seed-0"))
    recording.begin(SEEN)
    recording.steps = 4
    recording.add(replace(records(), loss=np.full(4, np.nan)), loss_known=False)
    recording.end_epoch({})
    recording.finish()
    [run] = runs(tmp_path)
    assert run.status() == Status.COMPLETE
    assert run.steps()["loss"].isna().all()


def test_a_finished_recording_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "seed-0"
    before = recorded(folder, [{"loss": 1.0}]).metadata_path.read_bytes()
    with pytest.warns(RuntimeWarning, match="holds a complete run; replace=True"):
        recorded(folder, [{"loss": 2.0}])
    assert RunDirectory.at(folder).metadata_path.read_bytes() == before
    assert recorded(folder, [{"loss": 2.0}], replace=True).metrics()["loss"].tolist() == [2.0]


def test_an_unfinished_recording_that_is_replaced_is_told_once(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "seed-0"
    directory = recorded(folder, [{"loss": 1.0}])
    for status, word in {"interrupted": "an interrupted", "failed": "a failed", "running": "an unfinished"}.items():
        directory.write_metadata({**directory.metadata(), "status": status})
        with pytest.warns(RuntimeWarning, match=f"seed-0: held {word} recording, which this one replaces") as told:
            recorded(folder, [{"loss": 2.0}])
        assert [Path(each.filename).name for each in told] == [Path(__file__).name]
        assert directory.status() == Status.COMPLETE


def test_where_a_recording_is_is_said_once_at_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recording = Recording(Place(tmp_path / "mine" / "seed-0"))
    for fits in (1, 2):
        recording.begin(SEEN)
        recording.steps = 1200 * fits
        recording.add(records(1200))
        recording.finish()
    path = tmp_path / "mine" / "seed-0"
    assert caplog.record_tuples == [("gradclip", logging.INFO, f"recorded 1,200 steps in {path}; see: gradclip show {path}")]


def test_the_last_line_says_what_was_left_out_and_how_it_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorded(tmp_path / "mine" / "seed-0", [{"loss": 1.5}], every=5)
    recording = Recording(Place(tmp_path / "mine" / "seed-1"))
    recording.begin(SEEN)
    recording.finish(Status.INTERRUPTED, "KeyboardInterrupt")
    first, second = (message.partition(" in ")[0] for message in caplog.messages)
    assert (first, second) == ("recorded 4 of 20 steps", "recorded 0 steps of an interrupted training")


SILENT = "logging.getLogger('gradclip').setLevel('WARNING')"


@pytest.mark.parametrize("before", ["", SILENT, "os.environ['GRADCLIP_RUN'] = 'planned/seed-0'"])
def test_the_last_line_stands_on_stderr_unless_it_is_silenced_or_gradclip_started_the_script(before: str, tmp_path: Path) -> None:
    script = f"""
        import logging, os, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        {before}
        from gradclip_cli.config.recorded import RecordedConfig
        from gradclip_cli.recorder.places import Place
        from gradclip_cli.recorder.recording import Recording
        from gradclip_cli.runs.store import RunDirectory
        from recordings import SEEN, records
        planned = RunDirectory.at(Path("planned/seed-0").absolute())
        planned.path.mkdir(parents=True)
        planned.start_recording(RecordedConfig(name="planned").with_seed(0), {{}})
        recording = Recording(Place("my runs/mine/seed-0"))
        recording.begin(SEEN)
        recording.add(records())
        recording.steps = 4
        recording.finish()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    place = "'my runs/mine/seed-0'"
    told = "" if before else f"gradclip: recorded 4 steps in {place}; see: gradclip show {place}\n"
    assert (done.stdout, done.stderr) == ("", told)


def test_files_of_others_are_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "seed-0"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.warns(RuntimeWarning, match=r"is no run, but holds notes\.txt"):
        recorded(folder, [{"loss": 1.0}])
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_folder_that_can_t_be_written_is_told_once_and_the_loop_goes_on(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a file")
    recording = Recording(Place(tmp_path / "mine" / "seed-0"))
    with pytest.warns(RuntimeWarning, match="which goes on"):
        recording.begin(SEEN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording.add(records())
        recording.end_epoch({"loss": 1.0})
        recording.finish()
    assert recording.failed


def test_where_warnings_are_errors_it_is_told_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("a file")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Recording(Place(tmp_path / "mine" / "seed-0")).begin(SEEN)
    assert "which goes on" in capsys.readouterr().err


@pytest.mark.parametrize(("folder", "seed", "message"), [(None, None, "where to record"), ("x/seed-1", 2, "folder of seed 1")])
def test_a_place_that_can_t_be_meant_is_a_mistake(folder: str | None, seed: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Place(folder, seed)


ENDINGS = {
    "raise ValueError('mine')": ("failed", "ValueError: mine"),
    "raise KeyboardInterrupt": ("interrupted", "KeyboardInterrupt: "),
    "raise SystemExit(3)": ("failed", "the process ended before the training did"),
}


@pytest.mark.parametrize("statement", ENDINGS)
def test_a_loop_that_never_ends_is_told_by_its_process(statement: str, tmp_path: Path) -> None:
    script = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from gradclip_cli.recorder.places import Place
        from gradclip_cli.recorder.recording import Recording
        from recordings import SEEN, records
        recording = Recording(Place("mine/seed-0"))
        recording.begin(SEEN)
        recording.steps = 4
        recording.add(records())
        {statement}
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=False, stderr=subprocess.DEVNULL)
    metadata = json.loads((tmp_path / "mine" / "seed-0" / "run.json").read_text())
    assert (metadata["status"], metadata["reason"]) == ENDINGS[statement]
    assert metadata["steps"] == 4


@pytest.mark.filterwarnings("ignore:.* held a failed recording")
def test_a_loop_that_is_broken_off_and_begun_anew_is_recorded_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In one process, as in a notebook: nobody holds on to the first recorder, which has not been told of its end."""
    for steps in (1, 2):
        recording = Recording(Place(tmp_path / "mine" / "seed-0"))
        recording.begin(SEEN)
        recording.steps = steps
        recording.add(records(steps))
        del recording
    run = RunDirectory.at(tmp_path / "mine" / "seed-0")
    assert run.metadata()["status"] == "running"
    recorded_again = Recording(Place(run.path))
    recorded_again.begin(SEEN)
    recorded_again.finish()
    assert run.status() == Status.COMPLETE
    assert [message.partition(" in ")[0] for message in caplog.messages] == ["recorded 0 steps"]  # of the last only


def test_a_script_that_gradclip_started_is_recorded_where_it_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN_VARIABLE, str(tmp_path / "planned" / "seed-7"))
    place = Place("elsewhere/seed-1")
    assert (place.seed, place.arm) == (7, tmp_path / "planned")


def test_a_script_s_run_has_one_recorder_and_the_second_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = RunDirectory.at(tmp_path / "planned" / "seed-7")
    directory.path.mkdir(parents=True)
    directory.start_recording(RecordedConfig(name="planned", values={"clip": 1.0}).with_seed(7), {})
    directory.log_path.write_text("printed before")
    monkeypatch.setenv(RUN_VARIABLE, str(directory.path))
    first, second = Recording(Place("one/seed-1")), Recording(Place("other/seed-2"))
    first.begin(SEEN)
    with pytest.warns(RuntimeWarning, match="another recorder records this run already; a command trains one run"):
        second.begin(SEEN)
    for recording in (first, second):
        recording.steps = 4
        recording.add(records())
        recording.end_epoch({"loss": 1.0})
        recording.finish()
    metadata, config = directory.stored()
    assert (metadata["status"], directory.count_steps()) == ("complete", 4)
    assert config.model_dump() == first._config.model_dump()
    assert config.model_dump()["values"] == {"clip": 1.0}
    assert directory.log_path.read_text() == "printed before"
    with pytest.warns(RuntimeWarning, match="another recorder"):
        Recording(Place(None)).begin(SEEN)  # as a script would that is started by hand with the variable set
    assert directory.status() == "complete"


def test_an_epoch_s_norms_take_no_more_room_however_many_they_are() -> None:
    norms = EpochNorms()
    for piece in range(40):
        norms.add(records(1000, scale=1 + piece / 1000))
    assert len(norms._norms) <= MOST_NORMS
    assert norms.summary()["grad_norm_median"] == pytest.approx(2500, rel=0.05)
    assert norms.summary()["grad_norm_max"] == 5000 * 1.039


@pytest.mark.endurance
def test_memory_is_flat_over_a_million_steps(tmp_path: Path) -> None:
    """While the steps come: what is read at the end, for the diagnosis, is left to `gradclip show` in such long runs."""
    recording, resident = Recording(Place(tmp_path / "mine" / "seed-0")), {}
    recording.begin(SEEN)
    for piece in range(1, 4001):
        recording.add(records(250))
        recording.steps = 250 * piece
        if piece in (2000, 4000):
            resident[piece] = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    recording.end_epoch({"loss": 1.0})
    recording.finish()
    assert resident[4000] - resident[2000] < 4_000_000  # bytes
    run = RunDirectory.at(tmp_path / "mine" / "seed-0")
    assert (run.count_steps(), run.metadata()["health"]) == (1_000_000, None)
