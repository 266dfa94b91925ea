"""A run's CSVs: how they grow while the run trains, how they are read back and checked.

Files that are read may be anything: they are bounded and checked. Times stand in none, so they are reproducible to the byte.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from gradclip_cli.errors import StoreError
from gradclip_cli.files import Readable, opened, read_bounded, write_atomically, writing
from gradclip_cli.runs.metadata import is_evaluated, metrics_of

if TYPE_CHECKING:
    import pandas as pd

EVALUATED = "val_"
"""What the columns of the evaluation split begin with."""
GRADIENT_COLUMNS = ("grad_norm_median", "grad_norm_max", "clipped_fraction")
MOST_BYTES_A_NUMBER = 40
NO_NAMES = ',"\r\n'
"""Signs that no column's name has: a header is written as it is."""
IN_NUMBERS = b"0123456789.eE+-naif,\n"
"""All that stands in lines of numbers, `nan` and `inf` among them."""
BLOCK = 1 << 20  # bytes read at a time


def score_columns(metrics: Iterable[str], *, evaluated: bool = True) -> list[str]:
    """The columns of loss and metrics, over an epoch's steps and then on the evaluation split, where there is one."""
    training = ["loss", *metrics]
    return [*training, *(f"{EVALUATED}{name}" for name in training if evaluated)]


def metric_names(columns: Iterable[str]) -> list[str]:
    """The metrics of such columns: what follows the loss over the steps, up to the loss on the evaluation split."""
    names = list(columns)
    following = names[names.index("loss") + 1 :]
    return following[: following.index(f"{EVALUATED}loss")] if f"{EVALUATED}loss" in following else following


def metric_columns(metrics: Iterable[str], *, evaluated: bool = True) -> list[str]:
    """Columns of the `metrics.csv` of a run with these metrics. Raises StoreError for names that no columns can have."""
    columns = ["epoch", *score_columns(metrics, evaluated=evaluated), *GRADIENT_COLUMNS]
    for name in columns:
        if columns.count(name) > 1 or not name.removeprefix(EVALUATED) or any(sign in name for sign in NO_NAMES):
            raise StoreError(f"a metric can't be called {name!r}: a column has that name already, or no column can have it")
    return columns


def metrics_line(row: Mapping[str, float]) -> str:
    """A line of `metrics.csv`, of values in the order of `metric_columns`; floats so that reading gives the same number."""
    epoch, *values = row.values()
    return ",".join([str(int(epoch)), *(repr(float(value)) for value in values)])


def steps_line(row: Sequence[float]) -> str:
    """A line of `steps.csv`, of values in the order of `step_columns`; floats with six significant digits."""
    return _pattern(tuple(map(type, row))) % tuple(row)


@functools.lru_cache(maxsize=16)
def _pattern(kinds: tuple[type, ...]) -> str:
    return ",".join("%d" if issubclass(kind, int) else "%.6g" for kind in kinds)


class GrowingCsv:
    """A CSV that a run adds to. Its length and SHA-256 are known without reading again what was written here.

    What was added outlives the process at once, and a loss of power once these were asked for, to be written down elsewhere.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._length, self._digest, self._on_disk = 0, hashlib.sha256(), True

    def append(self, lines: Iterable[str]) -> None:
        """Add lines. Raises StoreError."""
        content = "".join(f"{line}\n" for line in lines).encode()
        self._catch_up()
        self._on_disk = False
        with writing(self.path), open(self.path, "ab") as file:
            file.write(content)
        self._add(content)

    def write(self, lines: Iterable[str]) -> None:
        """Replace the file by these lines. Raises StoreError."""
        content = "".join(f"{line}\n" for line in lines).encode()
        with writing(self.path):
            write_atomically(self.path, content)
        self._length, self._digest, self._on_disk = 0, hashlib.sha256(), True
        self._add(content)

    def length_and_sha256(self) -> tuple[int, str]:
        """Of the file as it is, which is on the disk then; its length in bytes. Raises StoreError."""
        self._catch_up()
        if not self._on_disk:
            with writing(self.path), open(self.path, "r+b") as file:
                os.fsync(file.fileno())
            self._on_disk = True
        return self._length, self._digest.hexdigest()

    def _catch_up(self) -> None:
        """Read the file anew where something else changed its length."""
        if self.path.exists() and self.path.stat().st_size == self._length:
            return
        self._length, self._digest = 0, hashlib.sha256()
        if self.path.exists():
            with opened(self.path) as file:
                for block in _blocks(file):
                    self._add(block)

    def _add(self, content: bytes) -> None:
        self._length += len(content)
        self._digest.update(content)


def read_metrics(path: Readable, metadata: Mapping[str, Any]) -> pd.DataFrame:
    """Read a run's `metrics.csv`. Raises StoreError where it is cut short, edited or missing, by what `run.json` says."""
    return MetricsText.read(path, metadata).parsed()


class MetricsText(NamedTuple):
    """What a run's `metrics.csv` holds, not parsed yet, and what must be in it by what `run.json` says."""

    path: Readable
    content: bytes
    columns: list[str]
    epochs: int
    sha256: str | None

    @classmethod
    def read(cls, path: Readable, metadata: Mapping[str, Any]) -> MetricsText:
        """Raises StoreError where the file is missing or too large."""
        epochs, columns = metadata.get("epochs") or 0, metric_columns(metrics_of(metadata), evaluated=is_evaluated(metadata))
        content = read_bounded(path, len(",".join(columns).encode()) + MOST_BYTES_A_NUMBER * len(columns) * (epochs + 1))
        return cls(path, content, columns, epochs, metadata.get("metrics_sha256"))

    @property
    def is_plain(self) -> bool:
        """Whether it is as gradclip writes it, as far as can be told at a glance: a header, lines of numbers, nothing changed."""
        header, _, body = self.content.partition(b"\n")
        *lines, rest = body.split(b"\n")
        return (
            header == ",".join(self.columns).encode()
            and not rest
            and [line.count(b",") for line in lines] == [len(self.columns) - 1] * self.epochs
            and not body.translate(None, delete=IN_NUMBERS)
            and self._is_unchanged
        )

    @property
    def lines(self) -> bytes:
        """All but the header."""
        return self.content.partition(b"\n")[2]

    @property
    def _is_unchanged(self) -> bool:
        return not self.sha256 or hashlib.sha256(self.content).hexdigest() == self.sha256

    def parsed(self) -> pd.DataFrame:
        """The table that it is. Raises StoreError where it is cut short or edited."""
        import pandas as pd

        with _parsing(self.path):
            frame = pd.read_csv(io.BytesIO(self.content))
        if list(frame.columns) != self.columns:
            told = f"its columns are not those of the run's metrics ({', '.join(self.columns)}): cut short, or edited?"
            raise StoreError(f"{self.path}: {told}")
        if len(frame) != self.epochs:
            raise StoreError(f"{self.path}: holds {len(frame)} epochs where {self.epochs} were trained: cut short?")
        if len(frame) and not all(pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes):
            raise StoreError(f"{self.path}: holds something that is not a number")
        if not self._is_unchanged:
            raise StoreError(f"{self.path}: was changed after the run wrote it (its SHA-256 differs)")
        if frame["epoch"].tolist() != list(range(1, self.epochs + 1)):
            raise StoreError(f"{self.path}: not every epoch from 1 on is there, once and in order")
        return frame


def read_steps(path: Readable, columns: Sequence[str], rows: int, every: int = 1) -> pd.DataFrame:
    """Read columns of so many rows of a `steps.csv`, as numbers. Raises StoreError where it is broken or not in order.

    Its rows are of one step in `every`.
    """
    import pandas as pd

    with _parsing(path), opened(path) as file:
        frame = pd.read_csv(file, usecols=list({"step", *columns}), nrows=rows).astype(float)
    if frame["step"].tolist() != list(range(every, every * rows + 1, every)):
        raise StoreError(f"{path}: not every step from 1 on is there, once and in order")
    frame["step"] = frame["step"].astype(int)
    if "clipped" in frame and not frame["clipped"].isin((0, 1)).all():
        raise StoreError(f"{path}: a step is neither clipped (1) nor not (0)")
    return frame


def read_columns(path: Readable) -> list[str]:
    """The names in a CSV's header. Raises StoreError where it is missing or broken."""
    import pandas as pd

    with _parsing(path), opened(path) as file:
        return [str(column) for column in pd.read_csv(file, nrows=0).columns]


def read_in_pieces(path: Readable, rows: int) -> Iterator[pd.DataFrame]:
    """Read a CSV some rows at a time, however long it is. Raises StoreError where it is missing or broken."""
    import pandas as pd

    with _parsing(path), opened(path) as file, pd.read_csv(file, chunksize=rows) as pieces:
        yield from pieces


def rows_and_sha256(path: Readable) -> tuple[int, str]:
    """How many whole lines follow a CSV's header, and the SHA-256 of all of it. Raises StoreError where it can't be read."""
    digest, lines = hashlib.sha256(), 0
    with opened(path) as file:
        for block in _blocks(file):
            digest.update(block)
            lines += block.count(b"\n")
    return max(0, lines - 1), digest.hexdigest()


def sha256_of_beginning(path: Path, length: int) -> str | None:
    """Of a file's first bytes; None where it is shorter, a link, or can't be read."""
    digest = hashlib.sha256()
    if path.is_symlink():
        return None
    try:
        with opened(path) as file:
            while length > 0 and (block := file.read(min(length, BLOCK))):
                digest.update(block)
                length -= len(block)
    except StoreError:
        return None
    return None if length else digest.hexdigest()


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(BLOCK), b"")


@contextmanager
def _parsing(path: Readable) -> Iterator[None]:
    """Turn what pandas raises on a broken file into StoreError that names the file."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise StoreError(f"{path}: can't be read: {str(error).splitlines()[0]}") from None
