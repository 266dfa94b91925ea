"""What of a comparison's page can be chosen: the question that it was made for, further looks, and each seed's twins.

All of it is judged here, by the same code as any comparison; the page's script shows it, and computes no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradclip_cli.evidence import figures, report
from gradclip_cli.evidence.arms import Arm, StoredRun
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.further import further_looks, possible
from gradclip_cli.evidence.metrics import SHARES, in_words
from gradclip_cli.pages.answer import answer, badge_of, title
from gradclip_cli.pages.elements import as_json, safe
from gradclip_cli.pages.numbers import short
from gradclip_cli.plots import DifferenceRow
from gradclip_cli.runs.csv_files import EVALUATED
from gradclip_cli.texts import counted, percent

MOST_JUDGED = 200
"""Arms that all further looks of a page judge together: each takes about as long as to judge it once."""
MOST_NUMBERS = 100_000
"""Of runs' curves: of more, every second, third or further epoch is held."""
DIGITS = 4
"""Of the numbers on runs' curves."""


def data(compared: Comparison) -> str:
    """The looks and the runs for the page's script, as JSON."""
    further = list(further_looks(compared, MOST_JUDGED))
    looks = [compared, *further]
    metrics = {look.metric.name: _metric(look) for look in reversed(looks)}
    content = {
        "looks": [_look(look) for look in looks],
        "metrics": metrics,
        "left": left_out(compared, further),
        "runs": _runs([part.arm for part in compared.arms], compared),
    }
    return as_json(safe(content))


def left_out(compared: Comparison, further: Sequence[Comparison]) -> str:
    """How many further looks are not on the page, and how to have one; nothing where all are."""
    baselines, metrics = possible(compared)
    missing = len(baselines) * len(metrics) - 1 - len(further)
    if not missing:
        return ""
    told = f"{counted(missing, 'further combination')} of baseline and metric {'is' if missing == 1 else 'are'} not here"
    return f"{told}; gradclip report --baseline ARM --metric NAME makes a page of any that can be compared."


def _metric(look: Comparison) -> dict[str, Any]:
    """A metric in words, and each arm's scores as texts, by the arm's name."""
    metric = look.metric
    return {
        "title": metric.title,
        "heading": metric.heading,
        "column": metric.column,
        "unit": metric.unit.name,
        "digits": metric.unit.digits,
        "higher": metric.higher_is_better,
        "scores": {part.arm.name: [metric.unit.shown(score) for score in part.scores] for part in look.arms},
    }


def _look(look: Comparison) -> dict[str, Any]:
    """All that follows from the choice of a baseline and a metric."""
    rows = {row.name: row for row in figures.difference_rows(look)}
    return {
        "baseline": look.baseline.arm.name,
        "metric": look.metric.name,
        "title": title(look),
        "axis": axis(look),
        "answer": answer(look),
        "badges": [badge_of(look, part)._asdict() for part in look.arms],
        "columns": report.verdict_columns(look),
        "rows": report.verdict_rows(look),
        "caption": report.verdict_caption(look),
        "sentences": look.sentences,
        "paired": not look.unpaired,
        "differences": {
            part.arm.name: _differences(part.against.seeds, rows[part.arm.name]) for part in look.others if part.against
        },
    }


def axis(look: Comparison) -> str:
    """What a live figure of the differences shows, where better is above or below."""
    told = figures.difference_axis(look.metric, look.baseline.arm.name)
    told = told.replace("to the right", "above").replace("to the left", "below")
    return f"{told[:1].upper()}{told[1:]}"


def _differences(seeds: Sequence[int], row: DifferenceRow) -> dict[str, Any]:
    """An arm's differences, each with its seed; no interval where there is none."""
    interval = [short(row.low), short(row.high)] if math.isfinite(row.low) else None
    values = [short(float(value)) for value in row.differences]
    return {"seeds": list(seeds), "values": values, "typical": short(row.typical), "interval": interval}


def _runs(arms: Sequence[Arm], compared: Comparison) -> dict[str, Any]:
    """Each arm's runs, with their curves as recorded, in as many epochs as there is room for."""
    columns, epochs = compared.result_columns, max(arm.epochs for arm in arms)
    numbers = sum(len(arm.runs) for arm in arms) * len(columns) * epochs
    every = math.ceil(numbers / MOST_NUMBERS)
    shown = [epoch for epoch in range(1, epochs + 1) if epoch % every == 0 or epoch == epochs]
    named = {column: _in_words(column, arms[0].evaluation_split) for column in columns}
    note = f"Of {epochs:,} epochs one in {every} and the last are held here." if every > 1 else ""
    held = {arm.name: [_run(run, columns, shown) for run in arm.runs] for arm in arms}
    return {"columns": named, "epochs": shown, "note": note, "of": held}


def _in_words(column: str, split: str) -> str:
    """A column as the figures by epoch call it, with its unit where it is a share."""
    name = column.removeprefix(EVALUATED)
    where = split.capitalize() if column.startswith(EVALUATED) else "Training"
    return f"{where} {in_words(name)}{' (share correct)' if name in SHARES else ''}"


def _run(run: StoredRun, columns: Sequence[str], epochs: Sequence[int]) -> dict[str, Any]:
    kept = [epoch - 1 for epoch in epochs if epoch <= len(run.metrics)]
    share = float(run.metrics["clipped_fraction"].mean()) if len(run.metrics) else math.nan
    there = [column for column in columns if column in run.metrics.columns]
    curves = {column: [short(float(value), DIGITS) for value in run.metrics[column][kept]] for column in there}
    return {"seed": run.seed, "status": _status(run), "clipped": percent(share), "curves": curves}


def _status(run: StoredRun) -> str:
    divergence = run.metadata.get("diverged")
    return f"diverged at step {divergence['step']:,}" if run.diverged and divergence else str(run.metadata["status"])
