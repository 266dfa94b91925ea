"""`sweep`: a grid of arms, its stability map, and whether clipping still helps at its best rate.

Each row's best column is chosen on the holdout by the mean score over seeds, the first of equals. Only then are the best ones
trained on all training images with seeds that the grid never had, and only those runs are compared on the test set: no figure is
used twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradclip_cli.config.overrides import values, written
from gradclip_cli.config.schema import Config
from gradclip_cli.config.sweeps import CLIPPING, Axis, Cell, Sweep
from gradclip_cli.errors import ConflictError, ConflictsError, ReportError
from gradclip_cli.evidence import arms as arm_room
from gradclip_cli.evidence import comparison, plans, report, stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.metrics import METRICS, scores
from gradclip_cli.files import unwritable, write_atomically
from gradclip_cli.runs import many
from gradclip_cli.runs.many import PlannedRun
from gradclip_cli.texts import counted, for_markdown

if TYPE_CHECKING:
    from gradclip_cli.plots import StabilityMap

METRIC = METRICS["val_accuracy"]
BEST = plans.BEST


@dataclass(frozen=True)
class Row:
    """One row of the map: its cells' arms in the columns' order, and the column with the best mean score."""

    label: str
    cells: tuple[Cell, ...]
    arms: tuple[Arm, ...]
    columns: Axis
    best: int | None
    """None where no cell of the row was better than chance."""

    @property
    def scores(self) -> list[float]:
        """Mean score of each cell over seeds, in percent; a diverged run counts as chance."""
        return [_score(arm) for arm in self.arms]

    @property
    def diverged(self) -> list[float]:
        """Share of each cell's runs that diverged."""
        return [float(arm.diverged.mean()) for arm in self.arms]

    @property
    def at_edge(self) -> bool:
        """Whether the best column is the least or the largest number of several, so that a better one may lie beyond."""
        return self.columns.numeric and len(self.arms) > 1 and self.best in (0, len(self.arms) - 1)


@dataclass(frozen=True)
class Result:
    """A sweep's rows, and the comparison at their best columns where there is one."""

    sweep: Sweep
    rows: tuple[Row, ...]
    split: str
    best: Comparison | None = None


def plan(sweep: Sweep, results: Path, *, force: bool = False) -> list[PlannedRun]:
    """Plan the grid's runs, writing nothing; with `force` finished ones too, and those that hold another config.

    Raises ConflictError where the folder holds runs of other configs.
    """
    return _plan(sweep.configs, sweep.seeds, results, force)


def _plan(configs: Sequence[Config], seeds: Sequence[int], results: Path, force: bool) -> list[PlannedRun]:
    try:
        return many.plan(configs, seeds, results, force=force)
    except ConflictsError as error:
        first, *others = error.conflicts
        and_more = f", and {len(others)} more" if others else ""
        raise ConflictError(
            f"{first.what}{and_more}. Give the changed sweep another name, or another folder with --results, or replace its old "
            "runs with --force."
        ) from None


def read(sweep: Sweep, results: Path) -> Result:
    """Read the grid's runs and choose each row's best column. Raises ReportError where a run can't be read."""
    arms = _read_all(sweep.configs, sweep.seeds, results)
    rows = []
    for label, cells in sweep.rows().items():
        row = tuple(arms[cell.config.name] for cell in cells)
        rows.append(Row(label, tuple(cells), row, sweep.columns, _best(row)))
    return Result(sweep, tuple(rows), rows[0].arms[0].evaluation_split)


def _read_all(configs: Sequence[Config], seeds: Sequence[int], results: Path) -> dict[str, Arm]:
    names = [config.name for config in configs]
    read, warnings = arm_room.read(results, names)
    arms = {arm.name: arm.only(seeds) for arm in read}
    missing = [name for name in names if name not in arms or set(arms[name].seeds) != set(seeds)]
    if missing:
        broken = "\n  ".join(warnings)
        raise ReportError(
            f"{results}: runs of {', '.join(missing)} can't be read. Remove them (gradclip rm), then give the same command "
            f"again.\n  {broken}"
        )
    return arms


def _score(arm: Arm) -> float:
    return float(np.mean(scores(arm, METRIC, 0.0))) * METRIC.scale


def _best(arms: Sequence[Arm]) -> int | None:
    means, chance = [_score(arm) for arm in arms], METRIC.scale * arms[0].chance(METRIC.name)
    best = int(np.argmax(means))
    # A mean of runs at chance may be above it by rounding.
    return best if means[best] > chance and not math.isclose(means[best], chance) else None


def best_configs(result: Result) -> list[Config]:
    """The config of each row's best column, on all training images: what is compared. None where nothing can be."""
    chosen = [row.cells[row.best].config for row in result.rows if row.best is not None]
    if result.split == "test" or not result.sweep.fresh_seeds or len(chosen) < 2:
        return []
    return [config.model_copy(update={"data": config.data.model_copy(update={"holdout": 0})}) for config in chosen]


def plan_best(result: Result, results: Path, *, force: bool = False) -> list[PlannedRun]:
    """Plan the runs at the rows' best columns, with seeds that the grid never had; `force` as in `plan`."""
    return _plan(best_configs(result), result.sweep.fresh_seeds, results / BEST, force)


def compare_best(result: Result, results: Path) -> Result:
    """Compare the runs at the rows' best columns: with the unclipped one, else the first."""
    configs = best_configs(result)
    if not configs:
        return result
    _read_all(configs, result.sweep.fresh_seeds, results / BEST)
    unclipped = next((config.name for config in configs if config.clipping.mode == "none"), configs[0].name)
    names = [config.name for config in configs]
    compared = comparison.compare(results / BEST, names, unclipped, seeds=result.sweep.fresh_seeds)
    return Result(result.sweep, result.rows, result.split, compared)


def verdict_sentence(sweep: Sweep) -> str:
    """Whether the fresh seeds can give a verdict on each row but the first; empty where nothing is to be compared."""
    if not sweep.fresh_seeds:
        return ""
    tests, there = len(sweep.rows()) - 1, len(sweep.fresh_seeds)
    needed = stats.seeds_for_a_verdict(tests)
    enough = f"there are {there}" if there >= needed else f"with {there} it will be exploratory"
    return f"A verdict on {counted(tests, 'comparison')} takes at least {needed} fresh seeds; {enough}."


# What is said in any case, with the name that a value needs to be understood.
_MAIN = {
    "model": {"model.cell": "", "model.units": "units", "model.activation": ""},
    "data": {"data.dataset": "", "data.subset": "subset", "data.batch_size": "batch size", "data.holdout": "holdout"},
    "training": {"training.epochs": "epochs", "training.steps_per_epoch": "steps per epoch"},
    "optimizer": {"optimizer.name": "", "optimizer.learning_rate": "learning rate"},
}


def facts(sweep: Sweep) -> dict[str, str]:
    """What is trained, by subject: model, data, training, optimizer, clipping, what else is unusual, and what is swept over."""
    dumped = [dict(values(config.model_dump())) for config in sweep.configs]
    axes = [axis.key for axis in sweep.axes]

    def said(key: str, name: str) -> str:
        found = list(dict.fromkeys(written(each[key]) for each in dumped if key in each))
        if key in axes or (len(found) > 1 and key.partition(".")[0] in axes):
            return f"{name or key.rpartition('.')[2]} swept"
        return f"{name} {' or '.join(found)}".strip()

    told = {subject: ", ".join(said(key, name) for key, name in keys.items()) for subject, keys in _MAIN.items()}
    rules = list(dict.fromkeys(config.clipping.label for config in sweep.configs))
    told["clipping"] = "swept" if any(key.partition(".")[0] == CLIPPING for key in axes) else " or ".join(rules)
    main = {key for keys in _MAIN.values() for key in keys} | {"name", "training.seed"}
    unusual = [key for key in _unusual(sweep.configs) if key not in main and key.partition(".")[0] != CLIPPING]
    if further := [said(key, key) for key in unusual if key not in axes]:
        told["further"] = ", ".join(further)
    told["swept"] = "; ".join(f"{axis.told}: {', '.join(axis.labels)}" for axis in sweep.axes)
    fresh = f" for the grid, {comparison.seed_list(sweep.fresh_seeds)} fresh for the comparison" if sweep.fresh_seeds else ""
    return told | {"seeds": f"{comparison.seed_list(sweep.seeds)}{fresh}"}


def _unusual(configs: Sequence[Config]) -> list[str]:
    """Dotted keys with a value that is not the default, in any of the configs."""
    usual: dict[str, dict[str, Any]] = {}  # by optimizer, whose defaults differ
    found: dict[str, None] = {}
    for config in configs:
        name = config.optimizer.name
        if name not in usual:
            usual[name] = dict(values(Config.model_validate({"name": "usual", "optimizer": {"name": name}}).model_dump()))
        dumped = values(config.model_dump())
        found |= {key: None for key, value in dumped if key not in usual[name] or value != usual[name][key]}
    return list(found)


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
        metric=f"{result.split} accuracy (%)",
        axis=columns.told,
        columns=columns.labels,
        rows=[row.label for row in result.rows],
        values=np.array([row.scores for row in result.rows]),
        diverged=np.array([row.diverged for row in result.rows]),
        best=[row.best for row in result.rows],
        higher_is_better=METRIC.higher_is_better,
    )


def best_columns() -> list[str]:
    """Headings of `best_rows`."""
    return ["", "best at", "accuracy (%)", "diverged there"]


def best_rows(result: Result) -> list[list[str]]:
    """Each row's best column, as texts."""
    axis = result.sweep.columns
    told = []
    for row in result.rows:
        if row.best is None:
            told.append([row.label, "nothing was better than chance", "", ""])
            continue
        edge = " (at the edge)" if row.at_edge else ""
        score, diverged = f"{row.scores[row.best]:.1f}", f"{row.diverged[row.best]:.0%}"
        told.append([row.label, f"{axis.told} {axis.labels[row.best]}{edge}", score, diverged])
    return told


def scope(result: Result) -> str:
    """What the choice rests on, which bests are at the grid's edge, and what the comparison does, or why there is none."""
    return " ".join([_choice_told(result), *_edges_told(result), _comparison_told(result)])


def _choice_told(result: Result) -> str:
    axis, seeds = result.sweep.columns, comparison.seed_list(result.sweep.seeds)
    measure = f"mean {result.split} accuracy over seeds {seeds}, a diverged run counting as chance"
    if len(axis.labels) == 1:
        return f"There is one {axis.told} only, so none was chosen; the map shows {measure}."
    return f"Each row's best {axis.told} was chosen by {measure}."


def _edges_told(result: Result) -> list[str]:
    rows = [row.label for row in result.rows if row.at_edge]
    return [f"At the grid's edge, so that a better one may lie beyond: {'; '.join(rows)}."] if rows else []


def _comparison_told(result: Result) -> str:
    if result.split == "test":
        return (
            "That was on the test set, which a comparison of the rows at their best would use a second time; for one, set "
            "data.holdout in the base."
        )
    if len(result.rows) == 1:
        return "There is one row only, so nothing was compared."
    if sum(row.best is not None for row in result.rows) < 2:
        return "Fewer than two rows were better than chance, so nothing was compared."
    if not result.best:
        return "Without fresh seeds nothing was compared at the best ones."
    fresh = comparison.seed_list(result.sweep.fresh_seeds)
    told = (
        f"The best ones were trained anew, on all training images with the fresh seeds {fresh}, and only these runs are compared "
        "on the test set."
    )
    return f"{told} {_mixed_told(result)}".strip()


def _mixed_told(result: Result) -> str:
    """A warning where rows differ in more than their rule."""
    others = [
        axis.key
        for index, axis in enumerate(result.sweep.axes)
        if index != result.sweep.column_axis and axis.key.partition(".")[0] != CLIPPING and len(axis.labels) > 1
    ]
    return f"Rows differ in {', '.join(others)} too: a difference between them need not be clipping's." if others else ""


def warnings(result: Result) -> list[str]:
    """What is mixed within the grid: versions, machines, engine settings."""
    return arm_room.mixtures([arm for row in result.rows for arm in row.arms])


def write(result: Result, results: Path) -> list[Path]:
    """Write the map, named after the sweep, `sweep.json`, `report.md` and the comparison in `best/`. Raises StoreError."""
    from gradclip_cli import plots

    name = result.sweep.name
    picture, vector, cells, content, page = paths = [
        results / file for file in (f"{name}.png", f"{name}.svg", f"{name}.csv", "sweep.json", "report.md")
    ]
    try:
        plots.save(plots.stability_figure(stability(result)), [picture, vector])
        write_atomically(cells, table(result).to_csv(index=False))
        write_atomically(content, to_json(result))
        write_atomically(page, to_markdown(result))
    except OSError as error:
        raise unwritable(results, error) from None
    if result.best:
        report.write(result.best, results / BEST)
        plans.record_look(results / BEST, result.best.first_compared)
    return paths


def to_json(result: Result) -> str:
    """The map, the choice and where the comparison stands, with a schema number."""
    axes = [{"key": axis.key, "values": list(axis.labels)} for axis in result.sweep.axes]
    content: dict[str, Any] = {
        "schema": plans.SWEEP_SCHEMA,
        "name": result.sweep.name,
        "facts": facts(result.sweep),
        "resets": list(result.sweep.resets),
        "axes": axes,
        "seeds": list(result.sweep.seeds),
        "fresh_seeds": list(result.sweep.fresh_seeds),
        "chosen_on": result.split,
        "cells": table(result).to_dict("records"),
        "comparison": f"{BEST}/comparison.json" if result.best else None,
        "sentences": result.best.sentences if result.best else [],
        "scope": scope(result),
        "warnings": warnings(result),
    }
    return json.dumps(report.finite(content), indent=2, allow_nan=False) + "\n"


def to_markdown(result: Result) -> str:
    """The sweep as a page."""
    axis, split, best = for_markdown(result.sweep.columns.told), for_markdown(result.split), result.best
    arms, seeds = counted(len(result.sweep.cells), "arm"), counted(len(result.sweep.seeds), "seed")
    parts = [
        f"# {for_markdown(result.sweep.name)}: {arms}, {seeds} each",
        "\n".join(f"- {subject}: {for_markdown(text)}" for subject, text in facts(result.sweep).items()),
        *[f"Mind that {for_markdown(reset)}." for reset in result.sweep.resets],
        f"![Mean {split} accuracy by {axis} and row, with the share of runs that diverged]({result.sweep.name}.png)",
        f"## The best {axis} of each row",
        report.markdown_table(best_columns(), best_rows(result)),
        for_markdown(scope(result)),
        *[f"Warning: {for_markdown(warning)}" for warning in warnings(result)],
    ]
    if best:
        parts += [
            "## At the best ones",
            report.markdown_table(report.verdict_columns(best.metric), report.verdict_rows(best)),
            for_markdown(report.verdict_caption(best)),
            "\n".join(f"- {for_markdown(sentence)}" for sentence in best.sentences),
            f"{for_markdown(comparison.scope_sentence(best))} [{BEST}/comparison.md]({BEST}/comparison.md) has more.",
            f"![Paired differences]({BEST}/differences.png)",
        ]
    return "\n\n".join(parts) + "\n"
