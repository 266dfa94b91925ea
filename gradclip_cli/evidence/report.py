"""Comparisons as tables, Markdown, JSON and figures. `comparison.json` is described in docs/comparison.md."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import plans, stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.comparison import (
    RESULT_COLUMNS,
    AgainstBaseline,
    ArmReport,
    Comparison,
    Seeds,
    planning_sentence,
    scope_sentence,
    seed_list,
    with_gradients,
)
from gradclip_cli.evidence.metrics import METRICS, Metric, scoring, told, told_p
from gradclip_cli.files import unwritable, write_atomically
from gradclip_cli.texts import decimals, for_markdown, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = plans.COMPARISON_SCHEMA
SHARES, NOT_NEGATIVE = (0.0, 1.0), (0.0, math.inf)  # what values are possible
LOOKS = "compare"
"""Folder of the looks that were taken at a folder's runs, in folders of their own."""
REPORT_FILES = ("report.md", "claims.json", plans.SWEEP)
LONGEST = 80
"""Letters of a look's folder."""
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
        verdict = _verdict(against) if against else "baseline" if report is comparison.baseline else "no shared seed"
        rows.append([*row, percent(float(report.arm.diverged.mean()), 0), verdict])
    return rows


def _verdict(against: AgainstBaseline) -> str:
    """The verdict, and shortly what else it may be due to."""
    if not against.differs_in:
        return against.verdict
    first, *others = against.differs_in
    more = f" and {len(others)} more" if others else ""
    return f"{against.verdict} (other {first}{more})"


def verdict_caption(comparison: Comparison) -> str:
    """What stands under the verdict table: its figures are scores."""
    scored = scoring(comparison.metric, comparison.baseline.arm)
    return f"As scored: {scored}. 95% intervals: Student's of a mean, the sign-flip test's of a paired difference."


def _with_interval(value: float, low: float, high: float, metric: Metric, *, sign: bool = False) -> str:
    if not math.isfinite(low):
        return told(value, metric, sign=sign)
    return f"{told(value, metric, sign=sign)} [{told(low, metric)}, {told(high, metric)}]"


def run_columns(comparison: Comparison) -> list[str]:
    """Headings of the table of what the runs did."""
    split = comparison.baseline.arm.evaluation_split
    results = [f"{split} {name.removeprefix('val_')} ({name})" if name.startswith("val_") else name for name in RESULT_COLUMNS]
    return ["arm", "seeds", *results, "norm median", "norm max", "clipped", "status"]


def run_caption(comparison: Comparison) -> str:
    """What stands under the table of what the runs did: its figures are no scores."""
    return (
        "As recorded: each run's last whole epoch, nothing capped (mean ± standard deviation over seeds); norms are global L2 "
        "norms before clipping."
    )


def run_rows(comparison: Comparison) -> list[list[str]]:
    """What the runs did, as texts: the last epoch's figures, uncapped, mean ± standard deviation over seeds."""
    rows = []
    for row in comparison.table.to_dict("records"):
        results = [_with_deviation(row[column], row[f"{column}_std"]) for column in RESULT_COLUMNS]
        norms = [_norm(row[name]) for name in NORM_COLUMNS]
        rows.append([str(row["arm"]), str(row["runs"]), *results, *norms, percent(row["clipped_fraction"]), _status(row)])
    return rows


def _norm(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if 100 <= value < 1e6 else f"{value:.3g}"


def _with_deviation(mean: float, deviation: float) -> str:
    if not math.isfinite(mean):
        return "-"
    return (
        f"{mean:.3g} ±{deviation:.2g}"
        if mean >= 1000
        else f"{decimals(mean, 3)} ±{decimals(deviation, 3)}"
        if math.isfinite(deviation)
        else decimals(mean, 3)
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
        for_markdown(verdict_caption(comparison)),
        *[f"- {for_markdown(sentence)}" for sentence in comparison.sentences],
        *[for_markdown(sentence) for sentence in (planning_sentence(comparison), scope_sentence(comparison)) if sentence],
        *[f"Note: {for_markdown(note)}" for note in (*comparison.notes, *comparison.differences)],
        *[f"Warning: {for_markdown(warning)}" for warning in comparison.warnings],
        "## What the runs did",
        markdown_table(run_columns(comparison), run_rows(comparison)),
        run_caption(comparison),
        "![Curves](comparison.png)",
        "![Paired differences](differences.png)",
    ]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def look_folder(
    comparison: Comparison,
    results: Path,
    *,
    everything: bool,
    baseline: str | None = None,
    seeds: Seeds = None,
) -> Path:
    """Where a look at a folder's runs is written: a folder named after its arms, the baseline first, and what else was asked for.

    `everything` says that no arms were named; `baseline` and `seeds` are as they were asked for. Another look has another
    folder, the same one the same.
    """
    names = [part.arm.name for part in comparison.arms]
    if everything:
        names = ["all"] if baseline is None else [baseline, "all"]
    options = [] if comparison.metric.name == next(iter(METRICS)) else [comparison.metric.name]
    if seeds is not None:
        options.append(f"seeds-{'all' if seeds == 'all' else seed_list([int(seed) for seed in seeds]).replace(', ', ',')}")
    whole = "@".join([",".join(_without_prefix(names)), *options])
    safe = re.sub(r"[^A-Za-z0-9._+=,@-]", "_", whole)
    if safe != whole or len(safe) > LONGEST or any("," in name for name in names):
        digest = hashlib.sha256(os.fsencode("\n".join([*names, "", *options]))).hexdigest()[:8]
        safe = f"{safe[: LONGEST - 9]}~{digest}"
    return results / LOOKS / safe


def _without_prefix(names: Sequence[str]) -> list[str]:
    """Names whose common beginning, up to the last sign between words of the first one, only the first one keeps.

    explode-none and explode-clipnorm become explode-none and -clipnorm.
    """
    first, *others = names
    end = max(first.rfind(sign) for sign in "-+=")
    if end > 0 and others and all(other.startswith(first[: end + 1]) for other in others):
        return [first, *(other[end:] for other in others)]
    return list(names)


def require_no_report(folder: Path) -> None:
    """Raise ReportError where a folder's files belong to a report: a look must not replace them."""
    found = next((name for name in REPORT_FILES if os.path.lexists(folder / name)), None)
    if found is None and plans.is_best_of_a_sweep(folder):
        found = f"../{plans.SWEEP}"
    if found:
        raise ReportError(
            f"{folder}: holds the files of a report ({found}), which a comparison would replace; name another folder with --out."
        )


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write a comparison's figures, tables and JSON into a folder and return their paths. Raises StoreError."""
    from gradclip_cli import plots

    comparison = comparison if comparison.gradients else with_gradients(comparison)
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

    comparison = comparison if comparison.gradients else with_gradients(comparison)
    arms = [report.arm for report in comparison.arms]
    split = comparison.baseline.arm.evaluation_split.capitalize()
    unit = "cross-entropy (nats)" if comparison.baseline.arm.config.loss.name == "crossentropy" else "squared error"
    titles = {
        "loss": ("Training loss", unit),
        "val_loss": (f"{split} loss", unit),
        "accuracy": ("Training accuracy", "share correct"),
        "val_accuracy": (f"{split} accuracy", "share correct"),
    }

    def curve(arm: Arm, x: FloatArray, values: FloatArray, peaks: FloatArray | None = None, most: float | None = None) -> Curve:
        ends = [run.metadata["steps"] / run.config.training.steps_per_epoch if run.diverged else None for run in arm.runs]
        band = None if most is None else stats.mean_band(values)
        # Few seeds know less than what is possible at all.
        return Curve(arm.name, x, values, ends, peaks, band and (np.clip(band[0], 0, most), np.clip(band[1], 0, most)))

    def scored(arm: Arm, column: str) -> Curve:
        """A column by epoch: what is measured at an epoch's end stands there, a mean over its steps at its middle."""
        ends = np.arange(1.0, arm.config.training.epochs + 1)
        x = ends if column.startswith("val_") else ends - 0.5
        return curve(arm, x, arm.scored(column), most=1.0 if column.endswith("accuracy") else arm.chance(column))

    drawn = [
        Panel(
            title,
            unit,
            [scored(arm, column) for arm in arms],
            bounds=SHARES if column.endswith("accuracy") else NOT_NEGATIVE,
        )
        for column, (title, unit) in titles.items()
    ]
    bins = comparison.gradients
    norms = [curve(arm, bins[arm.name].middles, bins[arm.name].median_norm, peaks=bins[arm.name].largest_norm) for arm in arms]
    shares = [curve(arm, bins[arm.name].middles, bins[arm.name].clipped) for arm in arms]
    thresholds = {
        arm.name: (arm.config.threshold, arm.config.clipping.scope.name)
        for arm in arms
        if arm.config.threshold is not None and arm.config.clipping.measured
    }
    drawn.append(
        Panel("Gradient norm before clipping: median and largest", "global L2 norm", norms, log=True, thresholds=thresholds)
    )
    drawn.append(Panel("Clipped steps", "share of steps", shares, bounds=SHARES))
    return drawn
