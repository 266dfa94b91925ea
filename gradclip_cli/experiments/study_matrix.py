"""A study's matrix: problems down, rules across, in each cell what a rule did; and what goes with help, problem by problem."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradclip_cli.config.studies import Matrix as PlannedMatrix
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.blocks import Block, Heading, Paragraph, Picture, Table
from gradclip_cli.evidence.judging import AgainstBaseline
from gradclip_cli.evidence.success import Successes
from gradclip_cli.evidence.treatment import HARDLY
from gradclip_cli.evidence.verdicts import Verdict
from gradclip_cli.experiments.study import Result, Tested
from gradclip_cli.texts import counted, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gradclip_cli.plots import Matrix, MatrixCell

PICTURE = "matrix.png"
MAP = "Problems and rules"
HEADINGS = ["problem", "about", "diverged", "spikes a run", "largest norm, times the median", "clipped at most"]


def figure(result: Result, matrix: PlannedMatrix) -> Figure:
    """The picture: problems down, rules across."""
    from gradclip_cli import plots

    return plots.matrix_figure(crossed(result, matrix))


def crossed(result: Result, matrix: PlannedMatrix) -> Matrix:
    """The matrix's figures as texts: problems down, rules across, in each cell the difference from the baseline."""
    from gradclip_cli import plots

    rules = [rule for rule in matrix.rules if rule != matrix.baseline]
    tested = {each.test.arm: each for each in result.family(matrix.family)}
    cells = [[_cell(result, tested.get(matrix.arm(problem, rule))) for rule in rules] for problem in matrix.problems]
    rows = [_label(result, matrix, problem) for problem in matrix.problems]
    title = f"What each rule does, against {matrix.baseline}, on seeds that no choice was made on"
    return plots.Matrix(title, rules, rows, cells)


def _label(result: Result, matrix: PlannedMatrix, problem: str) -> list[str]:
    """A problem's name and what its baseline has."""
    name = matrix.arm(problem, matrix.baseline)
    [first, *_] = [each for each in result.family(matrix.family) if each.test.baseline == name]
    metric, scores = first.yardstick.metric, first.yardstick.scores(first.pair.base)
    value = f"{metric.heading} {metric.unit.shown(float(np.mean(scores)) * metric.unit.scale)} on average"
    return [problem, value, *([f"solved by {_told(won)}"] if (won := _successes(result, name)) else [])]


def _cell(result: Result, tested: Tested | None) -> MatrixCell | None:
    if not tested:
        return None
    from gradclip_cli import plots

    against, unit = tested.against, tested.yardstick.metric.unit
    balance = ((against.won or 0) - (against.lost or 0)) / len(against.seeds)
    ends = [unit.shown(end, sign=True) for end in (against.low, against.high)]
    told = " to ".join(ends) if math.isfinite(against.low) else "too few seeds for an interval"
    lines = [unit.amount(against.typical, sign=True), told]
    if won := _successes(result, tested.test.arm):
        lines.append(f"solved by {_told(won)}")
    if against.acted is not None and against.acted < HARDLY:
        return plots.MatrixCell(["hardly acted", *lines], None)
    return plots.MatrixCell(lines, balance, against.verdict in (Verdict.HELPS, Verdict.HURTS))


def _successes(result: Result, name: str) -> Successes | None:
    bar = result.study.bars.get(name)
    return Successes.of(bar, result.arms[name]) if bar else None


def _told(successes: Successes) -> str:
    return f"{successes.count} of {successes.total}"


def picture(result: Result, matrix: PlannedMatrix) -> Picture:
    """The picture, told in words."""
    told = f"Problems down, rules across, in each cell the typical difference from {matrix.baseline}"
    return Picture(PICTURE, told, lambda: figure(result, matrix))


def parts(result: Result, matrix: PlannedMatrix) -> list[Block]:
    """The matrix's parts of the report."""
    told = Paragraph(summary(result, matrix))
    return [Heading(MAP), told, picture(result, matrix), *what_goes_with_help(result, matrix)]


def what_goes_with_help(result: Result, matrix: PlannedMatrix) -> list[Block]:
    """What each problem's gradients are like without a rule."""
    return [
        Heading("What goes with help"),
        Table(HEADINGS, rows(result, matrix), left=2),
        Paragraph(
            f"Of the {matrix.baseline} runs: how many diverged, how many spikes a run had (a norm above ten times the median of "
            "the hundred before it), and by how much the largest norm of an epoch exceeds its median, in the middle of all "
            "epochs. Last, on how many steps the rule acted that acted most. This stands beside the effects; no law is fitted to "
            "so few problems."
        ),
    ]


def summary(result: Result, matrix: PlannedMatrix) -> str:
    """How many cells came out how, and where a rule was shown to help or to hurt, in sentences."""
    tested = result.family(matrix.family)
    found = []
    for verdict in (Verdict.HELPS, Verdict.HURTS):
        arms = [each.test.arm for each in tested if each.against.verdict == verdict]
        problems = [name for name in matrix.problems if any(arm.startswith(f"{name}.") for arm in arms)]
        where = f", on {counted(len(problems), 'problem')} ({', '.join(problems)})" if arms else ""
        found.append(f"{verdict} in {len(arms)} of {len(tested)} cells{where}")
    return f"Each rule against {matrix.baseline}: {'; '.join(found)}. In the others no difference is shown."


def rows(result: Result, matrix: PlannedMatrix) -> list[list[str]]:
    """What each problem's gradients are like without a rule, as texts."""
    return [_row(result, matrix, problem) for problem in matrix.problems]


def _row(result: Result, matrix: PlannedMatrix, problem: str) -> list[str]:
    facts = describe(result, matrix, problem)
    acted, excess = facts["acted_most"], facts["norm_excess"]
    return [
        problem,
        matrix.problems[problem],
        f"{facts['diverged']} of {facts['runs']}",
        f"{facts['spikes']:.1f}",
        "-" if excess is None else f"{excess:.3g}",
        "-" if acted is None else percent(acted),
    ]


def describe(result: Result, matrix: PlannedMatrix, problem: str) -> dict[str, Any]:
    """What a problem's baseline runs are like, and how often the rule acted that acted most."""
    base = result.arms[matrix.arm(problem, matrix.baseline)]
    against = [each.against for each in result.family(matrix.family) if each.test.baseline == base.name]
    return {
        "problem": problem,
        "about": matrix.problems[problem],
        "runs": len(base.runs),
        "diverged": int(base.diverged.sum()),
        "spikes": float(np.mean([run.metadata["health"]["spikes"] for run in base.runs])),
        "norm_excess": _excess(base),
        "acted_most": _most(against),
    }


def _excess(base: Arm) -> float | None:
    """The largest norm of an epoch over its median, in the middle of all epochs of all runs; None where none is known."""
    with np.errstate(all="ignore"):
        found = [run.metrics["grad_norm_max"] / run.metrics["grad_norm_median"] for run in base.runs if len(run.metrics)]
    values = np.concatenate(found) if found else np.empty(0)
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def _most(against: Sequence[AgainstBaseline]) -> float | None:
    return max((each.acted for each in against if each.acted is not None), default=None)
