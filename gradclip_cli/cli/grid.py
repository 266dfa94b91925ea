"""A sweep's map in a terminal, which fills while its runs are trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from gradclip_cli.runs.metadata import Status

if TYPE_CHECKING:
    from gradclip_cli.runs.many import PlannedRun


@dataclass(frozen=True)
class Grid:
    """The arms of a map: labels of its columns, and for each row a label with the names of its arms."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


class FillingGrid:
    """A grid that fills: a cell shows the mean accuracy of its runs, and where some diverged or failed, a mark."""

    def __init__(self, grid: Grid, planned: Sequence[PlannedRun], plain: bool) -> None:
        self._grid = grid
        self._expected = Counter(run.directory.arm for run in planned)
        self._accuracies: dict[str, list[float]] = {arm: [] for arm in self._expected}
        self._ended: Counter[str] = Counter()
        self._broken: set[str] = set()
        self._waiting, self._mark = (".", "x") if plain else ("·", "✗")
        labels = [label for label, _ in grid.rows]
        self._first = max(map(len, labels), default=0)
        self._widths = [max(6, len(column)) for column in grid.columns]
        self.width = self._first + sum(self._widths) + 2 * len(self._widths)
        self.height = len(grid.rows) + 1

    def ended(self, arm: str, status: Status, accuracy: float | None) -> None:
        """Take in how one of an arm's runs ended."""
        self._ended[arm] += 1
        if accuracy is not None and status == Status.COMPLETE:
            self._accuracies.setdefault(arm, []).append(accuracy)
        if status in (Status.DIVERGED, Status.FAILED):
            self._broken.add(arm)

    def _cell(self, arm: str) -> tuple[str, str]:
        values, ended = self._accuracies.get(arm, []), self._ended[arm]
        if not ended:
            return self._waiting, "dim"
        mark = self._mark if arm in self._broken else ""
        shown = f"{100 * sum(values) / len(values):.1f}{mark}" if values else mark or "-"
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
