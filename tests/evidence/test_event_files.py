"""Event files, read back by TensorBoard's own reader: their scalars are the numbers of the run's files."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import store_run
from exported import TAGS_OF_EPOCHS, TAGS_OF_STEPS, record, store_older, store_telling, write_steps

from gradclip_cli.errors import ExportError, StoreError
from gradclip_cli.evidence import event_files, exports
from gradclip_cli.evidence.exports import Detail
from gradclip_cli.runs.store import RunDirectory


@pytest.fixture(autouse=True)
def without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard's way to say that its reader need not import TensorFlow."""
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))


def scalars(run: RunDirectory, folder: Path, detail: Detail = Detail.VARIABLES) -> dict[str, list[Any]]:
    """The events of a run by their tags, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (found,), _ = exports.read([run], detail)
    path = event_files.write(folder, found, detail)
    assert path.parent == folder / run.arm / run.path.name
    assert [each.name for each in path.parent.iterdir()] == [event_files.EVENTS]
    read = EventAccumulator(str(path.parent), size_guidance={"scalars": 0}).Reload()
    return {tag: read.Scalars(tag) for tag in read.Tags()["scalars"]}


def float32(values: list[float]) -> list[float]:
    """As TensorBoard's scalars hold them."""
    found: list[float] = np.array(values, dtype=np.float32).tolist()
    return found


def test_each_column_is_a_scalar_with_its_numbers(results: Path, tmp_path: Path) -> None:
    run = store_telling(results)
    found = scalars(run, tmp_path / "events")
    steps, metrics = pd.read_csv(run.steps_path), pd.read_csv(run.metrics_path)
    assert set(found) == {*TAGS_OF_STEPS.values(), *TAGS_OF_EPOCHS.values()}
    assert set(TAGS_OF_STEPS) == set(steps) - {"step"}
    for column, tag in TAGS_OF_STEPS.items():
        assert [event.step for event in found[tag]] == steps["step"].tolist()
        assert [event.value for event in found[tag]] == float32(steps[column].tolist())
    for column, tag in TAGS_OF_EPOCHS.items():
        assert [event.step for event in found[tag]] == [4, 8, 12]
        assert [event.value for event in found[tag]] == float32(metrics[column].tolist())


def test_times_are_spread_over_the_run_s(results: Path, tmp_path: Path) -> None:
    events = scalars(store_telling(results), tmp_path)["step/loss"]
    started = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    assert [event.wall_time - started for event in events] == [2.0 * step for step in range(1, 13)]


@pytest.mark.parametrize("started", [None, "yesterday"])
def test_a_run_whose_start_is_not_known(results: Path, tmp_path: Path, started: str | None) -> None:
    run = store_run(results, "none", 0, [2.0], started=started, seconds=8.0)
    assert [event.wall_time for event in scalars(run, tmp_path)["step/loss"]] == [2.0, 4.0, 6.0, 8.0]


def test_an_older_and_a_recorded_run(results: Path, tmp_path: Path) -> None:
    assert set(scalars(store_older(results), tmp_path)) == {*TAGS_OF_STEPS.values(), *TAGS_OF_EPOCHS.values()} - {"update norm"}
    found = scalars(record(results / "mine" / "seed-0"), tmp_path)
    assert [event.step for event in found["norm after clipping/dense/bias"]] == list(range(5, 41, 5))
    assert [event.step for event in found["epoch/loss"]] == [20, 40]
    assert "epoch/val_loss" not in found


def test_what_is_not_finite_stays_so(results: Path, tmp_path: Path) -> None:
    run = write_steps(store_telling(results), lambda frame: frame.assign(grad_norm=[np.inf, np.nan] * 6))
    found = [event.value for event in scalars(run, tmp_path)["gradients/norm before clipping"]]
    assert found[0] == np.inf
    assert np.isnan(found[1])


def test_detail_says_how_much(results: Path, tmp_path: Path) -> None:
    run = store_telling(results)
    assert set(scalars(run, tmp_path / "epochs", Detail.EPOCHS)) == set(TAGS_OF_EPOCHS.values())
    of_steps = scalars(run, tmp_path / "steps", Detail.STEPS)
    assert {tag for tag in of_steps if "kernel" in tag} == set()
    assert "gradients/norm after clipping" in of_steps


def test_the_same_run_gives_the_same_bytes(results: Path, tmp_path: Path) -> None:
    (run,), _ = exports.read([store_telling(results)], Detail.VARIABLES)
    first, second = (event_files.write(tmp_path / name, run, Detail.VARIABLES).read_bytes() for name in ("one", "other"))
    assert first == second


def test_a_failure_leaves_what_was_there(results: Path, tmp_path: Path) -> None:
    stored = store_telling(results)
    (run,), _ = exports.read([stored], Detail.STEPS)
    before = event_files.write(tmp_path, run, Detail.STEPS).read_bytes()
    write_steps(stored, lambda frame: frame.iloc[::-1])
    with pytest.raises(StoreError, match="not every step"):
        event_files.write(tmp_path, run, Detail.STEPS)
    folder = event_files.event_folder(tmp_path, run)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {event_files.EVENTS: before}


def test_a_folder_in_use_wants_force_and_a_run_s_own_is_refused(results: Path, tmp_path: Path) -> None:
    found, _ = exports.read([store_run(results, "none", 0, [2.0])], Detail.EPOCHS)
    event_files.require_free(tmp_path / "events", found, force=False)
    event_files.write(tmp_path / "events", found[0], Detail.EPOCHS)
    with pytest.raises(ExportError, match="is there already; --force"):
        event_files.require_free(tmp_path / "events", found, force=False)
    event_files.require_free(tmp_path / "events", found, force=True)
    with pytest.raises(ExportError, match="is the folder of a run"):
        event_files.require_free(results, found, force=True)


def test_a_place_that_can_t_be_written_is_told(results: Path, tmp_path: Path) -> None:
    (tmp_path / "events").write_text("a file")
    found, _ = exports.read([store_run(results, "none", 0, [2.0])], Detail.EPOCHS)
    with pytest.raises(StoreError, match=r"can't be written .*--tensorboard"):
        event_files.write(tmp_path / "events", found[0], Detail.EPOCHS)


def test_a_missing_tensorboard_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    event_files.require_installed()
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    with pytest.raises(ExportError, match=r"pip install 'gradclip-cli\[tensorboard\]'"):
        event_files.require_installed()


def test_it_imports_no_framework(results: Path, tmp_path: Path) -> None:
    store_run(results, "none", 0, [2.0])
    code = (
        "import sys\n"
        f"sys.argv = ['gradclip', 'export', '--results', {str(results)!r}, '--tensorboard', {str(tmp_path / 'events')!r}]\n"
        "from gradclip_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    code = ended.code\n"
        "assert not code and 'tensorboard' in sys.modules\n"
        "assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "events" / "none" / "seed-0" / event_files.EVENTS).exists()
