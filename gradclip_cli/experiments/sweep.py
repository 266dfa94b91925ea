"""`sweep`: a grid of arms, its stability map, and whether clipping still helps at its best rate.

Each row's best column is chosen on the holdout by the mean score over seeds. Only then are the best ones trained on all training
images with seeds that the grid never had, and only those runs are compared on the test set: no figure is used twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradclip_cli import arms as arm_room
from gradclip_cli import comparison, report, runner
from gradclip_cli.arms import Arm
from gradclip_cli.comparison import Comparison
from gradclip_cli.data import CLASSES
from gradclip_cli.errors import ReportError, StoreError
from gradclip_cli.metrics import METRICS, scores
from gradclip_cli.runner import PlannedRun
from gradclip_cli.schema import Config
from gradclip_cli.store import write_atomically
from gradclip_cli.sweeps import Cell, Sweep

if TYPE_CHECKING:
    from gradclip_cli.plots import StabilityMap

SCHEMA = 1
METRIC = METRICS["val_accuracy"]
BEST = "best"  # folder of the runs at each row's best column


@dataclass(frozen=True)
class Row:
    """One row of the map: its cells' arms in the columns' order, and the column with the best mean score."""

    label: str
    cells: tuple[Cell, ...]
    arms: tuple[Arm, ...]
    best: int | None
    """None where no run of the row was better than chance."""

    @property
    def scores(self) -> list[float]:
        """Mean score of each cell over seeds, in percent; a diverged run counts as chance."""
        return [float(np.mean(scores(arm, METRIC, 0.0))) * METRIC.scale for arm in self.arms]

    @property
    def diverged(self) -> list[float]:
        """Share of each cell's runs that diverged."""
        return [float(arm.diverged.mean()) for arm in self.arms]

    @property
    def at_edge(self) -> bool:
        """Whether the best column is the first or the last, so that a better one may lie beyond."""
        return self.best is not None and len(self.arms) > 1 and self.best in (0, len(self.arms) - 1)


@dataclass(frozen=True)
class Result:
    """A sweep's rows, and the comparison at their best columns where there is one."""

    sweep: Sweep
    rows: tuple[Row, ...]
    split: str
    best: Comparison | None = None


def plan(sweep: Sweep, results: Path) -> list[PlannedRun]:
    """Plan the grid's runs, writing nothing."""
    return runner.plan(sweep.configs, sweep.seeds, results)


def read(sweep: Sweep, results: Path) -> Result:
    """Read the grid's runs and choose each row's best column. Raises ReportError where a run can't be read."""
    arms = _read_all(sweep.configs, sweep.seeds, results)
    rows = []
    for label, cells in sweep.rows().items():
        row = Row(label, tuple(cells), tuple(arms[cell.config.name] for cell in cells), None)
        rows.append(Row(label, row.cells, row.arms, _best(row)))
    return Result(sweep, tuple(rows), rows[0].arms[0].evaluation_split)


def _read_all(configs: Sequence[Config], seeds: Sequence[int], results: Path) -> dict[str, Arm]:
    names = [config.name for config in configs]
    read, warnings = arm_room.read(results, names)
    arms = {arm.name: arm.only(seeds) for arm in read}
    missing = [name for name in names if name not in arms or set(arms[name].seeds) != set(seeds)]
    if missing:
        raise ReportError(
            "; ".join([f"runs of {', '.join(missing)} can't be read", *warnings]) + ". Give the same command again."
        )
    return arms


def _best(row: Row) -> int | None:
    chance = 100 / CLASSES
    return int(np.argmax(row.scores)) if max(row.scores) > chance else None


def best_configs(result: Result) -> list[Config]:
    """The config of each row's best column, on all training images; none where rates were chosen on the test set."""
    if result.split == "test":
        return []
    chosen = [row.cells[row.best].config for row in result.rows if row.best is not None]
    return [config.model_copy(update={"data": config.data.model_copy(update={"holdout": 0})}) for config in chosen]


def plan_best(result: Result, results: Path) -> list[PlannedRun]:
    """Plan the runs at the rows' best columns, with seeds that the grid never had."""
    configs = best_configs(result) if result.sweep.fresh_seeds else []
    return runner.plan(configs, result.sweep.fresh_seeds, results / BEST)


def compare_best(result: Result, results: Path) -> Result:
    """Compare the runs at the rows' best columns: with the unclipped one, else the first."""
    configs = best_configs(result)
    if len(configs) < 2 or not result.sweep.fresh_seeds:
        return result
    _read_all(configs, result.sweep.fresh_seeds, results / BEST)
    unclipped = next((config.name for config in configs if config.clipping.mode == "none"), configs[0].name)
    names = [config.name for config in configs]
    compared = comparison.compare(results / BEST, names, unclipped, seeds=result.sweep.fresh_seeds)
    return Result(result.sweep, result.rows, result.split, compared)


def table(result: Result) -> pd.DataFrame:
    """The map as a table, a row a cell."""
    columns = result.sweep.columns
    return pd.DataFrame(
        {
            "row": row.label,
            columns.key: columns.labels[cell.places[result.sweep.column_axis]],
            "arm": arm.name,
            "runs": len(arm.runs),
            "diverged": int(arm.diverged.sum()),
            f"{result.split}_accuracy": float(np.mean(scores(arm, METRIC, 0.0))),
            f"{result.split}_accuracy_std": float(np.std(scores(arm, METRIC, 0.0), ddof=1)) if len(arm.runs) > 1 else np.nan,
            "best": index == row.best,
            "at_edge": index == row.best and row.at_edge,
        }
        for row in result.rows
        for index, (cell, arm) in enumerate(zip(row.cells, row.arms, strict=True))
    )


def stability(result: Result) -> StabilityMap:
    """The map as the picture wants it."""
    from gradclip_cli.plots import StabilityMap

    columns = result.sweep.columns
    return StabilityMap(
        metric=f"mean {result.split} accuracy (%)",
        axis=_axis_name(columns.key),
        columns=columns.labels,
        rows=[row.label for row in result.rows],
        values=np.array([row.scores for row in result.rows]),
        diverged=np.array([row.diverged for row in result.rows]),
        best=[row.best for row in result.rows],
        higher_is_better=METRIC.higher_is_better,
    )


def _axis_name(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")


def best_columns() -> list[str]:
    """Headings of `best_rows`."""
    return ["", "best at", "accuracy (%)", "diverged there", ""]


def best_rows(result: Result) -> list[list[str]]:
    """Each row's best column, as texts."""
    axis = result.sweep.columns
    told = []
    for row in result.rows:
        if row.best is None:
            told.append([row.label, "none", "", "", "no run better than chance"])
            continue
        edge = "at the grid's edge: a better one may lie beyond" if row.at_edge else ""
        score, diverged = f"{row.scores[row.best]:.1f}", f"{row.diverged[row.best]:.0%}"
        told.append([row.label, f"{_axis_name(axis.key)} {axis.labels[row.best]}", score, diverged, edge])
    return told


def scope(result: Result) -> str:
    """What the choice rests on, and what the comparison does."""
    seeds = comparison.seed_list(result.sweep.seeds)
    chosen = (
        f"Each row's best {_axis_name(result.sweep.columns.key)} was chosen by mean {result.split} accuracy over seeds {seeds}"
    )
    if result.split == "test":
        return (
            f"{chosen}: on the test set, so comparing at the best ones would use it twice. Set data.holdout in the base for that."
        )
    if not result.best:
        return f"{chosen}; nothing was compared at the best ones."
    fresh = comparison.seed_list(result.sweep.fresh_seeds)
    return (
        f"{chosen}. Those were trained anew, on all training images with the fresh seeds {fresh}; only these runs are compared."
    )


def write(result: Result, results: Path) -> list[Path]:
    """Write the map (`stability.*`), `sweep.json`, `report.md` and the comparison in `best/`. Raises StoreError."""
    from gradclip_cli import plots

    names = ("stability.png", "stability.svg", "stability.csv", "sweep.json", "report.md")
    paths = {name: results / name for name in names}
    try:
        plots.save(plots.stability_figure(stability(result)), [paths["stability.png"], paths["stability.svg"]])
        write_atomically(paths["stability.csv"], table(result).to_csv(index=False))
        write_atomically(paths["sweep.json"], to_json(result))
        write_atomically(paths["report.md"], to_markdown(result))
    except OSError as error:
        raise StoreError(f"{results}: can't be written ({error.strerror}); choose another folder with --results") from None
    if result.best:
        report.write(result.best, results / BEST)
    return list(paths.values())


def to_json(result: Result) -> str:
    """The map, the choice and where the comparison stands, with a schema number."""
    axes = [{"key": axis.key, "values": list(axis.labels)} for axis in result.sweep.axes]
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "name": result.sweep.name,
        "axes": axes,
        "seeds": list(result.sweep.seeds),
        "fresh_seeds": list(result.sweep.fresh_seeds),
        "chosen_on": result.split,
        "cells": table(result).to_dict("records"),
        "comparison": f"{BEST}/comparison.json" if result.best else None,
        "sentences": result.best.sentences if result.best else [],
        "scope": scope(result),
    }
    return json.dumps(report.finite(content), indent=2, allow_nan=False) + "\n"


def to_markdown(result: Result) -> str:
    """The sweep as a page."""
    axis, best = _axis_name(result.sweep.columns.key), result.best
    parts = [
        f"# {result.sweep.name}: {len(result.sweep.cells)} arms, {len(result.sweep.seeds)} seeds each",
        f"![Mean {result.split} accuracy by {axis} and row, with the share of runs that diverged](stability.png)",
        f"## The best {axis} of each row",
        report.markdown_table(best_columns(), best_rows(result)),
        scope(result),
    ]
    if best:
        parts += [
            "## At the best ones",
            report.markdown_table(report.verdict_columns(best.metric), report.verdict_rows(best)),
            *[f"- {sentence}" for sentence in best.sentences],
            f"{comparison.scope_sentence(best)} [{BEST}/comparison.md]({BEST}/comparison.md) has more.",
            f"![Paired differences]({BEST}/differences.png)",
        ]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"
