"""What a worker of a Dask cluster does: it trains a run in a temporary directory, and returns the files."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gradclip_cli import __version__
from gradclip_cli.problems import unpacked
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.one import Workshop
from gradclip_cli.runs.store import MODEL_FILES, RunDirectory
from gradclip_cli.runs.trainers import Task


@functools.cache
def _this_worker() -> Workshop:
    return Workshop()


def train_on_worker(
    version: str, asked: Task, own_files: Mapping[str, bytes], data_directory: str | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, bytes]]:
    """Train a run in a temporary directory of a Dask worker: how it ended, its `run.json`, and its other files by name."""
    from distributed import get_worker

    worker = get_worker()
    if version != __version__:
        raise RuntimeError(f"worker {worker.address} has gradclip {__version__}, the command was given to {version}")
    with tempfile.TemporaryDirectory(prefix="gradclip-", dir=worker.local_directory) as folder:
        directory = RunDirectory(Path(folder) / "run")
        data = Path(data_directory) if data_directory else None
        config = unpacked(asked.load_config(), own_files, Path(worker.local_directory))
        kept = {"save_model": asked.save_model, "keep_checkpoint": asked.keep_checkpoint}
        task = Task.of(config, directory, data_directory=data, **kept)
        ending = _this_worker().train(task, lambda event: None, _dropped(worker))
        paths = [directory.metrics_path, directory.steps_path, *map(directory.model_path, MODEL_FILES)]
        paths += [directory.checkpoint_path] if asked.keep_checkpoint else []
        files = {path.name: path.read_bytes() for path in paths if path.exists()}
        return asdict(ending), directory.metadata() if directory.status() != Status.NONE else {}, files


def _dropped(worker: Any) -> Callable[[], bool]:
    """Says whether the run that this thread trains is wanted no more: it was cancelled, or the coordinator is gone."""
    key = worker.get_current_task()

    def dropped() -> bool:
        state = worker.state.tasks.get(key)
        return state is None or state.state == "cancelled"

    return dropped
