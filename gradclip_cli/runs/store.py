"""Run directories: the names of all files in them, written so that a crash leaves the old or the new, never half.

`results/<arm>/seed-<n>/` holds `config.yaml`, `metrics.csv` (a row an epoch), `steps.csv` (a row a step), `run.json`, while it
is unfinished `checkpoint.npz` and, where asked for, the model in its framework's own format; of a script `output.log`, what it
printed.

What is stored is read as input: regular files only, bounded, checked. In a run's folder, and below a results folder, nothing is
ever deleted but files of these names.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.errors import ConfigError, StoreError
from gradclip_cli.files import Packed, Readable, read_bounded, replaced_by, write_atomically, writing
from gradclip_cli.limits import MOST_CONFIG_BYTES
from gradclip_cli.runs import checkpoints, csv_files, locks, packs
from gradclip_cli.runs.checkpoints import Checkpoint
from gradclip_cli.runs.csv_files import GrowingCsv, metric_columns
from gradclip_cli.runs.metadata import (
    FINISHED,
    Status,
    counts_correct,
    is_evaluated,
    metadata_json,
    metrics_of,
    recorded_every,
)
from gradclip_cli.runs.steps import common_columns, step_columns

if TYPE_CHECKING:
    import pandas as pd

    from gradclip_cli.arrays import Array
    from gradclip_cli.config.schema import Config

MODEL_FILES = {name: framework.model_file for name, framework in FRAMEWORKS.items()}
PICTURE = "gradients.png"
_OWN = ("config.yaml", "metrics.csv", "steps.csv", "run.json", "checkpoint.npz", "output.log", PICTURE, *MODEL_FILES.values())
# What a crash may leave of them: see `files.replacing`, `plots.save` and `RunDirectory.saving_model`.
_SAVING = {name: f".saving{Path(file).suffix}" for name, file in MODEL_FILES.items()}
_OWN_TEMPORARIES = re.compile(
    rf"\.({'|'.join(map(re.escape, _OWN))})(\.\d+)?|{'|'.join(map(re.escape, [*_SAVING.values(), locks.LOCK]))}"
)
RUN_VARIABLE = "GRADCLIP_RUN"
"""The environment variable by which a script that gradclip started knows where it is recorded."""
UNRECORDED = "gradclip records nothing"
"""What a recorder's words on stderr begin with when it gives up; its script goes on."""
Parse = Callable[[bytes, Readable], "Config"]
"""What makes a config of the text of a file. Raises ConfigError."""
_SEED_FOLDER = re.compile(r"seed-(0|[1-9][0-9]{0,19})")


@dataclass(frozen=True)
class RunDirectory:
    """One run's folder. Nothing is created before `locked`."""

    path: Path
    packed: Mapping[str, Packed] = field(default_factory=dict, repr=False, compare=False)
    """Its files in the pack of its results folder, by name."""

    @classmethod
    def of(cls, results: Path, arm: str, seed: int) -> RunDirectory:
        """The directory of an arm's run with this seed. Raises StoreError as `at` does."""
        return cls.at(results / arm / f"seed-{seed}")

    @classmethod
    def at(cls, path: Path) -> RunDirectory:
        """The run in this folder, or in the pack of its results folder.

        Raises StoreError where the pack is damaged, or where a file of the run differs from the packed one.
        """
        return cls(path, packs.files_of(path))

    @property
    def arm(self) -> str:
        return self.path.parent.name

    @property
    def seed(self) -> int:
        """The seed that the folder's name says. Raises StoreError where it says none."""
        seed = _seed_of(self.path)
        if seed is None:
            raise StoreError(f"{self.path}: a run's folder is called seed-N, such as seed-0")
        return seed

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
    def metadata_path(self) -> Path:
        return self.path / "run.json"

    @property
    def checkpoint_path(self) -> Path:
        return self.path / "checkpoint.npz"

    @property
    def log_path(self) -> Path:
        return self.path / "output.log"

    def file(self, name: str) -> Readable:
        """Where one of the run's files is read: in its folder, else in the pack."""
        path = self.path / name
        return path if name not in self.packed or os.path.lexists(path) else self.packed[name]

    def has(self, name: str) -> bool:
        """Whether the run has a file of this name, be it a broken one."""
        return name in self.packed or os.path.lexists(self.path / name)

    def model_path(self, framework: str) -> Path:
        """Where the trained model is saved, in the framework's own format."""
        return self.path / MODEL_FILES[framework]

    def foreign_files(self) -> list[str]:
        """Names in the folder that are not gradclip's: they are never deleted."""
        return sorted(path.name for path in _listed(self.path) if not _is_own(path))

    # Reading

    def config(self) -> Config:
        """The config that was trained. Raises StoreError where it can't be read."""
        return self._parsed(self.config_text(), _parse)

    def config_text(self) -> bytes:
        """What `config.yaml` holds. Raises StoreError where it can't be read."""
        try:
            return read_bounded(self.file("config.yaml"), MOST_CONFIG_BYTES)
        except StoreError as error:
            raise StoreError(f"{self.path}: its config can't be read: {error}") from None

    def _parsed(self, text: bytes, parse: Parse) -> Config:
        try:
            return parse(text, self.file("config.yaml"))
        except ConfigError as error:
            raise StoreError(f"{self.path}: its config can't be read: {error}") from None

    def metadata(self) -> dict[str, Any]:
        """What `run.json` says. Raises StoreError where it can't be read or is not what a run leaves."""
        from gradclip_cli.runs.metadata_files import read_metadata

        return read_metadata(self.file("run.json"))

    def stored(self) -> tuple[dict[str, Any], Config]:
        """What `run.json` says, and the config. Raises StoreError where either can't be read, or they name different seeds."""
        metadata = self.metadata()
        return metadata, self.config_of(self.config_text(), metadata)

    def config_of(self, text: bytes, metadata: Mapping[str, Any], parse: Parse | None = None) -> Config:
        """The config that the text of its `config.yaml` says, held against `run.json`. Raises StoreError as `stored` does."""
        config = self._parsed(text, parse or _parse).trained_for(metadata.get("epochs") or 0, metadata.get("steps") or 0)
        named = {
            "its folder": _seed_of(self.path),  # A run that was copied to elsewhere may be called otherwise.
            "config.yaml": config.training.seed,
            "run.json": metadata.get("seed"),
        }
        if len(set(named.values()) - {None}) > 1:
            each = ", ".join(f"{where} says {seed}" for where, seed in named.items() if seed is not None)
            raise StoreError(f"{self.path}: whose seed is it? {each}. Put back what was changed, or train the run again")
        if metadata.get("config_sha256") not in (None, hashlib.sha256(text).hexdigest()):
            raise StoreError(f"{self.config_path}: was changed after the run wrote it (its SHA-256 differs)")
        return config

    def status(self) -> Status:
        """How the run stands; NONE where there is no run, UNREADABLE where its `run.json` is broken or gone."""
        if not self.packed and not _is_run(self.path):
            return Status.NONE
        try:
            return Status(self.metadata()["status"])
        except StoreError:
            return Status.UNREADABLE

    def metrics(self) -> pd.DataFrame:
        """Read `metrics.csv`. Raises StoreError where it is cut short, edited or missing."""
        return csv_files.read_metrics(self.file("metrics.csv"), self.metadata())

    def count_steps(self) -> int:
        """Rows of `steps.csv`; a line that a running or killed process has begun is none yet.

        Raises StoreError where a finished run's file is cut short, edited or missing.
        """
        metadata = self.metadata()
        rows, sha256 = csv_files.rows_and_sha256(self.file("steps.csv"))
        recorded = (metadata.get("steps") or 0) // recorded_every(metadata)
        if recorded and rows != recorded:
            raise StoreError(f"{self.steps_path}: holds {rows:,} whole steps where {recorded:,} were recorded: cut short?")
        if metadata["status"] in FINISHED and metadata.get("steps_sha256") not in (None, sha256):
            raise StoreError(f"{self.steps_path}: was changed after the run wrote it (its SHA-256 differs)")
        return rows

    def steps(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read columns of `steps.csv` as numbers, all that are of no variable unless others are named.

        Raises StoreError where it is missing, broken or not in order.
        """
        metadata = self.metadata()
        columns = columns or common_columns(counts_correct=counts_correct(metadata))
        return csv_files.read_steps(self.file("steps.csv"), columns, self.count_steps(), recorded_every(metadata))

    def steps_in_pieces(self, rows: int) -> Iterator[pd.DataFrame]:
        """Read `steps.csv` some rows at a time, however long it is. Raises StoreError where it is missing or broken."""
        return csv_files.read_in_pieces(self.file("steps.csv"), rows)

    def read_checkpoint(self, config: Config) -> Checkpoint | None:
        """The last checkpoint of this config's run; None where there is none.

        Raises StoreError where it can't be used, with the reason: it is damaged, another run's, or not of these CSVs.
        """
        return checkpoints.read_checkpoint(self.checkpoint_path, config, (self.metrics_path, self.steps_path))

    def config_sha256(self) -> str:
        """SHA-256 of `config.yaml` as it is. Raises StoreError where it can't be read."""
        return hashlib.sha256(read_bounded(self.file("config.yaml"), MOST_CONFIG_BYTES)).hexdigest()

    def metrics_sha256(self) -> str:
        """SHA-256 of `metrics.csv` as it is."""
        return self._metrics_csv.length_and_sha256()[1]

    def steps_sha256(self) -> str:
        """SHA-256 of `steps.csv` as it is."""
        return self._steps_csv.length_and_sha256()[1]

    # Writing

    def locked(self, keep_waiting: Callable[[], bool] = lambda: False) -> AbstractContextManager[None]:
        """Keep other processes out. Where one is at work, wait for it as long as `keep_waiting` says so.

        Raises BusyError where one still is, StoreError where nothing can be written. No empty folder is left behind.
        """
        return locks.locked(self.path, keep_waiting)

    def start(self, config: Config, variables: Sequence[str], metadata: Mapping[str, Any]) -> None:
        """Clear what an earlier run left and begin: config, `run.json` as running, both CSVs with their headers.

        Which columns these have, `metadata` says. Raises StoreError where metrics have names that no columns can have.
        """
        metric_columns(metrics_of(metadata))
        self._clear()
        self.begin(config, metadata)
        self.write_metrics(metadata)
        self.begin_steps(variables, metadata)

    def start_recording(self, config: Config, metadata: Mapping[str, Any]) -> None:
        """Clear what an earlier run left and begin without CSVs: which columns they will have is not known yet."""
        self._clear()
        self.begin(config, metadata)

    def write_metrics(self, metadata: Mapping[str, Any], rows: Iterable[Mapping[str, float]] = ()) -> None:
        """Write `metrics.csv` anew: its header by `metadata`, and a row an epoch, in the order of `metric_columns`.

        Raises StoreError where metrics have names that no columns can have.
        """
        columns = metric_columns(metrics_of(metadata), evaluated=is_evaluated(metadata))
        self._metrics_csv.write([",".join(columns), *map(csv_files.metrics_line, rows)])

    def begin_steps(self, variables: Sequence[str], metadata: Mapping[str, Any]) -> None:
        """Begin `steps.csv` with its header."""
        self._steps_csv.append([",".join(step_columns(variables, counts_correct=counts_correct(metadata)))])

    def begin(self, config: Config, metadata: Mapping[str, Any]) -> None:
        """Say what is trained from now on: config, `run.json` as running. The CSVs stay, for a run that goes on."""
        from gradclip_cli.config.loading import to_yaml

        with writing(self.path):
            write_atomically(self.config_path, to_yaml(config))
        self.write_metadata({**metadata, "status": Status.RUNNING})

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Add an epoch's row, in the order of `metric_columns`; floats are written so that reading gives the same number."""
        self._metrics_csv.append([csv_files.metrics_line(row)])

    def append_steps(self, rows: Iterable[Sequence[float]]) -> None:
        """Add rows in the order of `step_columns`, floats with six significant digits."""
        self._steps_csv.append(map(csv_files.steps_line, rows))

    def write_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Replace `run.json`. Raises StoreError."""
        with writing(self.metadata_path):
            write_atomically(self.metadata_path, metadata_json(metadata))

    def write_last_words(self, metadata: Mapping[str, Any]) -> None:
        """Replace `run.json`, on a full disk too: there it is written over in place, which needs no further room."""
        try:
            self.write_metadata(metadata)
        except StoreError:
            with contextlib.suppress(OSError), open(self.metadata_path, "r+b") as file:
                file.write(metadata_json(metadata).encode())
                file.truncate()

    def write_checkpoint(self, config: Config, arrays: Mapping[str, Array]) -> None:
        """Keep this moment of a config's run, in place of an earlier one. Both CSVs must be written up to it."""
        checkpoints.write_checkpoint(self.checkpoint_path, config, (self._metrics_csv, self._steps_csv), arrays)

    def cut_back(self, checkpoint: Checkpoint) -> None:
        """Cut off what was written after a checkpoint."""
        for path, length in ((self.metrics_path, checkpoint.metrics_bytes), (self.steps_path, checkpoint.steps_bytes)):
            with writing(path):
                os.truncate(path, length)

    def remove_checkpoint(self) -> None:
        """Forget the checkpoint of a finished run."""
        self.checkpoint_path.unlink(missing_ok=True)

    def saving_model(self, framework: str) -> AbstractContextManager[Path]:
        """A path to save the trained model at; what is saved there then takes its place."""
        return replaced_by(self.model_path(framework), self.path / _SAVING[framework])

    def remove(self) -> list[str]:
        """Delete the run's files, and the folder, and the arm's, where nothing else is in them; returns what was left there.

        A folder that is a link is removed itself, and never what it points to. Raises BusyError where the run is being trained.
        """
        if self.path.is_symlink():
            self.path.unlink()
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()
            return []
        with self.locked():
            self._clear()
            return self.foreign_files()

    def _clear(self) -> None:
        for path in _listed(self.path):
            if _is_own(path) and path.name != locks.LOCK:
                path.unlink()

    @functools.cached_property
    def _metrics_csv(self) -> GrowingCsv:
        return GrowingCsv(self.metrics_path)

    @functools.cached_property
    def _steps_csv(self) -> GrowingCsv:
        return GrowingCsv(self.steps_path)


def _parse(text: bytes, path: Readable) -> Config:
    from gradclip_cli.config.loading import parse_stored  # takes its time to import, and `list` needs no config

    return parse_stored(text, path)


def runs(results: Path) -> list[RunDirectory]:
    """All runs under a results folder, its pack's too, by arm and seed. Raises StoreError as `RunDirectory.at` does."""
    arms = {*results.glob("*/"), *packs.run_folders(results)}
    return [run for arm in sorted(arms) for run in runs_of(arm)]


def runs_of(arm: Path) -> list[RunDirectory]:
    """All runs in an arm's folder, and of this arm in its results folder's pack, by seed. Raises StoreError as `runs`."""
    found = set(_run_folders(arm))
    packed = packs.run_folders(arm.parent)
    found.update(packed.get(arm, ()))
    return sorted(map(RunDirectory.at if packed else RunDirectory, found), key=lambda run: run.seed)


def some_runs_of(arm: Path) -> Iterator[RunDirectory]:
    """The runs of an arm in no order, each looked for when it is asked for: one costs no look at thousands. Raises as `runs`."""
    yield from runs_of(arm) if packs.is_packed(arm.parent) else map(RunDirectory, _run_folders(arm))


def _run_folders(arm: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(arm) as entries:
        for entry in entries:
            if _SEED_FOLDER.fullmatch(entry.name) and _is_run(entry.path):
                yield Path(entry.path)


def _seed_of(folder: Path) -> int | None:
    """The seed that a folder's name says."""
    match = _SEED_FOLDER.fullmatch(folder.name)
    return int(match[1]) if match else None


def _is_run(folder: str | Path) -> bool:
    """Whether a folder holds a run, be it one that has lost its `run.json`."""
    return any(os.path.lexists(f"{folder}/{name}") for name in ("run.json", "metrics.csv"))


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_own(path: Path) -> bool:
    """Whether a file in a run's folder is one of gradclip's, or a link in such a one's place."""
    named = path.name in _OWN or _OWN_TEMPORARIES.fullmatch(path.name)
    return bool(named) and (path.is_symlink() or not path.is_dir())
