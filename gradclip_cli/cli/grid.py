"""A sweep's map in a terminal, which fills while its runs are trained."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from gradclip_cli.evidence.metrics import POINTS, usual_metric
from gradclip_cli.runs.csv_files import EVALUATED, metric_names
from gradclip_cli.runs.metadata import Status

if TYPE_CHECKING:
    from gradclip_cli.runs.many import PlannedRun


@dataclass(frozen=True)
class Grid:
    """The arms of a map: labels of its columns, and for each row a label with the names of its arms."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


class FillingGrid:
    """A grid that fills: a cell shows its runs' mean in their usual metric, and where some diverged or failed, a mark."""

    def __init__(self, grid: Grid, planned: Sequence[PlannedRun], plain: bool) -> None:
        self._grid = grid
        self._expected = Counter(run.directory.arm for run in planned)
        self._scores: dict[str, list[float]] = {arm: [] for arm in self._expected}
        self._unit = POINTS
        self._ended: Counter[str] = Counter()
        self._broken: set[str] = set()
        self._waiting, self._mark = (".", "x") if plain else ("·", "✗")
        labels = [label for label, _ in grid.rows]
        self._first = max(map(len, labels), default=0)
        self._widths = [max(6, len(column)) for column in grid.columns]
        self.width = self._first + sum(self._widths) + 2 * len(self._widths)
        self.height = len(grid.rows) + 1

    def ended(self, arm: str, status: Status, last: Mapping[str, float]) -> None:
        """Take in how one of an arm's runs ended, with the last values of its columns as far as they are known."""
        self._ended[arm] += 1
        if last and status == Status.COMPLETE:
            metric = usual_metric(dict.fromkeys(metric_names(last), True), evaluated=f"{EVALUATED}loss" in last)
            self._unit = metric.unit
            self._scores.setdefault(arm, []).append(last[metric.column] * metric.unit.scale)
        if status in (Status.DIVERGED, Status.FAILED):
            self._broken.add(arm)

    def _cell(self, arm: str) -> tuple[str, str]:
        values, ended = self._scores.get(arm, []), self._ended[arm]
        if not ended:
            return self._waiting, "dim"
        mark = self._mark if arm in self._broken else ""
        mean = sum(values) / len(values) if values else math.nan
        shown = f"{self._unit.sized(mean).shown(mean)}{mark}" if values else mark or "-"
        return shown, ("red" if mark else "green") if ended >= self._expected[arm] else "yellow"

    def __rich__(self) -> Text:
        lines = [Text(" " * self._first, "bold")]
        for column, width in zip(self._grid.columns, self._widths, strict=True):
            lines[0].append(f"  {column:>{width}}")
        for label, arms in self._grid.rows:
            line = Text(f"{label:<{self._first}}")
            for arm, width in zip(arms, self._widths, strict=False):
                shown, style = self._cell(arm)
                line.append(f"  {shown:>{width}}", style)
            lines.append(line)
        return Text("\n", no_wrap=True).join(lines)
