"""Stored runs for other programs: what of a run is exported, and as what, before or after clipping; and all as one CSV.

A run is exported as far as it is there: an unfinished one up to its last whole step, one without `steps.csv` by its epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradclip_cli.errors import ExportError, StoreError
from gradclip_cli.files import replacing, writing
from gradclip_cli.runs import csv_files
from gradclip_cli.runs.metadata import FINISHED, recorded_every
from gradclip_cli.runs.steps import UPDATE_NORM
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.texts import counted

if TYPE_CHECKING:
    import pandas as pd

CELLS = 200_000  # read at a time
Done = Callable[[int], None]
"""What is told how many further steps are exported."""
COLUMNS = ("arm", "seed", "per", "epoch", "step", "variable", "quantity", "value")


def unheard(steps: int) -> None:
    """A `Done` for whom nobody waits."""


class Detail(StrEnum):
    """How much of a run is exported: each includes those before it."""

    EPOCHS = "epochs"
    STEPS = "steps"
    VARIABLES = "variables"


@dataclass(frozen=True)
class Quantity:
    """A column of a run's files, in others' words."""

    name: str
    """In a table, where it may become a column of its own."""
    tag: str
    """In TensorBoard, where what stands before the slash are the charts' groups."""
    variable: str = ""


_OF_EPOCHS = {
    "grad_norm_median": ("median_gradient_norm_before_clipping", "median norm before clipping"),
    "grad_norm_max": ("largest_gradient_norm_before_clipping", "largest norm before clipping"),
    "clipped_fraction": ("clipped_fraction", "clipped fraction"),
}
_OF_STEPS = {
    "grad_norm": ("gradient_norm_before_clipping", "gradients/norm before clipping"),
    "applied_norm": ("gradient_norm_after_clipping", "gradients/norm after clipping"),
    "clipped": ("clipped", "gradients/clipped"),
    UPDATE_NORM: ("update_norm", "update norm"),
}
_OF_VARIABLES = {
    "norm": ("gradient_norm_before_clipping", "norm before clipping"),
    "applied_norm": ("gradient_norm_after_clipping", "norm after clipping"),
    "max_abs": ("largest_gradient_element_before_clipping", "largest element before clipping"),
    "applied_max_abs": ("largest_gradient_element_after_clipping", "largest element after clipping"),
}


def of_epochs(column: str) -> Quantity:
    """What a column of `metrics.csv` is called."""
    name, title = _OF_EPOCHS.get(column, (column, column))
    return Quantity(name, f"epoch/{title}")


def of_steps(column: str) -> Quantity:
    """What a column of `steps.csv` is called."""
    quantity, of_variable, variable = column.partition("/")
    if of_variable:
        name, title = _OF_VARIABLES.get(quantity, (quantity, quantity))
        return Quantity(name, f"{title}/{variable}", variable)
    return Quantity(*_OF_STEPS.get(column, (column, f"step/{column}")))


@dataclass(frozen=True)
class ExportedRun:
    """A run that was read and checked as far as can be done without reading its steps."""

    directory: RunDirectory
    metadata: dict[str, Any]
    metrics: pd.DataFrame | None
    """By epoch, with the `step` at its end; None where the run has not ended."""
    rows: int
    """Of its `steps.csv`; 0 where it is not exported."""
    steps_an_epoch: int | None
    """None of a recorded run that has not ended."""

    def pieces(self, detail: Detail, done: Done) -> Iterator[pd.DataFrame]:
        """Its steps, some at a time: `step` and the quantities by their columns in `steps.csv`. Raises StoreError."""
        from gradclip_cli.evidence.step_pieces import step_pieces

        if not self.rows:
            return
        columns = csv_files.read_columns(self.directory.file("steps.csv"))
        size = max(1, CELLS // len(columns))
        chosen = [column for column in columns if detail is Detail.VARIABLES or "/" not in column]
        every = recorded_every(self.metadata)
        for piece in step_pieces(self.directory, self.rows, size, every, lambda piece: self._numbers(piece, chosen)):
            yield piece
            done(len(piece))

    def _numbers(self, piece: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
        try:
            return piece[[*columns]].astype(dict.fromkeys(columns, float) | {"step": int, "clipped": int})
        except (KeyError, ValueError) as error:
            raise StoreError(f"{self.directory.steps_path}: not a table of steps: {error}") from None


def read(runs: Iterable[RunDirectory], detail: Detail) -> tuple[list[ExportedRun], list[str]]:
    """The runs that can be read, and a warning for each that can't, or is not whole. Raises ExportError where none is left."""
    found: list[ExportedRun] = []
    warnings: list[str] = []
    for run in runs:
        try:
            found.append(_read_run(run, detail, warnings))
        except StoreError as error:
            warnings.append(f"left out: {error}")
    if not found:
        raise ExportError("\n".join(["There is no run to export.", *warnings]))
    lacking = [str(run.directory.path) for run in found if not run.directory.has("steps.csv")]
    if lacking and detail is not Detail.EPOCHS:
        warnings.append(f"without steps.csv only epochs are exported: {counted(len(lacking), 'run')}, such as {lacking[0]}")
    return found, warnings


def _read_run(run: RunDirectory, detail: Detail, warnings: list[str]) -> ExportedRun:
    metadata, config = run.stored()
    ended = bool(metadata.get("epochs"))
    length = config.training.steps_per_epoch if ended or not metadata.get("recorded") else None
    metrics = run.metrics() if ended else None
    if metrics is not None and length:
        metrics["step"] = (metrics["epoch"] * length).clip(upper=metadata.get("steps"))
    if metadata["status"] not in FINISHED:
        warnings.append(f"{run.path}: {metadata['status']}, not finished: exported as far as it goes")
    rows = _count(run, warnings) if detail is not Detail.EPOCHS and run.has("steps.csv") else 0
    return ExportedRun(run, metadata, metrics, rows, length)


def _count(run: RunDirectory, warnings: list[str]) -> int:
    """Whole rows of a run's `steps.csv`; none where it can't be read, which joins the warnings."""
    try:
        return run.count_steps()
    except StoreError as error:
        warnings.append(f"steps left out: {error}")
        return 0


def csv_pieces(runs: Iterable[ExportedRun], detail: Detail, done: Done = unheard) -> Iterator[str]:
    """The runs as one table with a row a value, as CSV, some lines at a time. Raises StoreError.

    Its columns are `COLUMNS`: a value is `per` epoch or step; `epoch` and `step` say which, an epoch's step being its last one;
    `variable` is empty for what belongs to all variables together. Numbers are those of the run's files.
    """
    yield ",".join(COLUMNS) + "\n"
    for run in runs:
        if run.metrics is not None:
            yield _lines(run, run.metrics, "epoch")
        for piece in run.pieces(detail, done):
            yield _lines(run, piece, "step")


def _lines(run: ExportedRun, frame: pd.DataFrame, per: str) -> str:
    import numpy as np
    import pandas as pd

    columns = [str(column) for column in frame if column not in ("epoch", "step")]
    quantities = [of_epochs(column) if per == "epoch" else of_steps(column) for column in columns]
    each = {
        "epoch": np.repeat(_epochs(run, frame), len(columns)),
        "step": np.repeat(frame["step"].to_numpy(), len(columns)),
        "variable": np.tile([quantity.variable for quantity in quantities], len(frame)),
        "quantity": np.tile([quantity.name for quantity in quantities], len(frame)),
        "value": frame[columns].to_numpy(float).ravel(),
    }
    table = pd.DataFrame({"arm": run.directory.arm, "seed": run.directory.seed, "per": per, **each}, columns=COLUMNS)
    digits = "%.6g" if per == "step" else None  # those of `steps.csv`; all of an epoch's
    return str(table.to_csv(index=False, header=False, na_rep="NaN", float_format=digits, lineterminator="\n"))


def _epochs(run: ExportedRun, frame: pd.DataFrame) -> Any:
    """The epoch that each row belongs to; nothing where it isn't known."""
    if "epoch" in frame:
        return frame["epoch"].to_numpy()
    return -(-frame["step"].to_numpy() // run.steps_an_epoch) if run.steps_an_epoch else [""] * len(frame)


def require_free(path: Path, *, force: bool) -> None:
    """Raises ExportError where something is at a path that is to be written: with `force` only what is no regular file."""
    if path.exists() and not path.is_file():
        raise ExportError(f"{path}: is not a file that a table can take the place of; name another, or - for stdout")
    if path.exists() and not force:
        raise ExportError(f"{path}: is there already; --force writes over it")


def write_csv(path: Path, pieces: Iterable[str]) -> None:
    """Write a table into a file, whole or not at all. Raises StoreError."""
    with writing(path), replacing(path) as file:
        for piece in pieces:
            file.write(piece.encode(errors="backslashreplace"))
