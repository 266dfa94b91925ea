"""`sweep`: a grid of arms, its stability map, and whether clipping still helps at its best rate.

Each row's best column is chosen on the holdout by the mean score over seeds, the first of equals. Only then are the best ones
trained on all training images with seeds that the grid never had, and only those runs are compared on the test set: no figure is
used twice.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gradclip_cli.config.article import ArticleConfig
from gradclip_cli.config.grids import Axis
from gradclip_cli.config.schema import Config
from gradclip_cli.config.sweeps import Cell, Sweep
from gradclip_cli.errors import ConflictsError
from gradclip_cli.evidence import intentions, samples
from gradclip_cli.evidence.adherence import Adherence
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.comparison import Comparison, compare
from gradclip_cli.evidence.intentions import Intention
from gradclip_cli.evidence.metrics import DEFAULT_METRIC, USUAL, Metric
from gradclip_cli.evidence.plans import BEST, PlannedTest
from gradclip_cli.experiments.choice import best_of, choosing_metric, read_all, score
from gradclip_cli.runs import many
from gradclip_cli.runs.many import PlannedRun
from gradclip_cli.texts import counted

CHOICE = (
    "Each row's best column is the one with the highest mean score over the grid's seeds, on what is held out, a diverged run "
    "counting as chance; the first of equals. A row with nothing above chance has none."
)
CHOICE_BY_OWN_METRIC = (
    "Each row's best column is the one with the best mean score over the grid's seeds, on what is held out: by accuracy where "
    "the runs have it, else by their first metric, else by their loss. A diverged run counts as chance, where chance isn't known "
    "as the worst of the grid's runs that finished; the first of equals. A row with nothing better than chance has none."
)
COMPARISON = (
    "Each row's best is trained with the fresh seeds on all training images, and only these runs are compared, on the test set, "
    "with the best of the first row that is unclipped there, else of the first row; rows without a best are left out."
)


@dataclass(frozen=True)
class Row:
    """One row of the map: its cells' arms in the columns' order, and the column with the best mean score."""

    label: str
    cells: tuple[Cell, ...]
    arms: tuple[Arm, ...]
    columns: Axis
    metric: Metric
    """What the best column is chosen by."""

    @functools.cached_property
    def best(self) -> int | None:
        """The best column, the first of equals; None where no cell of the row was better than chance."""
        known = [score if learnt else math.nan for score, learnt in zip(self.scores, self._learnt, strict=True)]
        return best_of(self.metric, known)

    @property
    def _learnt(self) -> list[bool]:
        """Whether each cell is better than chance; where that isn't known, whether some run of it finished."""
        return [_is_better_than_chance(self.metric, arm, score) for arm, score in zip(self.arms, self.scores, strict=True)]

    @functools.cached_property
    def scores(self) -> list[float]:
        """Mean score of each cell over seeds, as told; a diverged run counts as chance."""
        return [score(self.metric, arm) for arm in self.arms]

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
    adherence: Adherence = field(default_factory=Adherence)
    """To the plan of its folder."""

    @property
    def metric(self) -> Metric:
        """What each row's best was chosen by."""
        return self.rows[0].metric


def plan(sweep: Sweep, results: Path, *, force: bool = False) -> list[PlannedRun]:
    """Plan the grid's runs, writing nothing; with `force` finished ones too, and those that hold another config.

    Raises ConflictError where the folder holds runs of other configs.
    """
    return _plan(sweep.configs, sweep.seeds, results, force)


def record_plan(sweep: Sweep, results: Path) -> None:
    """Write down what is planned before the first run; a plan that is there already stays. Raises StoreError."""
    intentions.record_plan(results, intention(sweep))


def intention(sweep: Sweep) -> Intention:
    """What a sweep trains, tests and decides by."""
    fresh = bool(sweep.fresh_seeds)
    return Intention(
        kind="sweep",
        configs=sweep.configs,
        seeds=sweep.seeds,
        fresh_seeds=sweep.fresh_seeds,
        fresh_arms="each row's best" if fresh else None,
        tests=_tests(sweep) if fresh else [],
        rules={"choice": CHOICE_BY_OWN_METRIC if planned_metric(sweep) == USUAL else CHOICE}
        | ({"comparison": COMPARISON} if fresh else {}),
    )


def _tests(sweep: Sweep) -> list[PlannedTest]:
    """Which arms these will be is not known before the grid is."""
    rows = sweep.rows()
    base = next((label for label, cells in rows.items() if cells[0].config.clipping.mode == "none"), next(iter(rows)))
    arm, family = "the best of {}", "the rows at their best"
    others = [label for label in rows if label != base]
    metric = planned_metric(sweep)
    return [PlannedTest(arm=arm.format(row), baseline=arm.format(base), metric=metric, family=family) for row in others]


def planned_metric(sweep: Sweep) -> str:
    """What the best are chosen and compared by, as far as it is known before a run tells which metrics there are."""
    return DEFAULT_METRIC.name if isinstance(sweep.configs[0], ArticleConfig) else USUAL


def _plan(configs: Sequence[Config], seeds: Sequence[int], results: Path, force: bool) -> list[PlannedRun]:
    try:
        return many.plan(configs, seeds, results, force=force)
    except ConflictsError as error:
        raise error.in_short(
            "Give the changed sweep another name, or another folder with --results, or replace its old runs with --force."
        ) from None


def read(sweep: Sweep, results: Path) -> Result:
    """Read the grid's runs and choose each row's best column.

    Raises ReportError where a run can't be read, or where the cells have no metric in common by which to choose.
    """
    arms = read_all(sweep.configs, sweep.seeds, results)
    metric = choosing_metric(list(arms.values()))
    rows = []
    for label, cells in sweep.rows().items():
        row = tuple(arms[cell.config.name] for cell in cells)
        rows.append(Row(label, tuple(cells), row, sweep.columns, metric))
    adherence = Adherence.of(results, intention(sweep), list(arms.values()))
    return Result(sweep, tuple(rows), rows[0].arms[0].evaluation_split, adherence=adherence)


def _is_better_than_chance(metric: Metric, arm: Arm, mean: float) -> bool:
    chance = metric.chance(arm)
    if chance is None:
        return not arm.diverged.all()
    # A mean of runs at chance may be above it by rounding.
    return (mean > chance if metric.higher_is_better else mean < chance) and not math.isclose(mean, chance)


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
    read_all(configs, result.sweep.fresh_seeds, results / BEST)
    unclipped = next((config.name for config in configs if config.clipping.mode == "none"), configs[0].name)
    names = [config.name for config in configs]
    compared = compare(results / BEST, names, unclipped, seeds=result.sweep.fresh_seeds)
    return replace(result, best=compared)


def verdict_sentence(sweep: Sweep) -> str:
    """Whether the fresh seeds can give a verdict on each row but the first; empty where nothing is to be compared."""
    if not sweep.fresh_seeds:
        return ""
    tests, there = len(sweep.rows()) - 1, len(sweep.fresh_seeds)
    needed = samples.seeds_for_a_verdict(tests)
    enough = f"there are {there}" if there >= needed else f"with {there} it will be exploratory"
    return f"A verdict on {counted(tests, 'comparison')} takes at least {needed} fresh seeds; {enough}."
