"""Arms against a baseline, from Python: `compare` asks what the command asks, and puts the look on record as it does."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from gradclip_cli.evidence import figures, looks, pasted, remarks, report
from gradclip_cli.evidence.comparison import Comparison, with_gradients
from gradclip_cli.evidence.questions import Question
from gradclip_cli.notebooks import tables
from gradclip_cli.notebooks.given import AnyPath, Seeds, require_positive, results_folder, seeds_wanted, warn
from gradclip_cli.notebooks.shown import html, text
from gradclip_cli.notebooks.stored import Run, Runs
from gradclip_cli.pages import answer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Compared:
    """Arms by one metric, the baseline first, as `compare` found them. A notebook shows the answer with the table of verdicts.

    Scores, differences and their intervals stand in the metric's unit (points, nats, steps), unrounded.
    """

    comparison: Comparison
    """What gradclip's own parts work with; its insides may change."""
    folder: Path
    """Where `write` and `report` put their files unless another place is named."""

    @property
    def answer(self) -> str:
        """What the comparison answers, in a sentence or a few."""
        return " ".join(answer.answer(self.comparison))

    @property
    def sentences(self) -> list[str]:
        """All that is to be said: of each arm, what a reader must know besides, what the seeds can detect, what it speaks of."""
        return remarks.all_sentences(self.comparison)

    @property
    def warnings(self) -> list[str]:
        """What was warned of: broken or unfinished runs, mixed versions, records that can't be read."""
        return list(self.comparison.warnings)

    @property
    def exploratory(self) -> list[str]:
        """Why its verdicts, or some of them, confirm nothing; empty where none is exploratory."""
        return self.comparison.exploratory

    @property
    def verdicts(self) -> pd.DataFrame:
        """A row an arm, the baseline first, with the columns of `gradclip compare --format csv`, and `exploratory`.

        `typical` is the typical score and `difference` the typical difference from the baseline, each with its interval;
        `verdict` is the word with whatever limits it, such as `helps (exploratory: third metric looked at)`, and `exploratory`
        says why it confirms nothing.
        """
        return tables.verdicts(self.comparison)

    @property
    def differences(self) -> pd.DataFrame:
        """A row a pair of runs: `arm`, `seed`, `baseline_score`, `score`, and their `difference`; none of unpaired arms."""
        return tables.differences(self.comparison)

    @property
    def scores(self) -> pd.DataFrame:
        """A row a run: `arm`, `seed`, its `score`, whether it `diverged` or `collapsed` (NA where it can't)."""
        return tables.scores(self.comparison)

    @property
    def arms(self) -> pd.DataFrame:
        """A row an arm: what its runs did, as recorded and with nothing capped, as in `comparison.csv`."""
        return self.comparison.table.copy()

    @property
    def runs(self) -> Runs:
        """The runs that were compared."""
        return Runs(tuple(Run(run.directory) for part in self.comparison.arms for run in part.arm.runs))

    def figure(self) -> Figure:
        """Draw losses, metrics and gradients of all arms, as `comparison.png` has them; the steps are read for it."""
        from gradclip_cli import plots

        drawn = self._with_gradients
        warn(each for each in drawn.warnings if each not in self.comparison.warnings)
        return plots.comparison_figure(figures.panels(drawn))

    def differences_figure(self) -> Figure:
        """Draw each seed's difference from the baseline, a row an arm, as `differences.png` has them."""
        return figures.pairs_figure(self.comparison)

    @functools.cached_property
    def _with_gradients(self) -> Comparison:
        return with_gradients(self.comparison)

    def to_latex(self) -> str:
        """The table of verdicts for a paper, with the package booktabs."""
        return pasted.to_latex(self.comparison)

    def to_markdown(self) -> str:
        """The table of verdicts in Markdown."""
        return pasted.to_markdown(self.comparison)

    def to_json(self) -> str:
        """All figures as JSON, with the keys of `comparison.json`."""
        return report.to_json(self.comparison)

    def write(self, folder: AnyPath | None = None) -> list[Path]:
        """Write the files that `gradclip compare` writes: tables, sentences and figures as PNG, SVG, CSV, JSON and Markdown.

        Args:
            folder: Where to; without, where the command would put them.

        Returns:
            The files' paths.

        Raises:
            ReportError: Where the folder holds a report, which these files would replace.
            StoreError: Where they can't be written.
        """
        place = self.folder if folder is None else Path(folder).expanduser()
        looks.require_no_report(place)
        return report.write(self._with_gradients, place)

    def __repr__(self) -> str:
        return text(self.comparison)

    def _repr_html_(self) -> str:
        return html(self.comparison)


def compare(
    results: AnyPath = "results",
    *arms: str,
    baseline: str | None = None,
    metric: str | None = None,
    seeds: Seeds = None,
    target_loss: float | None = None,
    effect: float | None = None,
    margin: float | None = None,
) -> Compared:
    """Compare arms with a baseline, paired by seed, as `gradclip compare` does.

    The look is put on record in the folder's `looks.json`, as the command's are: a further metric, or seeds that are added
    later, are then exploratory. The same comparison made again is no new look. Warnings are Python's own.

    Args:
        results: The folder of runs, be it packed.
        *arms: Which to compare, by name; without, all that are there.
        baseline: What the others are held against. Without, the unclipped arm, of several the one called none.
        metric: What verdicts are about: one of gradclip's metrics, or one that the runs have, such as `val_mae`. Without, the
            evaluated accuracy; without accuracy the runs' first metric, evaluated, else their evaluated loss.
        seeds: Which count: numbers, a text as `--seeds` takes it, or `"all"`. Without, those that an experiment planned there,
            else all.
        target_loss: The training loss to reach, for the metric that counts steps to one. Without, half of what chance scores.
        effect: The difference to plan seeds for, in the metric's unit.
        margin: Say where arms are equivalent within this, in the metric's unit.

    Returns:
        The comparison: verdicts, differences and scores as tables, sentences, figures, and what writes them.

    Raises:
        ReportError: Where there is no such folder, arm or metric, or these runs can't answer what was asked.
        ConfigError: Where seeds or a number can't be what they are.
        StoreError: Where a pack is damaged.

    Example:
        >>> import gradclip_cli
        >>> compared = gradclip_cli.compare("results", "none", "clipvalue")
        >>> compared.verdicts.set_index("arm")[["difference", "p", "won", "verdict"]].round(4)
                   difference       p   won   verdict
        arm
        none              NaN     NaN  <NA>  baseline
        clipvalue        1.01  0.0007    23     helps
    """
    folder = results_folder(results)
    wanted: Sequence[int] | Literal["all"] | None = "all" if seeds == "all" else seeds_wanted(seeds)
    require_positive(target_loss=target_loss, effect=effect, margin=margin)
    question = Question(metric, target_loss, effect, margin)
    compared, place = looks.looked_at(folder, arms, baseline, question, seeds=wanted)
    warn(looks.warnings_once_recorded(compared, folder))
    return Compared(compared, place)
