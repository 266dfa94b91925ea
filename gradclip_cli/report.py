"""Comparisons as tables, Markdown, JSON and figures. `comparison.json` is described in docs/comparison.md."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradclip_cli import arms as arm_room
from gradclip_cli import stats
from gradclip_cli.arms import Arm
from gradclip_cli.clipping import RULES
from gradclip_cli.comparison import RESULT_COLUMNS, ArmReport, Comparison, planning_sentence, scope_sentence
from gradclip_cli.files import unwritable, write_atomically
from gradclip_cli.metrics import Metric, told, told_p
from gradclip_cli.safe_text import for_markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.floating[Any]]

SCHEMA = 2
SHARES, NOT_NEGATIVE = (0.0, 1.0), (0.0, math.inf)  # what values are possible
NORM_COLUMNS = ("grad_norm_median", "grad_norm_max")
FIGURES = ("comparison.png", "comparison.svg", "differences.png", "differences.svg")
FILES = (*FIGURES, "comparison.csv", "comparison.json", "comparison.md")


def to_json(comparison: Comparison) -> str:
    """All figures as JSON, with a schema number; what is not finite is null."""
    rows = comparison.table.to_dict("records")
    metric = {key: value for key, value in asdict(comparison.metric).items() if key != "effect"}
    content = {
        "schema": SCHEMA,
        "metric": metric,
        "target_loss": comparison.target_loss,
        "effect": comparison.effect,
        "margin": comparison.margin,
        "confidence": stats.CONFIDENCE,
        "baseline": comparison.baseline.arm.name,
        "evaluation_split": comparison.baseline.arm.evaluation_split,
        "arms": [_arm_json(report, row) for report, row in zip(comparison.arms, rows, strict=True)],
        "planning": planning_sentence(comparison),
        "scope": scope_sentence(comparison),
        "notes": comparison.notes,
        "differences": comparison.differences,
        "warnings": comparison.warnings,
        "first_compared": comparison.first_compared,
    }
    return json.dumps(finite(content), indent=2, allow_nan=False) + "\n"


def _arm_json(report: ArmReport, row: dict[Any, Any]) -> dict[str, Any]:
    low, high = report.diverged_interval
    return {
        **{str(key): value for key, value in row.items()},
        "seeds": report.arm.seeds,
        "diverged_share": float(report.arm.diverged.mean()),
        "diverged_low": low,
        "diverged_high": high,
        "scores": report.scores,
        "mean": report.mean,
        "low": report.low,
        "high": report.high,
        "against_baseline": asdict(report.against) if report.against else None,
        "config": report.arm.config.model_dump(mode="json", exclude={"training": {"seed"}}),
    }


def finite(value: Any) -> Any:
    """The same content with None for every number that is not finite, as JSON wants it."""
    if isinstance(value, dict):
        return {key: finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def verdict_columns(metric: Metric) -> list[str]:
    """Headings of the verdict table."""
    return [
        "arm",
        "seeds",
        f"{metric.told} ({'%' if metric.scale == 100 else metric.unit})",
        "difference",
        "p",
        "won",
        "diverged",
        "verdict",
    ]


def verdict_rows(comparison: Comparison) -> list[list[str]]:
    """The verdict table as texts, a row an arm."""
    metric = comparison.metric
    rows = []
    for report in comparison.arms:
        against = report.against
        row = [report.arm.name, str(len(report.arm.runs)), _with_interval(report.mean, report.low, report.high, metric)]
        if against:
            difference = _with_interval(against.mean, against.low, against.high, metric, sign=True)
            row += [difference, told_p(against.p_adjusted), f"{against.won}/{len(against.seeds)}"]
        else:
            row += ["", "", ""]
        verdict = against.verdict if against else "baseline" if report is comparison.baseline else "no shared seed"
        rows.append([*row, f"{report.arm.diverged.mean():.0%}", verdict])
    return rows


def _with_interval(value: float, low: float, high: float, metric: Metric, *, sign: bool = False) -> str:
    if not math.isfinite(low):
        return told(value, metric, sign=sign)
    return f"{told(value, metric, sign=sign)} [{told(low, metric)}, {told(high, metric)}]"


def run_columns() -> list[str]:
    """Headings of the table of what the runs did."""
    return ["arm", "seeds", *RESULT_COLUMNS, "norm median", "norm max", "clipped", "status"]


def run_rows(comparison: Comparison) -> list[list[str]]:
    """What the runs did, as texts: the last epoch's figures, uncapped, mean ± standard deviation over seeds."""
    rows = []
    for row in comparison.table.to_dict("records"):
        results = [_with_deviation(row[column], row[f"{column}_std"]) for column in RESULT_COLUMNS]
        norms = [f"{row[name]:,.0f}" if 100 <= row[name] < 1e6 else f"{row[name]:.3g}" for name in NORM_COLUMNS]
        rows.append([str(row["arm"]), str(row["runs"]), *results, *norms, f"{row['clipped_fraction']:.1%}", _status(row)])
    return rows


def _with_deviation(mean: float, deviation: float) -> str:
    if not math.isfinite(mean):
        return "-"
    return (
        f"{mean:.3g} ±{deviation:.2g}"
        if mean >= 1000
        else f"{mean:.3f} ±{deviation:.3f}"
        if math.isfinite(deviation)
        else f"{mean:.3f}"
    )


def _status(row: dict[Any, Any]) -> str:
    counts = {status: row[status] for status in ("complete", "diverged") if row[status]}
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{count} {status}" for status, count in counts.items())


class Markup(str):
    """A table's cell that is Markdown already."""


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A table in Markdown; the first `left` columns to the left, the others to the right.

    Cells are shown literally, whatever they hold, but for those that are `Markup`.
    """
    told = [[cell if isinstance(cell, Markup) else for_markdown(cell, cell=True) for cell in line] for line in (columns, *rows)]
    lines = [told[0], [*["---"] * left, *["---:"] * (len(columns) - left)], *told[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def to_markdown(comparison: Comparison) -> str:
    """The comparison as a page: tables, sentences, figures."""
    metric = comparison.metric
    others = ", ".join(report.arm.name for report in comparison.others) or "one arm"
    parts = [
        f"# {for_markdown(f'{metric.told.capitalize()}: {others} against {comparison.baseline.arm.name}')}",
        markdown_table(verdict_columns(metric), verdict_rows(comparison)),
        "Mean with Student's 95% interval over seeds; mean paired difference with the 95% interval of the sign-flip test.",
        *[f"- {for_markdown(sentence)}" for sentence in comparison.sentences],
        *[for_markdown(sentence) for sentence in (planning_sentence(comparison), scope_sentence(comparison)) if sentence],
        *[f"Note: {for_markdown(note)}" for note in (*comparison.notes, *comparison.differences)],
        *[f"Warning: {for_markdown(warning)}" for warning in comparison.warnings],
        "## What the runs did",
        markdown_table(run_columns(), run_rows(comparison)),
        "The last whole epoch, uncapped: mean ± standard deviation over seeds. Norms are global L2 norms before clipping.",
        "![Curves](comparison.png)",
        "![Paired differences](differences.png)",
    ]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write a comparison's figures, tables and JSON into a folder and return their paths. Raises StoreError."""
    from gradclip_cli import plots

    paths = {name: folder / name for name in FILES}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plots.save(plots.comparison_figure(panels(comparison)), [paths[name] for name in FIGURES[:2]])
        plots.save(pairs_figure(comparison), [paths[name] for name in FIGURES[2:]])
        write_atomically(paths["comparison.csv"], comparison.table.to_csv(index=False))
        write_atomically(paths["comparison.md"], to_markdown(comparison))
        write_atomically(paths["comparison.json"], to_json(comparison))
    except OSError as error:
        raise unwritable(folder, error, "--out") from None
    return list(paths.values())


def pairs_figure(comparison: Comparison) -> Figure:
    """The figure of the paired differences."""
    from gradclip_cli import plots

    whole = 100.0 if comparison.metric.scale == 100 else math.inf  # points
    return plots.differences_figure(difference_axis(comparison), difference_rows(comparison), (-whole, whole))


def difference_axis(comparison: Comparison) -> str:
    """The x axis of the differences' figure."""
    metric = comparison.metric
    better = "right" if metric.higher_is_better else "left"
    return f"difference in {metric.told} from {comparison.baseline.arm.name} ({metric.unit}; better to the {better})"


def difference_rows(comparison: Comparison) -> list[Any]:
    """The rows of the differences' figure."""
    from gradclip_cli.plots import DifferenceRow

    return [
        DifferenceRow(report.arm.name, report.against.differences, report.against.mean, report.against.low, report.against.high)
        for report in comparison.others
        if report.against
    ]


def panels(comparison: Comparison) -> list[Any]:
    """The six panels of the comparison's figure: scored losses and accuracies by epoch, gradients by step."""
    from gradclip_cli.plots import Curve, Panel

    arms = [report.arm for report in comparison.arms]
    split = comparison.baseline.arm.evaluation_split.capitalize()
    unit = "cross-entropy (nats)" if comparison.baseline.arm.config.loss.name == "crossentropy" else "squared error"
    titles = {
        "loss": ("Training loss", unit),
        "val_loss": (f"{split} loss", unit),
        "accuracy": ("Training accuracy", "share correct"),
        "val_accuracy": (f"{split} accuracy", "share correct"),
    }

    def curve(arm: Arm, x: FloatArray, values: FloatArray, *, band: bool = False, peaks: FloatArray | None = None) -> Curve:
        ends = [run.metadata["steps"] / run.config.training.steps_per_epoch if run.diverged else None for run in arm.runs]
        return Curve(arm.name, x, values, ends, peaks, stats.mean_band(values) if band else None)

    drawn = [
        Panel(
            title,
            unit,
            [curve(arm, np.arange(1.0, arm.config.training.epochs + 1), arm.scored(column), band=True) for arm in arms],
            bounds=SHARES if column.endswith("accuracy") else NOT_NEGATIVE,
        )
        for column, (title, unit) in titles.items()
    ]
    bins = {arm.name: arm_room.step_bins(arm) for arm in arms}
    norms = [curve(arm, bins[arm.name].middles, bins[arm.name].median_norm, peaks=bins[arm.name].largest_norm) for arm in arms]
    shares = [curve(arm, bins[arm.name].middles, bins[arm.name].clipped) for arm in arms]
    thresholds = {
        arm.name: (arm.config.threshold, RULES[arm.config.clipping.mode].scope)
        for arm in arms
        if arm.config.threshold is not None
    }
    drawn.append(
        Panel("Gradient norm before clipping: median and largest", "global L2 norm", norms, log=True, thresholds=thresholds)
    )
    drawn.append(Panel("Clipped steps", "share of steps", shares, bounds=SHARES))
    return drawn
