"""Stored runs to tables, pictures' data, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradclip_cli import config as configs
from gradclip_cli.errors import ReportError, StoreError
from gradclip_cli.schema import Config
from gradclip_cli.store import FINISHED, METRICS, RunDirectory, runs, write_atomically

FloatArray = npt.NDArray[np.floating[Any]]

SCHEMA = 1
BINS = 50
RESULT_COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class StoredRun:
    """One finished run, read and checked."""

    directory: RunDirectory
    config: Config
    metadata: dict[str, Any]
    metrics: pd.DataFrame

    @property
    def diverged(self) -> bool:
        """Whether a loss or weight became NaN or infinite."""
        return bool(self.metadata["status"] == "diverged")


@dataclass(frozen=True)
class Arm:
    """All runs of one name, by seed."""

    name: str
    runs: tuple[StoredRun, ...]

    @property
    def config(self) -> Config:
        return self.runs[0].config

    @property
    def seeds(self) -> list[int]:
        return [run.config.training.seed for run in self.runs]


@dataclass(frozen=True)
class Comparison:
    """Arms side by side. `table` has a row an arm; `differences` and `warnings` are sentences."""

    arms: tuple[Arm, ...]
    baseline: str
    table: pd.DataFrame
    differences: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """All figures, with a schema number."""
        content = {
            "schema": SCHEMA,
            "baseline": self.baseline,
            "evaluation_split": self.arms[0].runs[0].metadata["evaluation_split"],
            "arms": [
                {**_plain(row), "seeds": arm.seeds, "config": arm.config.model_dump(mode="json", exclude={"training": {"seed"}})}
                for arm, row in zip(self.arms, self.table.to_dict("records"), strict=True)
            ],
            "differences": self.differences,
            "warnings": self.warnings,
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(key): None if isinstance(value, float) and not np.isfinite(value) else value for key, value in row.items()}


def compare(results: Path, names: Sequence[str] = (), baseline: str | None = None) -> Comparison:
    """Read the finished runs of these arms (all without `names`) and put them side by side.

    Broken and unfinished runs are left out with a warning. Raises ReportError where nothing is left, or an arm or the
    baseline isn't there.
    """
    arms, warnings = _read_arms(results, names)
    chosen = baseline or ("none" if any(arm.name == "none" for arm in arms) else arms[0].name)
    base = next((arm for arm in arms if arm.name == chosen), None)
    if base is None:
        raise ReportError(f"No arm '{chosen}' to compare with. There are: {', '.join(arm.name for arm in arms)}")
    arms = [base, *(arm for arm in arms if arm is not base)]
    table = pd.DataFrame([_summary(arm) for arm in arms])
    return Comparison(tuple(arms), chosen, table, tuple(_differences(arms)), (*warnings, *_mixtures(arms)))


def _read_arms(results: Path, names: Sequence[str]) -> tuple[list[Arm], list[str]]:
    stored = runs(results)
    known = list(dict.fromkeys(run.arm for run in stored))
    missing = [name for name in names if name not in known]
    if not stored:
        raise ReportError(f"No runs in {results}. Train some first: gradclip run none clipvalue")
    if missing:
        raise ReportError(f"No runs of {', '.join(missing)} in {results}. There are: {', '.join(known)}")
    wanted = list(names) or known
    arms, warnings = [], []
    for name in wanted:
        read: list[StoredRun] = []
        for directory in (run for run in stored if run.arm == name):
            try:
                read.append(_read_run(directory))
            except (StoreError, ReportError) as error:
                warnings.append(f"left out: {error}")
        if read:
            arms.append(Arm(name, tuple(read)))
    if not arms:
        raise ReportError("\n".join([f"No finished run to compare in {results}.", *warnings]))
    return arms, warnings


def _read_run(directory: RunDirectory) -> StoredRun:
    metadata = directory.metadata()
    if metadata["status"] not in FINISHED:
        raise ReportError(f"{directory.path}: {metadata['status']}, not finished; run it again to finish it")
    return StoredRun(directory, directory.config(), metadata, directory.metrics())


def _summary(arm: Arm) -> dict[str, Any]:
    """A row of the table: means and standard deviations over seeds of each run's last whole epoch."""
    last = pd.DataFrame([run.metrics.iloc[-1] for run in arm.runs if len(run.metrics)], columns=list(METRICS))
    diverged = sum(run.diverged for run in arm.runs)
    row: dict[str, Any] = {
        "arm": arm.name,
        "runs": len(arm.runs),
        "complete": len(arm.runs) - diverged,
        "diverged": diverged,
    }
    for column in RESULT_COLUMNS:
        row[column] = float(last[column].mean())
        row[f"{column}_std"] = float(last[column].std(ddof=1))
    epochs = pd.concat([run.metrics for run in arm.runs])
    row["grad_norm_median"] = float(epochs["grad_norm_median"].median())
    row["grad_norm_max"] = float(epochs["grad_norm_max"].max())
    row["clipped_fraction"] = float(epochs["clipped_fraction"].mean())
    return row


def _differences(arms: Sequence[Arm]) -> list[str]:
    """What differs between the arms besides clipping, and within an arm besides the seed."""
    base = arms[0]
    told = []
    for arm in arms:
        keys = [
            f"{key} is {there}, not {here}"
            for key, here, there in configs.differences(base.config, arm.config)
            if not key.startswith("clipping.") and key not in ("name", "training.seed")
        ]
        if keys:
            told.append(f"{arm.name} differs from {base.name} in more than clipping: {'; '.join(keys)}")
        for run in arm.runs[1:]:
            mixed = configs.differences(arm.config.with_seed(0), run.config.with_seed(0))
            if mixed:
                keys = [f"{key}: {here} and {there}" for key, here, there in mixed]
                told.append(f"{arm.name} mixes configs (seed {run.config.training.seed}): {'; '.join(keys)}")
    return told


def _mixtures(arms: Iterable[Arm]) -> list[str]:
    """Warn where the runs come from several versions, machines, datasets or engine settings."""
    facts: dict[str, Callable[[StoredRun], Any]] = {
        "versions": lambda run: ", ".join(f"{name} {version}" for name, version in sorted(run.metadata["versions"].items())),
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
        if len(values) > 1:
            told = "; ".join(f"{value} ({len(places)} runs, such as {places[0]})" for value, places in values.items())
            warnings.append(f"mixed {fact}: {told}")
    return warnings


def curves(arm: Arm, metric: str) -> tuple[FloatArray, FloatArray]:
    """An arm's metric by epoch: epochs (E,) and values (seeds, E), NaN where a run has no such epoch."""
    epochs = max((len(run.metrics) for run in arm.runs), default=0)
    values = np.full((len(arm.runs), epochs), np.nan)
    for row, run in zip(values, arm.runs, strict=True):
        row[: len(run.metrics)] = run.metrics[metric]
    return np.arange(1.0, epochs + 1), values


def step_bins(arm: Arm, quantity: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """An arm's `grad_norm` or `clipped` column in bins of steps.

    Returns the bins' middles in epochs (B,), the median norm or share of clipped steps of each run (seeds, B), and the
    largest value of any run (B,). Where a run has no `steps.csv`, its epoch columns stand in. NaN where nothing is known.
    """
    training = arm.config.training
    total = training.epochs * training.steps_per_epoch
    bins = min(BINS, total)
    middles = (np.arange(bins) + 0.5) * training.epochs / bins
    typical, largest = np.full((2, len(arm.runs), bins), np.nan)
    for run, typical_row, largest_row in zip(arm.runs, typical, largest, strict=True):
        if run.directory.steps_path.exists():
            steps = run.directory.steps(["step", quantity])
            groups = steps[quantity].groupby((steps["step"] - 1) * bins // total)
            typical_row[groups.median().index] = groups.median() if quantity == "grad_norm" else groups.mean()
            largest_row[groups.max().index] = groups.max()
        else:
            names = ("grad_norm_median", "grad_norm_max") if quantity == "grad_norm" else ("clipped_fraction",) * 2
            known = middles < len(run.metrics)
            epochs = middles[known].astype(int)
            typical_row[known], largest_row[known] = (run.metrics[name].to_numpy()[epochs] for name in names)
    return middles, typical, np.fmax.reduce(largest)


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write `comparison.csv`, `.json`, `.png` and `.svg` into a folder and return their paths. Raises StoreError."""
    from gradclip_cli import plots

    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"comparison.{suffix}" for suffix in ("png", "svg", "csv", "json")]
        plots.save(plots.comparison_figure(_panels(comparison)), paths[:2])
        write_atomically(paths[2], comparison.table.to_csv(index=False))
        write_atomically(paths[3], comparison.to_json())
    except OSError as error:
        raise StoreError(f"{folder}: can't be written ({error.strerror}); choose another folder with --out") from None
    return paths


def _panels(comparison: Comparison) -> list[Any]:
    from gradclip_cli.plots import Curve, Panel

    split = "holdout" if comparison.arms[0].runs[0].metadata["evaluation_split"] == "holdout" else "test"
    titles = {
        "loss": ("Training loss", "cross-entropy (nats)"),
        "val_loss": (f"{split.capitalize()} loss", "cross-entropy (nats)"),
        "accuracy": ("Training accuracy", "share correct"),
        "val_accuracy": (f"{split.capitalize()} accuracy", "share correct"),
    }

    def curve(arm: Arm, epochs: FloatArray, values: FloatArray, peaks: FloatArray | None = None) -> Curve:
        ends = [run.metadata["steps"] / run.config.training.steps_per_epoch if run.diverged else None for run in arm.runs]
        return Curve(arm.name, epochs, values, ends, peaks)

    panels = [
        Panel(title, unit, [curve(arm, *curves(arm, metric)) for arm in comparison.arms])
        for metric, (title, unit) in titles.items()
    ]
    norms = [curve(arm, *step_bins(arm, "grad_norm")) for arm in comparison.arms]
    shares = [curve(arm, *step_bins(arm, "clipped")[:2]) for arm in comparison.arms]
    thresholds = {arm.name: arm.config.threshold for arm in comparison.arms}
    title = "Gradient norm before clipping: median and largest"
    panels.append(Panel(title, "global L2 norm", norms, log=True, thresholds=thresholds))
    panels.append(Panel("Clipped steps", "share of steps", shares))
    return panels
