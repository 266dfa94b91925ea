"""Comparisons as tables, Markdown, JSON and files. `comparison.json` is described in docs/comparison.md."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradclip_cli.evidence import figures, stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.comparison import Comparison, with_gradients
from gradclip_cli.evidence.judging import AgainstBaseline, ArmReport
from gradclip_cli.evidence.metrics import Unit, in_words, own_metric
from gradclip_cli.evidence.plans import COMPARISON_SCHEMA
from gradclip_cli.evidence.remarks import collapse_sentence, planning_sentence, scope_sentence
from gradclip_cli.evidence.verdicts import Verdict
from gradclip_cli.files import unwritable, write_atomically
from gradclip_cli.runs.csv_files import EVALUATED
from gradclip_cli.texts import decimals, for_markdown, percent, shown_p

VAST = 1e6
"""From so much on a figure is told with an exponent."""
NORM_COLUMNS = ("grad_norm_median", "grad_norm_max")
FIGURES = ("comparison.png", "comparison.svg", "differences.png", "differences.svg")
FILES = (*FIGURES, "comparison.csv", "comparison.json", "comparison.md")


def to_json(comparison: Comparison) -> str:
    """All figures as JSON."""
    return json.dumps(to_dict(comparison), indent=2, allow_nan=False) + "\n"


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """All figures for JSON, with a schema number; what is not finite is None."""
    rows = comparison.table.to_dict("records")
    yardstick = comparison.yardstick
    content = {
        "schema": COMPARISON_SCHEMA,
        "metric": yardstick.metric.to_dict(),
        "target_loss": yardstick.target_loss,
        "effect": yardstick.effect,
        "margin": yardstick.margin,
        "confidence": 1 - stats.LEVEL,
        "baseline": comparison.baseline.arm.name,
        "evaluation_split": comparison.baseline.arm.evaluation_split,
        "arms": [_arm_json(report, row) for report, row in zip(comparison.arms, rows, strict=True)],
        "planning": planning_sentence(comparison),
        "collapses": collapse_sentence(comparison),
        "scope": scope_sentence(comparison),
        "notes": comparison.notes,
        "differences": comparison.differences,
        "warnings": comparison.warnings,
        "first_compared": comparison.first_compared,
        "exploratory": comparison.exploratory,
    }
    return dict(finite(content))


def _arm_json(report: ArmReport, row: dict[Any, Any]) -> dict[str, Any]:
    low, high = report.diverged_interval
    return {
        **{str(key): value for key, value in row.items()},
        "seeds": report.arm.seeds,
        "diverged_share": float(report.arm.diverged.mean()),
        "diverged_low": low,
        "diverged_high": high,
        "collapsed": int(report.arm.collapsed.sum()) if report.arm.can_collapse else None,
        "scores": report.scores,
        "typical": report.typical,
        "low": report.low,
        "high": report.high,
        "mean": report.mean,
        "against_baseline": report.against.to_dict() if report.against else None,
        "config": report.arm.config.model_dump(mode="json", exclude={"training": {"seed"}}),
    }


def finite(value: Any) -> Any:
    """The same content with None for every number that is not finite, as JSON wants it."""
    if isinstance(value, dict):
        return {key: finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def verdict_columns(comparison: Comparison) -> list[str]:
    """Headings of the verdict table."""
    shares = ["diverged", *(["collapsed"] if comparison.can_collapse else [])]
    return ["arm", counting(comparison), comparison.metric.heading, "difference", "on average", "p", "won", *shares, "verdict"]


def counting(comparison: Comparison) -> str:
    """What arms are told to have so many of."""
    return "runs" if comparison.unpaired else "seeds"


def verdict_rows(comparison: Comparison) -> list[list[str]]:
    """The verdict table as texts, a row an arm."""
    unit = comparison.metric.unit
    rows = []
    for report in comparison.arms:
        against = report.against
        row = [report.arm.name, str(len(report.arm.runs)), with_interval(report.typical, report.low, report.high, unit)]
        if against:
            difference = with_interval(against.typical, against.low, against.high, unit, sign=True)
            average = unit.shown(against.mean, sign=True)
            row += [difference, average, shown_p(against.p_adjusted), against.won_told]
        else:
            row += ["", "", "", ""]
        rows.append([*row, *_shares(report.arm, comparison), verdict_word(report, comparison)])
    return rows


def verdict_word(report: ArmReport, comparison: Comparison) -> str:
    """What stands in an arm's row as its verdict."""
    if report.against:
        return _verdict(report.against)
    return "baseline" if report is comparison.baseline else "no shared seed"


def _shares(arm: Arm, comparison: Comparison) -> list[str]:
    """The shares of an arm's runs that diverged and, where some arm's can, that collapsed."""
    diverged, collapsed = (percent(float(happened.mean()), 0) for happened in (arm.diverged, arm.collapsed))
    return [diverged, *([collapsed if arm.can_collapse else "-"] if comparison.can_collapse else [])]


def _verdict(against: AgainstBaseline) -> str:
    """The verdict, whether it is of unpaired runs, shortly why it is exploratory, and what else it may be due to."""
    beside = ["unpaired"] if against.unpaired else []
    if against.exploratory:
        word = "" if against.verdict == Verdict.EXPLORATORY else "exploratory: "
        beside.append(f"{word}{', '.join(against.exploratory)}")
    if against.differs_in:
        first, *others = against.differs_in
        beside.append(f"other {first}{f' and {len(others)} more' if others else ''}")
    return f"{against.verdict} ({'; '.join(beside)})" if beside else against.verdict


def verdict_caption(comparison: Comparison) -> str:
    """What stands under the verdict table: its figures are scores."""
    scored = comparison.metric.scoring(comparison.baseline.arm)
    levels = ", those of differences at the levels of Holm's steps" if len(comparison.others) > 1 else ""
    unpaired = (
        " Unpaired differences are the middle of those between each run of an arm and each of the baseline's; won is the share "
        "of these pairs of runs in which the arm's is better."
    )
    return (
        f"As scored: {scored}. Typical values (the middle of the averages of all pairs of {counting(comparison)}) with 95% "
        f"intervals{levels}; the average difference stands beside.{unpaired if comparison.unpaired else ''}"
    )


def with_interval(value: float, low: float, high: float, unit: Unit, *, sign: bool = False) -> str:
    """A value in a unit's digits with its interval in brackets, where there is one."""
    if not math.isfinite(low):
        return unit.shown(value, sign=sign)
    return f"{unit.shown(value, sign=sign)} [{unit.shown(low)}, {unit.shown(high)}]"


def run_columns(comparison: Comparison) -> list[str]:
    """Headings of the table of what the runs did."""
    split = comparison.baseline.arm.evaluation_split
    own = {name for part in comparison.arms for name in part.arm.metrics}
    results = [
        f"{split} {in_words(name)} ({name})" if name.startswith(EVALUATED) and name not in own else name
        for name in comparison.result_columns
    ]
    return ["arm", counting(comparison), *results, "norm median", "norm max", "clipped", "status"]


def run_caption(comparison: Comparison) -> str:
    """What stands under the table of what the runs did: its figures are no scores."""
    return (
        f"As recorded: each run's last whole epoch, nothing capped (mean ± standard deviation over {counting(comparison)}); "
        "norms are global L2 norms before clipping."
    )


def run_rows(comparison: Comparison) -> list[list[str]]:
    """What the runs did, as texts: the last epoch's figures, uncapped, mean ± standard deviation over seeds."""
    rows, columns = [], {column: _digits(comparison, column) for column in comparison.result_columns}
    for row in comparison.table.to_dict("records"):
        results = [_with_deviation(row[column], row[f"{column}_std"], digits) for column, digits in columns.items()]
        norms = [_norm(row[name]) for name in NORM_COLUMNS]
        rows.append([str(row["arm"]), str(row["runs"]), *results, *norms, percent(row["clipped_fraction"]), _status(row)])
    return rows


def _norm(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if 100 <= value < 1e6 else f"{value:.3g}"


def _digits(comparison: Comparison, column: str) -> int | None:
    """The decimals of a metric that has a size of its own; None for losses and shares, which have three or an exponent."""
    metric = own_metric(column, {name: higher for part in comparison.arms for name, higher in part.arm.metrics.items()})
    size = float(comparison.table[column].abs().max())
    return metric.unit.sized(size).digits if metric and metric.unit.adapts and size < VAST else None


def _with_deviation(mean: float, deviation: float, digits: int | None) -> str:
    if not math.isfinite(mean):
        return "-"
    if mean >= 1000 and digits is None:
        return f"{mean:.3g} ±{deviation:.2g}"
    places = 3 if digits is None else digits
    return f"{decimals(mean, places)} ±{decimals(deviation, places)}" if math.isfinite(deviation) else decimals(mean, places)


def _status(row: dict[Any, Any]) -> str:
    counts = {status: row[status] for status in ("complete", "diverged") if row[status]}
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{count} {status}" for status, count in counts.items())


class Markup(str):
    """A table's cell that is Markdown already."""


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A table in Markdown; the first `left` columns to the left, the others to the right.

    Cells are shown literally, whatever they hold, but for those that are `Markup`.
    """
    heading, *body = [
        [cell if isinstance(cell, Markup) else for_markdown(cell, cell=True) for cell in line] for line in (columns, *rows)
    ]
    lines = [heading, [*["---"] * left, *["---:"] * (len(columns) - left)], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def to_markdown(comparison: Comparison) -> str:
    """The comparison as a page: tables, sentences, figures."""
    metric = comparison.metric
    others = ", ".join(report.arm.name for report in comparison.others) or "one arm"
    parts = [
        f"# {for_markdown(f'{metric.title.capitalize()}: {others} against {comparison.baseline.arm.name}')}",
        markdown_table(verdict_columns(comparison), verdict_rows(comparison)),
        for_markdown(verdict_caption(comparison)),
        *[f"- {for_markdown(sentence)}" for sentence in comparison.sentences],
        *[
            for_markdown(sentence)
            for sentence in (collapse_sentence(comparison), planning_sentence(comparison), scope_sentence(comparison))
            if sentence
        ],
        *[f"Note: {for_markdown(note)}" for note in (*comparison.notes, *comparison.differences)],
        *[f"Warning: {for_markdown(warning)}" for warning in comparison.warnings],
        "## What the runs did",
        markdown_table(run_columns(comparison), run_rows(comparison)),
        run_caption(comparison),
        "![Curves](comparison.png)",
        f"![{'Differences' if comparison.unpaired else 'Paired differences'}](differences.png)",
    ]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write a comparison's figures, tables and JSON into a folder and return their paths. Raises StoreError."""
    from gradclip_cli import plots

    comparison = comparison if comparison.gradients else with_gradients(comparison)
    paths = {name: folder / name for name in FILES}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plots.save(plots.comparison_figure(figures.panels(comparison)), [paths[name] for name in FIGURES[:2]])
        plots.save(figures.pairs_figure(comparison), [paths[name] for name in FIGURES[2:]])
        write_atomically(paths["comparison.csv"], comparison.table.to_csv(index=False))
        write_atomically(paths["comparison.md"], to_markdown(comparison))
        write_atomically(paths["comparison.json"], to_json(comparison))
    except OSError as error:
        raise unwritable(folder, error, "--out") from None
    return list(paths.values())
