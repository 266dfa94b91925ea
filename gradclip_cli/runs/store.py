"""Run directories: every file name and column in them, written so that a crash leaves the old or the new, never half.

`results/<arm>/seed-<n>/` holds `config.yaml`, `metrics.csv` (a row an epoch), `steps.csv` (a row a step), `run.json`, while it
is unfinished `checkpoint.npz` and, where asked for, the model in its framework's own format. Times stand in `run.json` alone,
so the CSVs are reproducible to the byte. A checkpoint says whose it is, and how long both CSVs were at its moment, with their
SHA-256: what a crash left beyond is cut off before a run goes on.

What is stored is read as input: regular files only, bounded, checked. In a run's folder, and below a results folder, nothing is
ever deleted but files of these names.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gradclip_cli.arrays import Array
from gradclip_cli.config import loading
from gradclip_cli.config.schema import MOST_EPOCHS, MOST_SEED, MOST_STEPS, Config
from gradclip_cli.errors import BusyError, ConfigError, StoreError
from gradclip_cli.files import Packed, Readable, opened, read_bounded, read_json, replacing, unwritable, write_atomically
from gradclip_cli.runs import packs

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
METRICS = (
    "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "grad_norm_median", "grad_norm_max", "clipped_fraction",
)  # fmt: skip
MOST_BYTES_A_METRICS_ROW = 300
STEPS = ("step", "loss", "penalty", "correct", "grad_norm", "applied_norm", "clipped")
STEPS_PER_VARIABLE = ("norm", "max_abs", "applied_norm", "applied_max_abs")
MODEL_FILES = {"tensorflow": "model.keras", "pytorch": "model.pt"}
FINISHED = ("complete", "diverged")
PICTURE = "gradients.png"
_OWN = ("config.yaml", "metrics.csv", "steps.csv", "run.json", "checkpoint.npz", PICTURE, *MODEL_FILES.values())
# What a crash may leave of them: see `files.replacing`, `plots.save` and `saving_path`.
_OWN_TEMPORARIES = re.compile(rf"\.({'|'.join(map(re.escape, _OWN))})(\.\d+)?|\.saving\.(keras|pt)|\.lock")
_SEED_FOLDER = re.compile(r"seed-(0|[1-9][0-9]{0,19})")
_CHECKPOINT_FACTS = ("identity", "lengths", "sha256")
WAIT = 0.2  # seconds between two tries to get a lock that another process holds


def step_columns(variables: Sequence[str]) -> list[str]:
    """Columns of `steps.csv` for these variables: the common ones, then `norm/lstm/kernel` and so on."""
    return [*STEPS, *(f"{quantity}/{variable}" for quantity in STEPS_PER_VARIABLE for variable in variables)]


def identity(config: Config) -> str:
    """What a checkpoint shares with the run that goes on from it: SHA-256 of the config, but for its name and epochs."""
    content = config.model_dump_json(exclude={"name": True, "training": {"epochs"}})
    return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a run: named arrays, all that going on needs, and how long both CSVs were then, in bytes."""

    arrays: Mapping[str, Array]
    metrics_bytes: int
    steps_bytes: int


class _Stored(BaseModel):
    """A part of `run.json`: what is known must have its type; what a newer or older run says besides is left as it is."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Divergence(_Stored):
    step: int
    told: str


class _Overflows(_Stored):
    steps: int
    first: int | None


class _Warning(_Stored):
    step: int


class _Health(_Stored):
    word: str | None = None
    first_spike: _Warning | None = None
    first_explosion: _Warning | None = None


class _Metadata(_Stored):
    """What `run.json` holds; a finished run's holds all that reports need."""

    status: str
    arm: str | None = None
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)] | None = None
    epochs: Annotated[int, Field(ge=0, le=MOST_EPOCHS)] | None = None
    steps: Annotated[int, Field(ge=0, le=MOST_STEPS)] | None = None
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None
    resumed: list[str] | None = None
    reason: str | None = None
    evaluation_split: Literal["test", "holdout"] | None = None
    dataset_sha256: str | None = None
    variables: list[str] | None = None
    versions: dict[str, str] | None = None
    machine: dict[str, str | int | None] | None = None
    diverged: _Divergence | None = None
    overflows: _Overflows | None = None
    largest_applied: float | None = None
    health: _Health | None = None
    config_sha256: str | None = None
    metrics_sha256: str | None = None
    steps_sha256: str | None = None

    @model_validator(mode="after")
    def _finished_runs_are_whole(self) -> _Metadata:
        if self.status in FINISHED:
            needed = ("seed", "epochs", "steps", "evaluation_split", "dataset_sha256", "versions", "machine")
            if missing := [name for name in needed if getattr(self, name) is None]:
                raise ValueError(f"a {self.status} run without {', '.join(missing)}")
        if self.status == "diverged" and self.diverged is None:
            raise ValueError("a diverged run without the place where it diverged")
        return self


@dataclass
class _Digest:
    """SHA-256 of what was written to a file so far, and how many bytes that is."""

    length: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, content: bytes) -> None:
        self.length += len(content)
        self.sha256.update(content)


@dataclass(frozen=True)
class RunDirectory:
    """One run's folder. Nothing is created before `locked`."""

    path: Path
    packed: Mapping[str, Packed] = field(default_factory=dict, repr=False, compare=False)
    """Its files in the pack of its results folder, by name."""
    _digests: dict[Path, _Digest] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Of the CSVs that are being written, so that a checkpoint need not read them again."""

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
        match = _SEED_FOLDER.fullmatch(self.path.name)
        if not match:
            raise StoreError(f"{self.path}: a run's folder is called seed-N, such as seed-0")
        return int(match[1])

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

    def config(self) -> Config:
        """The config that was trained. Raises StoreError where it can't be read."""
        try:
            return loading.load_stored(self.file("config.yaml"))
        except ConfigError as error:
            raise StoreError(f"{self.path}: its config can't be read: {error}") from None

    def metadata(self) -> dict[str, Any]:
        """What `run.json` says. Raises StoreError where it can't be read or is not what a run leaves."""
        path = self.file("run.json")
        content = read_json(path, SCHEMA)
        try:
            _Metadata.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            told = f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, ")
            raise StoreError(f"{path}: is not one of gradclip's ({told})") from None
        return content

    def stored(self) -> tuple[dict[str, Any], Config]:
        """What `run.json` says, and the config. Raises StoreError where either can't be read, or they name different seeds."""
        metadata, config = self.metadata(), self.config()
        folder = _SEED_FOLDER.fullmatch(self.path.name)  # A run that was copied to elsewhere may be called otherwise.
        named = {
            "its folder": int(folder[1]) if folder else None,
            "config.yaml": config.training.seed,
            "run.json": metadata.get("seed"),
        }
        if len(set(named.values()) - {None}) > 1:
            told = ", ".join(f"{what} says {seed}" for what, seed in named.items() if seed is not None)
            raise StoreError(f"{self.path}: whose seed is it? {told}. Put back what was changed, or train the run again")
        if metadata.get("config_sha256") not in (None, self.config_sha256()):
            raise StoreError(f"{self.config_path}: was changed after the run wrote it (its SHA-256 differs)")
        return metadata, config

    def status(self) -> str:
        """The run's status; `none` where there is no run, `unreadable` where its `run.json` is broken or gone."""
        if not self.packed and not _is_run(self.path):
            return "none"
        try:
            return str(self.metadata()["status"])
        except StoreError:
            return "unreadable"

    def metrics(self) -> pd.DataFrame:
        """Read `metrics.csv`. Raises StoreError where it is cut short, edited or missing."""
        import pandas as pd

        metadata = self.metadata()
        epochs = metadata.get("epochs") or 0
        content = read_bounded(self.file("metrics.csv"), MOST_BYTES_A_METRICS_ROW * (epochs + 1))
        try:
            frame = pd.read_csv(io.BytesIO(content))
        except (ValueError, OverflowError) as error:
            raise StoreError(f"{self.metrics_path}: can't be read: {str(error).splitlines()[0]}") from None
        recorded = metadata.get("metrics_sha256")
        if tuple(frame.columns) != METRICS or len(frame) != epochs:
            raise StoreError(f"{self.metrics_path}: holds {len(frame)} epochs where {epochs} were trained: cut short?")
        if len(frame) and not all(pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes):
            raise StoreError(f"{self.metrics_path}: holds something that is not a number")
        if recorded and hashlib.sha256(content).hexdigest() != recorded:
            raise StoreError(f"{self.metrics_path}: was changed after the run wrote it (its SHA-256 differs)")
        if frame["epoch"].tolist() != list(range(1, epochs + 1)):
            raise StoreError(f"{self.metrics_path}: not every epoch from 1 on is there, once and in order")
        return frame

    def count_steps(self) -> int:
        """Rows of `steps.csv`; a line that a running or killed process has begun is none yet.

        Raises StoreError where a finished run's file is cut short, edited or missing.
        """
        metadata = self.metadata()
        rows, sha256 = rows_and_sha256(self.file("steps.csv"))
        trained = metadata.get("steps")
        if trained and rows != trained:
            raise StoreError(f"{self.steps_path}: holds {rows:,} whole steps where {trained:,} were trained: cut short?")
        if metadata["status"] in FINISHED and metadata.get("steps_sha256") not in (None, sha256):
            raise StoreError(f"{self.steps_path}: was changed after the run wrote it (its SHA-256 differs)")
        return rows

    def steps(self, columns: Sequence[str] = STEPS) -> pd.DataFrame:
        """Read columns of `steps.csv`, as numbers. Raises StoreError where it is missing, broken or not in order."""
        import pandas as pd

        rows = self.count_steps()
        try:
            with opened(self.file("steps.csv")) as file:
                frame = pd.read_csv(file, usecols=list({"step", *columns}), nrows=rows).astype(float)
        except (ValueError, OverflowError) as error:
            raise StoreError(f"{self.steps_path}: can't be read: {str(error).splitlines()[0]}") from None
        if frame["step"].tolist() != list(range(1, rows + 1)):
            raise StoreError(f"{self.steps_path}: not every step from 1 on is there, once and in order")
        frame["step"] = frame["step"].astype(int)
        if "clipped" in frame and not frame["clipped"].isin((0, 1)).all():
            raise StoreError(f"{self.steps_path}: a step is neither clipped (1) nor not (0)")
        return frame

    def steps_in_pieces(self, rows: int) -> Iterator[pd.DataFrame]:
        """Read `steps.csv` some rows at a time, however long it is. Raises StoreError where it is missing or broken."""
        import pandas as pd

        try:
            with opened(self.file("steps.csv")) as file, pd.read_csv(file, chunksize=rows) as pieces:
                yield from pieces
        except (ValueError, OverflowError) as error:
            raise StoreError(f"{self.steps_path}: can't be read: {str(error).splitlines()[0]}") from None

    @contextmanager
    def locked(self, keep_waiting: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Keep other processes out. Where one is at work, wait for it as long as `keep_waiting` says so.

        Raises BusyError where one still is, StoreError where nothing can be written. No empty folder is left behind.
        """
        import filelock

        lock = filelock.FileLock(self.path / ".lock")
        while not lock.is_locked:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=0)
            except filelock.Timeout:
                if not keep_waiting():
                    told = "another gradclip process is training this run; wait for it or stop it"
                    raise BusyError(f"{self.path}: {told}") from None
                time.sleep(WAIT)
            except FileNotFoundError:
                continue  # Who held the lock has just removed the run.
            except OSError as error:
                raise unwritable(self.path, error) from None
        try:
            yield
        finally:
            (self.path / ".lock").unlink(missing_ok=True)  # filelock notices a lock whose file is gone
            lock.release()
            with contextlib.suppress(OSError):  # They are not empty, as a rule.
                self.path.rmdir()
                self.path.parent.rmdir()

    def foreign_files(self) -> list[str]:
        """Names in the folder that are not gradclip's: they are never deleted."""
        return sorted(path.name for path in _listed(self.path) if not _is_own(path))

    def start(self, config: Config, variables: Sequence[str], metadata: Mapping[str, Any]) -> None:
        """Clear what an earlier run left and begin: config, `run.json` as running, both CSVs with their headers."""
        self._clear()
        with _named(self.path):
            write_atomically(self.config_path, loading.to_yaml(config))
        self.write_metadata({**metadata, "status": "running"})
        self._append(self.metrics_path, [",".join(METRICS)])
        self._append(self.steps_path, [",".join(step_columns(variables))])

    def write_checkpoint(self, config: Config, arrays: Mapping[str, Array]) -> None:
        """Keep this moment of a config's run, in place of an earlier one. Both CSVs must be written up to it."""
        import numpy as np

        digests = [self._digest(path) for path in (self.metrics_path, self.steps_path)]
        facts = {
            "identity": np.array(identity(config)),
            "lengths": np.array([digest.length for digest in digests]),
            "sha256": np.array([digest.sha256.hexdigest() for digest in digests]),
        }
        with _named(self.checkpoint_path), replacing(self.checkpoint_path) as file:
            np.savez(file, allow_pickle=False, **facts, **arrays)

    def read_checkpoint(self, config: Config) -> Checkpoint | None:
        """The last checkpoint of this config's run; None where there is none.

        Raises StoreError where it can't be used, with the reason: it is damaged, another run's, or not of these CSVs.
        """
        if not os.path.lexists(self.checkpoint_path):
            return None
        try:
            arrays = _read_arrays(self.checkpoint_path)
            whose, lengths, sums = (arrays.pop(name).tolist() for name in _CHECKPOINT_FACTS)
            (metrics_bytes, steps_bytes), (metrics_sum, steps_sum) = lengths, sums
        except Exception as error:  # whatever a damaged archive makes zipfile and NumPy raise
            told = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StoreError(f"its checkpoint can't be read ({told})") from None
        if whose != identity(config):
            raise StoreError("its checkpoint is another run's")
        for path, length, recorded in (
            (self.metrics_path, metrics_bytes, metrics_sum),
            (self.steps_path, steps_bytes, steps_sum),
        ):
            if _sha256_of_beginning(path, length) != recorded:
                raise StoreError(f"{path.name} is shorter than its checkpoint says, or was changed")
        return Checkpoint(arrays, metrics_bytes, steps_bytes)

    def cut_back(self, checkpoint: Checkpoint) -> None:
        """Cut off what was written after a checkpoint."""
        for path, length in ((self.metrics_path, checkpoint.metrics_bytes), (self.steps_path, checkpoint.steps_bytes)):
            with _named(path):
                os.truncate(path, length)

    def resume(self, config: Config, metadata: Mapping[str, Any]) -> None:
        """Go on from the checkpoint that the run was cut back to: config, `run.json` as running."""
        with _named(self.path):
            write_atomically(self.config_path, loading.to_yaml(config))
        self.write_metadata({**metadata, "status": "running"})

    def remove_checkpoint(self) -> None:
        """Forget the checkpoint of a finished run."""
        self.checkpoint_path.unlink(missing_ok=True)

    def saving_path(self, framework: str) -> Path:
        """Where a model is written before it takes its place."""
        return self.path / f".saving{Path(MODEL_FILES[framework]).suffix}"

    def _clear(self) -> None:
        for path in _listed(self.path):
            if _is_own(path) and path.name != ".lock":
                path.unlink()

    def write_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Replace `run.json`. Raises StoreError."""
        with _named(self.path / "run.json"):
            write_atomically(self.path / "run.json", _metadata_json(metadata))

    def write_last_words(self, metadata: Mapping[str, Any]) -> None:
        """Replace `run.json`, on a full disk too: there it is written over in place, which needs no further room."""
        try:
            self.write_metadata(metadata)
        except StoreError:
            with contextlib.suppress(OSError), open(self.path / "run.json", "r+b") as file:
                file.write(_metadata_json(metadata).encode())
                file.truncate()

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Add an epoch's row; floats are written so that reading gives the same number."""
        epoch, *values = (row[column] for column in METRICS)
        self._append(self.metrics_path, [",".join([str(int(epoch)), *(repr(float(value)) for value in values)])])

    def append_steps(self, rows: Iterable[Sequence[float]]) -> None:
        """Add rows in the order of `step_columns`, floats with six significant digits."""
        self._append(
            self.steps_path,
            (",".join([str(value) if isinstance(value, int) else f"{value:.6g}" for value in row]) for row in rows),
        )

    def _append(self, path: Path, lines: Iterable[str]) -> None:
        content = "".join(f"{line}\n" for line in lines).encode()
        digest = self._digest(path)
        with _named(path), open(path, "ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        digest.add(content)

    def _digest(self, path: Path) -> _Digest:
        """The digest of a CSV as it is on the disk; read anew where something else changed its length."""
        digest = self._digests.get(path)
        if digest is None or not path.exists() or path.stat().st_size != digest.length:
            digest = self._digests[path] = _Digest()
            if path.exists():
                with opened(path) as file:
                    for block in _blocks(file):
                        digest.add(block)
        return digest

    def config_sha256(self) -> str:
        """SHA-256 of `config.yaml` as it is. Raises StoreError where it can't be read."""
        return hashlib.sha256(read_bounded(self.file("config.yaml"), loading.MOST_BYTES)).hexdigest()

    def metrics_sha256(self) -> str:
        """SHA-256 of `metrics.csv` as it is."""
        return str(self._digest(self.metrics_path).sha256.hexdigest())

    def steps_sha256(self) -> str:
        """SHA-256 of `steps.csv` as it is."""
        return str(self._digest(self.steps_path).sha256.hexdigest())

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


def runs(results: Path) -> list[RunDirectory]:
    """All runs under a results folder, its pack's too, by arm and seed. Raises StoreError as `RunDirectory.at` does."""
    arms = {*results.glob("*/"), *packs.run_folders(results)}
    return [run for arm in sorted(arms) for run in runs_of(arm)]


def runs_of(arm: Path) -> list[RunDirectory]:
    """All runs in an arm's folder, and of this arm in its results folder's pack, by seed. Raises StoreError as `runs`."""
    found = {path for path in arm.glob("seed-*") if _SEED_FOLDER.fullmatch(path.name) and _is_run(path)}
    found.update(packs.run_folders(arm.parent).get(arm, ()))
    return sorted(map(RunDirectory.at, found), key=lambda run: run.seed)


def _is_run(folder: Path) -> bool:
    """Whether a folder holds a run, be it one that has lost its `run.json`."""
    return any(os.path.lexists(folder / name) for name in ("run.json", "metrics.csv"))


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_own(path: Path) -> bool:
    """Whether a file in a run's folder is one of gradclip's, or a link in such a one's place."""
    named = path.name in _OWN or _OWN_TEMPORARIES.fullmatch(path.name)
    return bool(named) and (path.is_symlink() or not path.is_dir())


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(1 << 20), b"")


def rows_and_sha256(path: Readable) -> tuple[int, str]:
    """How many whole lines follow a CSV's header, and the SHA-256 of all of it. Raises StoreError where it can't be read."""
    digest, lines = hashlib.sha256(), 0
    with opened(path) as file:
        for block in _blocks(file):
            digest.update(block)
            lines += block.count(b"\n")
    return max(0, lines - 1), digest.hexdigest()


def _sha256_of_beginning(path: Path, length: int) -> str | None:
    """Of a file's first bytes; None where it is shorter or can't be read."""
    digest = hashlib.sha256()
    if path.is_symlink():
        return None
    try:
        with opened(path) as file:
            while length > 0 and (block := file.read(min(length, 1 << 20))):
                digest.update(block)
                length -= len(block)
    except StoreError:
        return None
    return None if length else digest.hexdigest()


def _read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an uncompressed archive, so that none can be larger than the file. Raises what zipfile and NumPy raise."""
    import numpy as np

    with opened(path) as file:
        with zipfile.ZipFile(file) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed")
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            return dict(archive)


def _metadata_json(metadata: Mapping[str, Any]) -> str:
    return json.dumps({"schema": SCHEMA, **metadata}, indent=2, allow_nan=False) + "\n"


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn a failure to write into an error that names the file."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: can't be written: {error.strerror or error}") from None
