"""Run directories: every file name and column in them, written so that a crash leaves the old or the new, never half.

`results/<arm>/seed-<n>/` holds `config.yaml`, `metrics.csv` (a row an epoch), `steps.csv` (a row a step), `run.json`, while it
is unfinished `checkpoint.npz` and, where asked for, the model in its framework's own format. Times stand in `run.json` alone,
so the CSVs are reproducible to the byte. A checkpoint holds the CSVs' lengths at its moment: what a crash left beyond them is cut
off before a run goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradclip_cli import config as configs
from gradclip_cli.errors import ConfigError, ConflictError, StoreError
from gradclip_cli.files import replacing, unwritable, write_atomically
from gradclip_cli.schema import Config

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    Array = npt.NDArray[Any]

SCHEMA = 1
METRICS = (
    "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "grad_norm_median", "grad_norm_max", "clipped_fraction",
)  # fmt: skip
STEPS = ("step", "loss", "penalty", "correct", "grad_norm", "applied_norm", "clipped")
STEPS_PER_VARIABLE = ("norm", "max_abs", "applied_norm", "applied_max_abs")
MODEL_FILES = {"tensorflow": "model.keras", "pytorch": "model.pt"}
FINISHED = ("complete", "diverged")
_LENGTHS = "lengths"


def step_columns(variables: Sequence[str]) -> list[str]:
    """Columns of `steps.csv` for these variables: the common ones, then `norm/lstm/kernel` and so on."""
    return [*STEPS, *(f"{quantity}/{variable}" for quantity in STEPS_PER_VARIABLE for variable in variables)]


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a run: named arrays, all that going on needs, and how long both CSVs were then, in bytes."""

    arrays: Mapping[str, Array]
    metrics_bytes: int
    steps_bytes: int


@dataclass(frozen=True)
class RunDirectory:
    """One run's folder. Nothing is created before `start`."""

    path: Path

    @classmethod
    def of(cls, results: Path, arm: str, seed: int) -> RunDirectory:
        """The directory of an arm's run with this seed."""
        return cls(results / arm / f"seed-{seed}")

    @property
    def arm(self) -> str:
        return self.path.parent.name

    @property
    def seed(self) -> int:
        return int(self.path.name.removeprefix("seed-"))

    @property
    def config_path(self) -> Path:
        return self.path / "config.yaml"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def steps_path(self) -> Path:
        return self.path / "steps.csv"

    @property
    def checkpoint_path(self) -> Path:
        return self.path / "checkpoint.npz"

    def model_path(self, framework: str) -> Path:
        """Where the trained model is saved, in the framework's own format."""
        return self.path / MODEL_FILES[framework]

    def config(self) -> Config:
        """The config that was trained. Raises StoreError where it can't be read."""
        try:
            return configs.load_stored(self.config_path)
        except ConfigError as error:
            raise StoreError(f"{self.path}: its config can't be read: {error}") from None

    def metadata(self) -> dict[str, Any]:
        """What `run.json` says. Raises StoreError where it can't be read."""
        try:
            content = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path}: run.json can't be read: {error}") from None
        if not isinstance(content, dict) or not isinstance(content.get("status"), str):
            raise StoreError(f"{self.path}: run.json is not one of gradclip's")
        return content

    def status(self) -> str:
        """The run's status; `none` where there is no run, `unreadable` where its `run.json` is broken."""
        if not (self.path / "run.json").exists():
            return "none"
        try:
            return str(self.metadata()["status"])
        except StoreError:
            return "unreadable"

    def metrics(self) -> pd.DataFrame:
        """Read `metrics.csv`. Raises StoreError where it is cut short, edited or missing."""
        import pandas as pd

        try:
            frame = pd.read_csv(self.metrics_path)
            content = self.metrics_path.read_bytes()
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.metrics_path}: can't be read: {str(error).splitlines()[0]}") from None
        metadata = self.metadata()
        recorded = metadata.get("metrics_sha256")
        if tuple(frame.columns) != METRICS or len(frame) != metadata.get("epochs"):
            raise StoreError(
                f"{self.metrics_path}: holds {len(frame)} epochs where {metadata.get('epochs')} were trained: cut short?"
            )
        if len(frame) and not all(pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes):
            raise StoreError(f"{self.metrics_path}: holds something that is not a number")
        if recorded and hashlib.sha256(content).hexdigest() != recorded:
            raise StoreError(f"{self.metrics_path}: was changed after the run wrote it (its SHA-256 differs)")
        return frame

    def steps(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read `steps.csv`, or some of its columns. Raises StoreError where it is missing or broken."""
        import pandas as pd

        try:
            return pd.read_csv(self.steps_path, usecols=None if columns is None else list(columns))
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.steps_path}: can't be read: {str(error).splitlines()[0]}") from None

    def steps_in_pieces(self, rows: int) -> Iterator[pd.DataFrame]:
        """Read `steps.csv` some rows at a time, however long it is. Raises StoreError where it is missing or broken."""
        import pandas as pd

        try:
            with pd.read_csv(self.steps_path, chunksize=rows) as pieces:
                yield from pieces
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.steps_path}: can't be read: {str(error).splitlines()[0]}") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out. Raises ConflictError where one is at work, StoreError where nothing can be written."""
        import filelock

        lock = filelock.FileLock(self.path / ".lock")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise ConflictError(f"{self.path}: another gradclip process is training this run; wait for it or stop it") from None
        except OSError as error:
            raise unwritable(self.path, error) from None
        try:
            yield
        finally:
            (self.path / ".lock").unlink(missing_ok=True)  # filelock notices a lock whose file is gone
            lock.release()

    def start(self, config: Config, variables: Sequence[str], metadata: Mapping[str, Any]) -> None:
        """Clear what an earlier run left and begin: config, `run.json` as running, both CSVs with their headers."""
        self._clear()
        write_atomically(self.config_path, configs.to_yaml(config))
        self.write_metadata({**metadata, "status": "running"})
        _append(self.metrics_path, [",".join(METRICS)])
        _append(self.steps_path, [",".join(step_columns(variables))])

    def write_checkpoint(self, arrays: Mapping[str, Array]) -> None:
        """Keep this moment, in place of an earlier one. Both CSVs must be written up to it."""
        import numpy as np

        lengths = np.array([self.metrics_path.stat().st_size, self.steps_path.stat().st_size])
        with replacing(self.checkpoint_path) as file:
            np.savez(file, allow_pickle=False, **{_LENGTHS: lengths, **arrays})

    def read_checkpoint(self) -> Checkpoint | None:
        """The last checkpoint; None where there is none. Raises StoreError where it can't be used, with the reason."""
        import numpy as np

        try:
            with np.load(self.checkpoint_path, allow_pickle=False) as file:
                arrays = dict(file)
            metrics_bytes, steps_bytes = arrays.pop(_LENGTHS).tolist()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise StoreError(f"its checkpoint can't be read ({str(error).splitlines()[0]})") from None
        for path, length in ((self.metrics_path, metrics_bytes), (self.steps_path, steps_bytes)):
            if not _ends_a_line(path, length):
                raise StoreError(f"{path.name} is shorter than its checkpoint says, or was changed")
        return Checkpoint(arrays, metrics_bytes, steps_bytes)

    def resume(self, checkpoint: Checkpoint, config: Config, metadata: Mapping[str, Any]) -> None:
        """Cut off what was written after a checkpoint and go on: config, `run.json` as running."""
        for path, length in ((self.metrics_path, checkpoint.metrics_bytes), (self.steps_path, checkpoint.steps_bytes)):
            os.truncate(path, length)
        write_atomically(self.config_path, configs.to_yaml(config))
        self.write_metadata({**metadata, "status": "running"})

    def remove_checkpoint(self) -> None:
        """Forget the checkpoint of a finished run."""
        self.checkpoint_path.unlink(missing_ok=True)

    def _clear(self) -> None:
        for path in self.path.iterdir():
            if path.name != ".lock":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def write_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Replace `run.json`."""
        write_atomically(self.path / "run.json", json.dumps({"schema": SCHEMA, **metadata}, indent=2, allow_nan=False) + "\n")

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Add an epoch's row; floats are written so that reading gives the same number."""
        epoch, *values = (row[column] for column in METRICS)
        _append(self.metrics_path, [",".join([str(int(epoch)), *(repr(float(value)) for value in values)])])

    def append_steps(self, rows: Iterable[Sequence[float]]) -> None:
        """Add rows in the order of `step_columns`, floats with six significant digits."""
        _append(
            self.steps_path,
            (",".join([str(value) if isinstance(value, int) else f"{value:.6g}" for value in row]) for row in rows),
        )

    def metrics_sha256(self) -> str:
        """SHA-256 of `metrics.csv` as it is."""
        return hashlib.sha256(self.metrics_path.read_bytes()).hexdigest()

    def remove(self) -> None:
        """Delete the run, and the arm's folder if it was its last. Raises ConflictError where it is being trained."""
        with self.locked():
            self._clear()
        self.path.rmdir()
        if not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()


def runs(results: Path) -> list[RunDirectory]:
    """All runs under a results folder, by arm and seed."""
    return [run for arm in sorted(results.glob("*/")) for run in runs_of(arm)]


def runs_of(arm: Path) -> list[RunDirectory]:
    """All runs in an arm's folder, by seed."""
    found = [RunDirectory(path.parent) for path in arm.glob("seed-*/run.json") if path.parent.name[5:].isdecimal()]
    return sorted(found, key=lambda run: run.seed)


def _ends_a_line(path: Path, length: int) -> bool:
    """Whether a file is at least this long and a line ends there."""
    try:
        with open(path, "rb") as file:
            file.seek(length - 1)
            return file.read(1) == b"\n"
    except OSError:
        return False


def _append(path: Path, lines: Iterable[str]) -> None:
    with open(path, "a", encoding="utf-8", newline="") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
