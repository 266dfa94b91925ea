"""Stored runs from Python: `load` finds them, and tables of runs, epochs and steps are read once they are asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gradclip_cli.errors import ReportError, StoreError
from gradclip_cli.evidence import inspection
from gradclip_cli.evidence.inspection import Inspection
from gradclip_cli.notebooks.given import AnyPath, Seeds, results_folder, seeds_wanted, warn
from gradclip_cli.notebooks.shown import plain
from gradclip_cli.runs import csv_files, names
from gradclip_cli.runs.metadata import FINISHED
from gradclip_cli.runs.packs import STEPS
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.texts import counted, for_terminal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 20
"""Rows of a table that a notebook or terminal shows."""
KINDS = {"arm": "str", "seed": "int64", "status": "str", "epochs": "Int64", "steps": "Int64", "seconds": "float64"}
TIMES = ("started", "finished")


@dataclass(frozen=True, repr=False)
class Run:
    """One stored run, packed or not; its files are read once they are asked for.

    Whatever reads them raises StoreError where they are missing, cut short or changed since the run wrote them.

    Example:
        >>> import gradclip_cli
        >>> run = gradclip_cli.load("results")["none", 3]
        >>> run
        none/seed-3: complete
        >>> run.config["optimizer"]["learning_rate"]
        0.01
        >>> run.epochs["val_accuracy"].round(3).tolist()[-3:]
        [0.627, 0.639, 0.632]
    """

    directory: RunDirectory

    @property
    def arm(self) -> str:
        """The name of its arm."""
        return self.directory.arm

    @property
    def seed(self) -> int:
        """Its seed; of a recorded run that was told none, its number."""
        return self.directory.seed

    @property
    def path(self) -> Path:
        """Its folder, which is not there while the run is packed."""
        return self.directory.path

    @property
    def status(self) -> str:
        """`complete`, `diverged`, `running`, `interrupted`, `failed`, or `unreadable` where its `run.json` is broken or gone."""
        return str(self.directory.status())

    @functools.cached_property
    def metadata(self) -> dict[str, Any]:
        """What its `run.json` says."""
        return self.directory.metadata()

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The config that was trained, all defaults filled in."""
        return self.directory.config().model_dump(mode="json")

    @functools.cached_property
    def epochs(self) -> pd.DataFrame:
        """A row an epoch: `epoch`, losses, metrics and gradients' norms, in the files' units and unrounded."""
        metadata, _ = self.directory.stored()
        if metadata["status"] not in FINISHED:
            raise StoreError(f"{self.path}: {metadata['status']}, not finished; run it again to finish it")
        return self.directory.metrics()

    def steps(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read a row a recorded step.

        Args:
            columns: Columns of `steps.csv`, such as `["loss", "grad_norm"]`. Without, all that belong to no single variable.

        Returns:
            `step` and these columns: norms are global L2 norms, `clipped` says whether clipping acted.

        Raises:
            StoreError: Where its `steps.csv` is missing or broken.
            ReportError: Where it has no such column.
        """
        there = self._columns_of_steps()
        chosen = [name for name in there if "/" not in name] if columns is None else list(dict.fromkeys(["step", *columns]))
        if missing := [name for name in chosen if name not in there]:
            raise ReportError(f"{self} has no {', '.join(missing)} in its steps. There are: {', '.join(there)}")
        frame = self.directory.steps(chosen)[chosen]
        return frame.astype({"clipped": bool}) if "clipped" in chosen else frame

    def variables(self) -> pd.DataFrame:
        """Read a row a recorded step and variable of the model.

        Returns:
            `step`, `variable`, and of its gradient `norm` and `max_abs` (the largest element) before clipping, `applied_norm`
            and `applied_max_abs` after it.

        Raises:
            StoreError: Where its `steps.csv` is missing or broken.
        """
        names_there = [name for name in self._columns_of_steps() if "/" in name]
        frame = self.directory.steps(["step", *names_there])[["step", *names_there]].set_index("step")
        frame.columns = pd.MultiIndex.from_tuples([tuple(name.split("/", 1)) for name in names_there], names=[None, "variable"])
        return frame.stack("variable", future_stack=True).reset_index()

    def _columns_of_steps(self) -> list[str]:
        if not self.directory.has(STEPS):
            raise StoreError(inspection.without_steps(self.directory, "there are no steps to read"))
        return csv_files.read_columns(self.directory.file(STEPS))

    @property
    def health(self) -> str:
        """Its gradients in a word: healthy, spiking, exploding, vanishing or diverged. It is read from all its steps."""
        return self._inspection.diagnosis.word

    @property
    def sentences(self) -> list[str]:
        """What `gradclip show` says of its gradients."""
        return [": ".join(filter(None, pair)) for pair in inspection.lines(self._inspection)]

    def figure(self) -> Figure:
        """Draw its gradients step by step, before and after clipping, as `gradclip show` does."""
        from gradclip_cli import plots

        return plots.gradients_figure(inspection.trace(self._inspection))

    @functools.cached_property
    def _inspection(self) -> Inspection:
        self._columns_of_steps()
        return inspection.inspect(self.directory)

    def __str__(self) -> str:
        return for_terminal(names.run_name(self.directory))

    def __repr__(self) -> str:
        return f"{self}: {self.status}"


@dataclass(frozen=True, repr=False)
class Runs:
    """Stored runs, by arm and seed: `len`, `for` and `runs["none", 3]` work, and tables have all of them.

    Runs that a table can't take are left out of it, which a warning tells.

    Example:
        >>> import gradclip_cli
        >>> runs = gradclip_cli.load("results", arms=["none", "clipvalue"], seeds=range(10))
        >>> len(runs)
        20
        >>> runs.epochs.groupby(["arm", "epoch"])["val_accuracy"].mean().unstack("epoch").round(3)
        epoch        1      2      3      4      5      6      7      8      9      10
        arm
        clipvalue  0.31  0.424  0.504  0.551  0.588  0.625  0.644  0.666  0.685  0.695
        none       0.31  0.423  0.506  0.547  0.588  0.618  0.622  0.657  0.673  0.669
    """

    members: tuple[Run, ...]

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.members)

    def __getitem__(self, which: int | tuple[str, int]) -> Run:
        if isinstance(which, int):
            return self.members[which]
        found = [run for run in self if (run.arm, run.seed) == which]
        if not found:
            raise KeyError(f"{which} is none of these {counted(len(self), 'run')}; .table has their arms and seeds")
        return found[0]

    @property
    def table(self) -> pd.DataFrame:
        """A row a run: `arm`, `seed`, `status`, `epochs`, `steps`, `seconds`, when it `started` and `finished`, `path`."""
        rows = [{"arm": run.arm, "seed": run.seed, "path": str(run.path), **_standing(run)} for run in self]
        frame = pd.DataFrame(rows, columns=[*KINDS, *TIMES, "path"]).astype(KINDS | {"path": "str"})
        return frame.assign(**{name: pd.to_datetime(frame[name], utc=True, errors="coerce") for name in TIMES})

    @property
    def configs(self) -> pd.DataFrame:
        """A row a run: `arm`, `seed`, and each key of its config, such as `optimizer.learning_rate`."""
        configs, left_out = self._read(lambda run: pd.json_normalize(run.config))
        warn(left_out)
        return configs

    @property
    def epochs(self) -> pd.DataFrame:
        """A row an epoch of each finished run: `arm`, `seed`, `epoch`, losses, metrics, norms; NaN where a run has no such."""
        epochs, left_out = self._read(lambda run: run.epochs)
        warn(left_out)
        return epochs

    def steps(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read a row a recorded step of each run, which takes a while where there are many.

        Args:
            columns: Columns of `steps.csv`, such as `["loss", "grad_norm"]`. Without, all that belong to no single variable.

        Returns:
            `arm`, `seed`, `step` and these columns.

        Raises:
            StoreError: Where no run has its steps stored, with what to do.
            ReportError: Where a run has no such column.
        """
        steps, left_out = self._read(lambda run: run.steps(columns))
        warn(left_out)
        return steps

    def variables(self) -> pd.DataFrame:
        """Read a row a recorded step and variable of each run; of long runs that is a lot.

        Returns:
            `arm`, `seed`, and what `Run.variables` has.

        Raises:
            StoreError: Where no run has its steps stored, with what to do.
        """
        variables, left_out = self._read(lambda run: run.variables())
        warn(left_out)
        return variables

    def _read(self, frame_of: Callable[[Run], pd.DataFrame]) -> tuple[pd.DataFrame, list[str]]:
        """A frame of each run beneath each other, and what is said of the runs that have none. Raises StoreError without any."""
        frames, left_out = [], []
        for run in self:
            try:
                frames.append(_named(run, frame_of(run)))
            except StoreError as error:
                left_out.append(str(error))
        if not frames:
            raise StoreError(_first_of(left_out, "none can be read"))
        return pd.concat(frames, ignore_index=True), [_first_of(left_out, "left out")] if left_out else []

    def __repr__(self) -> str:
        return f"{plain(self.table.drop(columns=[*TIMES, 'path']), SHOWN)}\n{counted(len(self), 'run')}"

    def _repr_html_(self) -> str:
        return f"{self.table.to_html(max_rows=SHOWN, notebook=True)}<p>{counted(len(self), 'run')}</p>"


def _standing(run: Run) -> dict[str, Any]:
    """How a run stands, as far as its `run.json` can be read."""
    status = run.status
    try:
        return {**{name: run.metadata.get(name) for name in (*KINDS, *TIMES) if name not in ("arm", "seed")}, "status": status}
    except StoreError:
        return {"status": status}


def _named(run: Run, frame: pd.DataFrame) -> pd.DataFrame:
    """The same with the run's arm and seed in front."""
    names_of_run = pd.DataFrame({"arm": run.arm, "seed": run.seed}, index=frame.index)
    return pd.concat([names_of_run, frame], axis="columns")


def _first_of(reasons: Sequence[str], what: str) -> str:
    """What became of so many runs, and the reason for the first."""
    several = f"{counted(len(reasons), 'run')}, the first since " if len(reasons) > 1 else ""
    return f"{what}: {several}{reasons[0]}"


def load(results: AnyPath = "results", *, arms: str | Sequence[str] = (), seeds: Seeds = None) -> Runs:
    """Find stored runs; nothing of them is read before it is asked for.

    Args:
        results: The folder of runs, be it packed.
        arms: An arm or several, or single runs, as commands take them: `none`, `explode/none`, `none/seed-3`. Without, all.
        seeds: Only these, as numbers or as `--seeds` takes them (`"0-9"`; `"10"` is the first ten).

    Returns:
        The runs, by arm and seed.

    Raises:
        ReportError: Where there is no such folder, arm or run.
        ConfigError: Where the seeds can't be read.
        StoreError: Where a pack is damaged.

    Example:
        >>> import gradclip_cli
        >>> gradclip_cli.load("results", arms="none", seeds=[0, 1])
         arm  seed   status  epochs  steps  seconds
        none     0 complete      10   5000   39.140
        none     1 complete      10   5000   40.105
        2 runs
    """
    folder, wanted = results_folder(results), seeds_wanted(seeds)
    found = names.find_runs([arms] if isinstance(arms, str) else arms, folder)
    chosen = [run for run in found if wanted is None or run.seed in set(wanted)]
    if not found:
        raise ReportError(names.nothing_in(folder))
    if not chosen:
        there = sorted({run.seed for run in found})
        raise ReportError(f"No run of these in {folder} has a seed asked for; theirs go from {there[0]} to {there[-1]}.")
    return Runs(tuple(map(Run, chosen)))
