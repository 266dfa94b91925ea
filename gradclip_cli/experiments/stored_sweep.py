"""A sweep as its folder tells it, without its file: what `sweep.json` and the stored runs say is all that a report needs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import NonNegativeInt

from gradclip_cli.config.grids import Axis, Value, column_axis
from gradclip_cli.config.sweeps import Cell, Sweep
from gradclip_cli.config.yaml_tree import Place, Tree
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence.plans import MOST_PLAN_BYTES, SWEEP, SWEEP_SCHEMA, OnRecord, checked
from gradclip_cli.experiments import sweep as experiment
from gradclip_cli.experiments.sweep import Result
from gradclip_cli.files import read_json
from gradclip_cli.runs import store


class _AxisOnRecord(OnRecord):
    key: str
    values: list[str]


class _CellOnRecord(OnRecord):
    arm: str


class _SweepOnRecord(OnRecord):
    name: str
    resets: list[str] = []
    axes: list[_AxisOnRecord]
    seeds: list[NonNegativeInt]
    fresh_seeds: list[NonNegativeInt]
    cells: list[_CellOnRecord]


def read(results: Path) -> Result:
    """A finished sweep's rows, and the comparison at their best. Raises StoreError, and ReportError as `sweep.read` does."""
    sweep = _sweep(results)
    return experiment.compare_best(experiment.read(sweep, results), results)


def _sweep(results: Path) -> Sweep:
    """The sweep of a folder, its cells row by row, each with the config that its runs were trained with."""
    path = results / SWEEP
    found = checked(_SweepOnRecord, path, read_json(path, SWEEP_SCHEMA, MOST_PLAN_BYTES))
    axes = tuple(_axis(axis, path) for axis in found.axes)
    places = _places(axes)
    if len(places) != len(found.cells):
        raise StoreError(f"{path}: can't be read: it has {len(found.cells)} cells where its axes make {len(places)}")
    first = {run.arm: run for run in reversed(store.runs(results))}
    if missing := [cell.arm for cell in found.cells if cell.arm not in first]:
        raise StoreError(
            f"{results}: {len(missing)} of the sweep's arms have no runs there, such as {missing[0]}; train them again"
        )
    configs = [first[cell.arm].stored()[1] for cell in found.cells]
    cells = tuple(Cell(config, place) for config, place in zip(configs, places, strict=True))
    return Sweep(found.name, axes, cells, tuple(found.seeds), tuple(found.fresh_seeds), tuple(found.resets))


def _axis(found: _AxisOnRecord, path: Path) -> Axis:
    place = Place(str(path))
    return Axis(found.key, tuple(Value(Tree(_number(label), place, place), label) for label in found.values))


def _number(label: str) -> float | str:
    """What an axis's value is: a number where its label reads as one."""
    try:
        number = float(label)
    except ValueError:
        return label
    return number if math.isfinite(number) else label


def _places(axes: Sequence[Axis]) -> list[tuple[int, ...]]:
    """Each cell's value of each axis, row by row as a report lists them: the columns' axis runs fastest."""
    column = column_axis(axes)
    order = [*(index for index in range(len(axes)) if index != column), column]
    found = []
    for chosen in itertools.product(*(range(len(axes[index].values)) for index in order)):
        by_axis = dict(zip(order, chosen, strict=True))
        found.append(tuple(by_axis[index] for index in range(len(axes))))
    return found
