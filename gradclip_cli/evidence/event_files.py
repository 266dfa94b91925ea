"""Stored runs as TensorBoard shows them: an event file a run, made of TensorBoard's own records. Imports no TensorFlow.

TensorBoard's `EventFileWriter` imports TensorFlow wherever it is installed; the `RecordWriter` beneath it doesn't.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradclip_cli.errors import ExportError
from gradclip_cli.evidence.exports import Detail, Done, ExportedRun, Quantity, of_epochs, of_steps, unheard
from gradclip_cli.files import replaced_by, unwritable

if TYPE_CHECKING:
    import pandas as pd

EVENTS = "events.out.tfevents.gradclip"
_TEMPORARY = ".gradclip-export"  # not called as TensorBoard's files are, lest it reads what is not whole
FILE_VERSION = "brain.Event:2"
"""What TensorBoard's files begin with."""


def require_installed() -> None:
    """Raises ExportError where TensorBoard is not installed."""
    try:
        import tensorboard.compat.proto.event_pb2
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError:
        raise ExportError(
            "--tensorboard needs TensorBoard, which is not installed: pip install 'gradclip-cli[tensorboard]'"
        ) from None


def event_folder(folder: Path, run: ExportedRun) -> Path:
    """Where a run's event file stands in a folder of many: TensorBoard calls the run by this path."""
    return folder / run.directory.arm / run.directory.path.name


def require_free(folder: Path, runs: Iterable[ExportedRun], *, force: bool) -> None:
    """Raises ExportError where something is in a run's event folder; with `force` only where that is a run's own folder."""
    for each in (event_folder(folder, run) for run in runs):
        if (each / "run.json").exists() or (each / "metrics.csv").exists():
            raise ExportError(f"{each}: is the folder of a run, where only gradclip's own files belong; name another DIR")
        if each.is_dir() and any(each.iterdir()) and not force:
            raise ExportError(f"{each}: is there already; --force replaces gradclip's event file in it")


def write(folder: Path, run: ExportedRun, detail: Detail, done: Done = unheard) -> Path:
    """Write a run's event file, whole or not at all, and return its path. Raises StoreError.

    Scalars of epochs stand at the step at their end. Their times are spread evenly over the run's.
    """
    from tensorboard.summary.writer.record_writer import RecordWriter

    path = event_folder(folder, run) / EVENTS
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_by(path, path.with_name(_TEMPORARY)) as temporary, open(temporary, "wb") as file:
            _write_events(RecordWriter(file).write, run, detail, done)
    except OSError as error:
        raise unwritable(path.parent, error, "--tensorboard") from None
    return path


def _write_events(record: Callable[[bytes], None], run: ExportedRun, detail: Detail, done: Done) -> None:
    from tensorboard.compat.proto.event_pb2 import Event

    time = _clock(run.metadata)
    record(Event(wall_time=time(0), file_version=FILE_VERSION).SerializeToString())
    if run.metrics is not None:
        _write_scalars(record, time, run.metrics, of_epochs)
    for piece in run.pieces(detail, done):
        _write_scalars(record, time, piece, of_steps)


def _write_scalars(
    record: Callable[[bytes], None], time: Callable[[int], float], frame: pd.DataFrame, named: Callable[[str], Quantity]
) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    columns = [str(column) for column in frame if column not in ("epoch", "step")]
    tags = [named(column).tag for column in columns]
    for step, values in zip(frame["step"].tolist(), frame[columns].to_numpy(float).tolist(), strict=True):
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in zip(tags, values, strict=True)]
        record(Event(wall_time=time(step), step=step, summary=Summary(value=scalars)).SerializeToString())


def _clock(metadata: dict[str, Any]) -> Callable[[int], float]:
    """The time of a step, in seconds since 1970: as if each had taken as long; from 1970 on where no start is known."""
    started = 0.0
    with contextlib.suppress(ValueError):
        started = datetime.fromisoformat(metadata.get("started") or "").timestamp()
    a_step = (metadata.get("seconds") or 0.0) / max(1, metadata.get("steps") or 0)
    return lambda step: started + step * a_step
