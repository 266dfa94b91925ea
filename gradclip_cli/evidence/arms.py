"""Stored runs, read and checked, as arms: what they scored, what differs between them, what is mixed within them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradclip_cli.arrays import BoolArray, FloatArray, IntArray
from gradclip_cli.config import loading
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ReportError, StoreError
from gradclip_cli.gradients.health import cut_shares
from gradclip_cli.problems import problem_of
from gradclip_cli.runs.metadata import FINISHED
from gradclip_cli.runs.store import RunDirectory, runs
from gradclip_cli.texts import counted

BINS = 50
COLLAPSE = 0.05
"""Fall of the evaluated accuracy within an epoch, beyond which a run collapsed."""


@dataclass(frozen=True)
class StoredRun:
    """One finished run."""

    directory: RunDirectory
    config: Config
    metadata: dict[str, Any]
    metrics: pd.DataFrame

    @property
    def seed(self) -> int:
        return self.config.training.seed

    @property
    def diverged(self) -> bool:
        """Whether a loss or weight became NaN or infinite."""
        return bool(self.metadata["status"] == "diverged")


@dataclass(frozen=True)
class Arm:
    """All finished runs of one name, by seed."""

    name: str
    runs: tuple[StoredRun, ...]
    replicates: tuple[Arm, ...] = ()
    """Arms that repeat it with other rounding, with seeds that it has; empty unless somebody asked for them."""

    @property
    def config(self) -> Config:
        """The first run's config, which stands for all but the seed."""
        return self.runs[0].config

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]

    @property
    def diverged(self) -> BoolArray:
        """Which runs diverged, (seeds,)."""
        return np.array([run.diverged for run in self.runs])

    @property
    def evaluation_split(self) -> str:
        """`test` or `holdout`."""
        return str(self.runs[0].metadata["evaluation_split"])

    @property
    def collapsed(self) -> BoolArray:
        """Which runs' evaluated accuracy fell by more than 5 points from one epoch to the next, (seeds,)."""
        falls = -np.diff(self.curves("val_accuracy"), axis=1, prepend=np.nan)
        return np.asarray((falls > COLLAPSE).any(axis=1))  # what is not known is no fall

    def only(self, seeds: Iterable[int]) -> Arm:
        """The same arm with these of its seeds."""
        wanted = set(seeds)
        runs = tuple(run for run in self.runs if run.seed in wanted)
        return Arm(self.name, runs, tuple(each.only(wanted) for each in self.replicates))

    def curves(self, column: str) -> FloatArray:
        """A column of `metrics.csv` as it is, (seeds, epochs); NaN where a run has no such epoch."""
        values = np.full((len(self.runs), self.config.training.epochs), np.nan)
        for row, run in zip(values, self.runs, strict=True):
            row[: len(run.metrics)] = run.metrics[column]
        return values

    def chance(self, column: str) -> float:
        """What a model that looks at nothing scores in a loss or accuracy column."""
        stored = self.runs[0].metadata.get("chance") or _chance_of_older_runs(self.config)
        return float(stored["accuracy" if column.endswith("accuracy") else "loss"])

    def scored(self, column: str) -> FloatArray:
        """A loss or accuracy column as it is scored, (seeds, epochs): chance is the worst, and a diverged run ends there."""
        accuracy = column.endswith("accuracy")
        return scored(self.curves(column), self.diverged, worst=self.chance(column), higher_is_better=accuracy)

    def scored_throughout(self, column: str) -> FloatArray:
        """The same for scores of whole curves: a diverged run is at chance on all its epochs, whatever came before."""
        return np.where(self.diverged[:, None], self.chance(column), self.scored(column))


def _chance_of_older_runs(config: Config) -> dict[str, float]:
    """What runs don't say that were trained before they did; all of them are of the article's kind."""
    chance = problem_of(config).chance
    assert chance is not None
    return asdict(chance)


def scored(curves: FloatArray, diverged: BoolArray, *, worst: float, higher_is_better: bool) -> FloatArray:
    """Curves (seeds, epochs) as they are scored: nothing is worse than `worst`, and a diverged run is no better.

    `worst` is what a uniform guess gets. A diverged run (`diverged`, (seeds,)) has it from the epoch that it didn't
    finish on, and at its last epoch in any case: a score from the last epoch then never rewards divergence. Losses are
    capped at it; accuracies that really were lower stay.
    """
    values = np.where(np.isnan(curves), worst, curves)
    if not higher_is_better:
        values = np.minimum(values, worst)
    values[diverged, -1] = worst
    return values


def read_arms(results: Path, names: Sequence[str] = ()) -> tuple[list[Arm], list[str]]:
    """Read the finished runs of these arms (all without `names`), with a warning for each broken or unfinished one.

    Raises ReportError where an arm has no runs at all, or where nothing is left.
    """
    stored = runs(results)
    known = list(dict.fromkeys(run.arm for run in stored))
    missing = [name for name in names if name not in known]
    if not stored:
        raise ReportError(f"No runs in {results}. Train some first: gradclip run none clipvalue")
    if missing:
        raise ReportError(f"No runs of {', '.join(missing)} in {results}. There are: {', '.join(known)}")
    arms: list[Arm] = []
    warnings: list[str] = []
    for name in dict.fromkeys(names or known):
        finished: list[StoredRun] = []
        for directory in (run for run in stored if run.arm == name):
            try:
                finished.append(_read_run(directory))
            except (StoreError, ReportError) as error:
                warnings.append(f"left out: {error}")
        if finished:
            arms.append(Arm(name, tuple(finished)))
    if not arms:
        raise ReportError("\n".join([f"No finished run to compare in {results}.", *warnings]))
    return arms, warnings


def _read_run(directory: RunDirectory) -> StoredRun:
    metadata, config = directory.stored()
    if metadata["status"] not in FINISHED:
        raise ReportError(f"{directory.path}: {metadata['status']}, not finished; run it again to finish it")
    return StoredRun(directory, config, metadata, directory.metrics())


def other_differences(base: Arm, arm: Arm) -> list[tuple[str, Any, Any]]:
    """Keys in which two arms differ besides clipping, name and seed, with both values."""
    found = loading.differences(base.config, arm.config)
    return [each for each in found if not each[0].startswith("clipping.") and each[0] not in ("name", "training.seed")]


def differences(arms: Sequence[Arm]) -> list[str]:
    """What differs between the arms besides clipping, and within an arm besides the seed."""
    base = arms[0]
    sentences = []
    for arm in arms:
        keys = [f"{key} is {there}, not {here}" for key, here, there in other_differences(base, arm)]
        if keys:
            sentences.append(f"{arm.name} differs from {base.name} in more than clipping: {'; '.join(keys)}")
        for one in (arm, *arm.replicates):
            sentences += _mixed_configs(one)
    return sentences


def _mixed_configs(arm: Arm) -> list[str]:
    sentences = []
    for run in arm.runs[1:]:
        mixed = loading.differences(arm.config.with_seed(0), run.config.with_seed(0))
        if mixed:
            keys = [f"{key}: {here} and {there}" for key, here, there in mixed]
            sentences.append(f"{arm.name} mixes configs (seed {run.config.training.seed}): {'; '.join(keys)}")
    return sentences


def _version(package: str, run: StoredRun) -> str | None:
    """The version of a package that a run was trained with; None where its framework needs none."""
    version: str | None = run.metadata["versions"].get(package)
    return version


def mixtures(arms: Sequence[Arm]) -> list[str]:
    """Warn where the runs come from several versions, machines, datasets or engine settings."""
    arms = [one for arm in arms for one in (arm, *arm.replicates)]
    packages = sorted({package for arm in arms for run in arm.runs for package in run.metadata["versions"]})
    facts: dict[str, Callable[[StoredRun], Any]] = {
        **{f"versions of {package}": functools.partial(_version, package) for package in packages},
        "machines": lambda run: run.metadata["machine"].get("processor"),
        "datasets": lambda run: run.metadata["dataset_sha256"],
        "evaluation splits": lambda run: run.metadata["evaluation_split"],
        "engine settings": lambda run: ", ".join(f"{key} {value}" for key, value in run.config.engine.model_dump().items()),
    }
    warnings = []
    for fact, of in facts.items():
        values: dict[Any, list[str]] = {}
        for arm in arms:
            for run in arm.runs:
                values.setdefault(of(run), []).append(f"{arm.name}/{run.directory.path.name}")
        values.pop(None, None)
        if len(values) > 1:
            found = (f"{value} ({counted(len(places), 'run')}, such as {places[0]})" for value, places in values.items())
            warnings.append(f"mixed {fact}: {'; '.join(found)}")
    return warnings


@dataclass(frozen=True)
class StepBins:
    """An arm's gradients in bins of steps, for B bins; NaN where nothing is known."""

    middles: FloatArray
    """(B,) in epochs."""
    median_norm: FloatArray
    """(seeds, B) median gradient norm of each run."""
    largest_norm: FloatArray
    """(B,) largest gradient norm of any run."""
    clipped: FloatArray
    """(seeds, B) share of clipped steps of each run."""
    median_applied: FloatArray
    """(seeds, B) median norm of what clipping left in each run; unknown without `steps.csv`."""
    largest_applied: FloatArray
    """(B,) largest norm of what clipping left in any run."""
    cut: FloatArray
    """(seeds, B) mean share of the norm that clipping took off each run's clipped steps."""
    warnings: tuple[str, ...] = ()
    """Runs whose `steps.csv` can't be read, with the reason; their rows hold NaN."""


def step_bins(arm: Arm) -> StepBins:
    """Bin an arm's `steps.csv`; where a run has none, its epoch columns stand in. One that can't be read is left out."""
    training = arm.config.training
    total = training.epochs * training.steps_per_epoch
    bins = min(BINS, total)
    middles = (np.arange(bins) + 0.5) * training.epochs / bins
    binned = {name: np.full((len(arm.runs), bins), np.nan) for name in _BINNED}
    warnings = []
    for index, run in enumerate(arm.runs):
        try:
            found = _binned_steps(run, bins, total) if run.directory.has("steps.csv") else _binned_epochs(run, middles)
        except StoreError as error:
            warnings.append(f"steps left out of the picture: {error}")
            continue
        for name, (there, values) in found.items():
            binned[name][index, there] = values
    largest = {name: np.fmax.reduce(binned.pop(name)) for name in ("largest_norm", "largest_applied")}
    return StepBins(middles=middles, warnings=tuple(warnings), **binned, **largest)


_BINNED = ("median_norm", "largest_norm", "clipped", "median_applied", "largest_applied", "cut")


def _binned_steps(run: StoredRun, bins: int, total: int) -> dict[str, tuple[IntArray, FloatArray]]:
    """By quantity: which bins a run's `steps.csv` reaches, and the quantity there. Raises StoreError."""
    steps = run.directory.steps(["step", "grad_norm", "applied_norm", "clipped"])
    steps["cut"] = cut_shares(steps["grad_norm"].to_numpy(), steps["applied_norm"].to_numpy(), steps["clipped"].to_numpy(bool))
    groups = steps.groupby((steps["step"] - 1) * bins // total)
    there = groups["step"].first().index.to_numpy()
    found = (
        groups["grad_norm"].median(),
        groups["grad_norm"].max(),
        groups["clipped"].mean(),
        groups["applied_norm"].median(),
        groups["applied_norm"].max(),
        groups["cut"].mean(),
    )
    return {name: (there, column.to_numpy(float)) for name, column in zip(_BINNED, found, strict=True)}


def _binned_epochs(run: StoredRun, middles: FloatArray) -> dict[str, tuple[IntArray, FloatArray]]:
    """The same from the columns of `metrics.csv`: what clipping left isn't among them, unless nothing was clipped."""
    there = np.flatnonzero(middles < len(run.metrics))
    epochs = middles[there].astype(int)
    columns = ("grad_norm_median", "grad_norm_max", "clipped_fraction", "grad_norm_median", "grad_norm_max")
    known = columns if run.config.clipping.mode == "none" else columns[:3]
    return {name: (there, run.metrics[column].to_numpy()[epochs]) for name, column in zip(_BINNED, known, strict=False)}
