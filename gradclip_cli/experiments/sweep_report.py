"""A sweep's report: what it was, its map, the rows' bests, and the comparison at these, in words, tables and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradclip_cli.config.seeds import seed_list
from gradclip_cli.config.sweeps import Sweep
from gradclip_cli.evidence import ledger, plans, report, summaries, trained
from gradclip_cli.evidence.arms import mixtures
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.metrics import Metric
from gradclip_cli.evidence.plans import BEST
from gradclip_cli.evidence.remarks import scope_sentence, treatment_sentence
from gradclip_cli.evidence.summaries import Part
from gradclip_cli.experiments.sweep import Result, Row
from gradclip_cli.files import unwritable, write_atomically
from gradclip_cli.runs.csv_files import EVALUATED
from gradclip_cli.texts import counted, for_markdown

if TYPE_CHECKING:
    from gradclip_cli.plots import StabilityMap


def facts(sweep: Sweep) -> dict[str, str]:
    """What is trained, by subject: model, data, training, optimizer, clipping, what else is unusual, and what is swept over.

    Of a script's sweep, its command is all that is known before in their place.
    """
    found = trained.facts(sweep.configs, [axis.key for axis in sweep.axes])
    if "clipping" in found and any(axis.of_clipping for axis in sweep.axes):
        found["clipping"] = trained.SWEPT
    found["swept"] = "; ".join(f"{axis.title}: {', '.join(axis.labels)}" for axis in sweep.axes)
    fresh = f" for the grid, {seed_list(sweep.fresh_seeds)} fresh for the comparison" if sweep.fresh_seeds else ""
    return found | {"seeds": f"{seed_list(sweep.seeds)}{fresh}"}


def table(result: Result) -> pd.DataFrame:
    """The map as a table, a row a cell."""
    return pd.DataFrame([_cell(result, row, index) for row in result.rows for index in range(len(row.arms))])


def _cell(result: Result, row: Row, index: int) -> dict[str, Any]:
    columns, arm, name = result.sweep.columns, row.arms[index], f"{result.split}_{_name(result.metric)}"
    scores = row.metric.scores(arm)
    return {
        "row": row.label,
        columns.key: columns.labels[row.cells[index].places[result.sweep.column_axis]],
        "arm": arm.name,
        "runs": len(arm.runs),
        "diverged": int(arm.diverged.sum()),
        name: float(np.mean(scores)),
        f"{name}_std": float(np.std(scores, ddof=1)) if len(arm.runs) > 1 else np.nan,
        "best": index == row.best,
        "at_edge": index == row.best and row.at_edge,
    }


def _name(metric: Metric) -> str:
    return metric.column.removeprefix(EVALUATED)


def stability(result: Result) -> StabilityMap:
    """The map as the picture wants it."""
    from gradclip_cli.plots import StabilityMap

    columns = result.sweep.columns
    return StabilityMap(
        metric=result.metric.heading,
        axis=columns.title,
        columns=columns.labels,
        rows=[row.label for row in result.rows],
        values=np.array([row.scores for row in result.rows]),
        diverged=np.array([row.diverged for row in result.rows]),
        best=[row.best for row in result.rows],
        higher_is_better=result.metric.higher_is_better,
    )


def best_columns(result: Result) -> list[str]:
    """Headings of `best_rows`."""
    return ["", "best at", result.metric.heading.removeprefix(f"{result.split} "), "diverged there"]


def best_rows(result: Result) -> list[list[str]]:
    """Each row's best column, as texts."""
    return [_best_row(row) for row in result.rows]


def _best_row(row: Row) -> list[str]:
    if row.best is None:
        known = row.metric.chance(row.arms[0]) is not None
        return [row.label, "nothing was better than chance" if known else "every run diverged", "", ""]
    edge = " (at the edge)" if row.at_edge else ""
    place = f"{row.columns.title} {row.columns.labels[row.best]}{edge}"
    return [row.label, place, row.metric.unit.shown(row.scores[row.best]), f"{row.diverged[row.best]:.0%}"]


def scope(result: Result) -> str:
    """What the choice rests on, which bests are at the grid's edge, and what the comparison does, or why there is none."""
    return " ".join([_choice_sentence(result), *_edge_sentences(result), _comparison_sentences(result)])


def _choice_sentence(result: Result) -> str:
    axis, seeds = result.sweep.columns, seed_list(result.sweep.seeds)
    diverged = "chance" if result.metric.chance(result.rows[0].arms[0]) is not None else "the worst of the grid that finished"
    measure = f"mean {result.metric.title} over seeds {seeds}, a diverged run counting as {diverged}"
    if len(axis.labels) == 1:
        return f"There is one {axis.title} only, so none was chosen; the map shows {measure}."
    few = f"With {counted(len(result.sweep.seeds), 'seed')} another choice may be as good."
    return " ".join([f"Each row's best {axis.title} was chosen by {measure}. {few}", *_untried(result)])


def _untried(result: Result) -> list[str]:
    """A sentence on the gaps of a numeric axis on either side of each best value."""
    axis = result.sweep.columns
    if not axis.numeric:
        return []
    labels, best = axis.labels, {row.best for row in result.rows}
    gaps = [f"{labels[place]} and {labels[place + 1]}" for place in range(len(labels) - 1) if {place, place + 1} & best]
    return [f"No {axis.title} was tried between {', '.join(gaps[:-1])}{' or ' if gaps[1:] else ''}{gaps[-1]}."] if gaps else []


def _edge_sentences(result: Result) -> list[str]:
    rows = [row.label for row in result.rows if row.at_edge]
    return [f"At the grid's edge, so that a better one may lie beyond: {'; '.join(rows)}."] if rows else []


def _comparison_sentences(result: Result) -> str:
    if result.split == "test":
        return (
            "That was on the test set, which a comparison of the rows at their best would use a second time; for one, set "
            "data.holdout in the base."
        )
    if len(result.rows) == 1:
        return "There is one row only, so nothing was compared."
    if sum(row.best is not None for row in result.rows) < 2:
        return "Fewer than two rows were better than chance, so nothing was compared."
    if not result.best:
        return "Without fresh seeds nothing was compared at the best ones."
    fresh = seed_list(result.sweep.fresh_seeds)
    trained_anew = (
        f"The best ones were trained anew, on all training images with the fresh seeds {fresh}, and only these runs are compared "
        "on the test set."
    )
    return f"{trained_anew} {_mixture_sentence(result)}".strip()


def _mixture_sentence(result: Result) -> str:
    """A warning where rows differ in more than their rule."""
    others = [axis.key for axis in result.sweep.row_axes if not axis.of_clipping and len(axis.values) > 1]
    return f"Rows differ in {', '.join(others)} too: a difference between them need not be clipping's." if others else ""


def sentences(result: Result) -> list[str]:
    """What the comparison says of each arm, with the share of steps on which clipping acted; nothing where none was made."""
    if not (best := result.best):
        return []
    told = []
    for other in best.others:
        if other.against:
            treatment = treatment_sentence(best.baseline.arm, other.arm, other.against.acted)
            told.append(" ".join(filter(None, [other.against.sentence, treatment])))
    return told


def summary(result: Result) -> list[Part]:
    """What came of the rows at their best, and how all runs ended, in one line."""
    grid = [arm for row in result.rows for arm in row.arms]
    if result.best is None:
        return [Part(summaries.runs(grid))]
    fresh = [part.arm for part in result.best.arms]
    return [Part("At the best: "), *summaries.verdicts(result.best), Part(summaries.runs([*grid, *fresh]))]


def warnings(result: Result) -> list[str]:
    """What is mixed within the grid: versions, machines, engine settings."""
    return mixtures([arm for row in result.rows for arm in row.arms])


def write(result: Result, results: Path) -> list[Path]:
    """Write the map, named after the sweep, `sweep.json`, `report.md` and the comparison in `best/`. Raises StoreError."""
    from gradclip_cli import plots

    name = result.sweep.name
    picture, vector, cells, content, page = paths = [
        results / file for file in (f"{name}.png", f"{name}.svg", f"{name}.csv", "sweep.json", "report.md")
    ]
    try:
        plots.save(plots.stability_figure(stability(result)), [picture, vector])
        write_atomically(cells, table(result).to_csv(index=False))
        write_atomically(content, to_json(result))
        write_atomically(page, to_markdown(result))
    except OSError as error:
        raise unwritable(results, error) from None
    if result.best:
        ledger.record(results / BEST, result.best.first_compared, [result.best.look])  # before its own comparison.json is there
        report.write(result.best, results / BEST)
    return paths


def to_json(result: Result) -> str:
    """The map, the choice and where the comparison stands, with a schema number."""
    axes = [{"key": axis.key, "values": list(axis.labels)} for axis in result.sweep.axes]
    content: dict[str, Any] = {
        "schema": plans.SWEEP_SCHEMA,
        "name": result.sweep.name,
        "facts": facts(result.sweep),
        "resets": list(result.sweep.resets),
        "axes": axes,
        "seeds": list(result.sweep.seeds),
        "fresh_seeds": list(result.sweep.fresh_seeds),
        "chosen_on": result.split,
        "cells": table(result).to_dict("records"),
        "comparison": f"{BEST}/comparison.json" if result.best else None,
        "sentences": sentences(result),
        "scope": scope(result),
        "warnings": warnings(result),
        "plan": result.adherence.to_dict(),
    }
    return json.dumps(report.finite(content), indent=2, allow_nan=False) + "\n"


def to_markdown(result: Result) -> str:
    """The sweep as a page."""
    axis, measure = for_markdown(result.sweep.columns.title), for_markdown(result.metric.title)
    arms, seeds = counted(len(result.sweep.cells), "arm"), counted(len(result.sweep.seeds), "seed")
    parts = [
        f"# {for_markdown(result.sweep.name)}: {arms}, {seeds} each",
        "\n".join(f"- {subject}: {for_markdown(text)}" for subject, text in facts(result.sweep).items()),
        *[f"Mind that {for_markdown(reset)}." for reset in result.sweep.resets],
        f"![Mean {measure} by {axis} and row, with the share of runs that diverged]({result.sweep.name}.png)",
        f"## The best {axis} of each row",
        report.markdown_table(best_columns(result), best_rows(result)),
        for_markdown(scope(result)),
        *[f"Warning: {for_markdown(warning)}" for warning in warnings(result)],
        *(_comparison_parts(result.best, sentences(result)) if result.best else []),
        *result.adherence.to_markdown(),
    ]
    return "\n\n".join(parts) + "\n"


def _comparison_parts(best: Comparison, told: Sequence[str]) -> list[str]:
    return [
        "## At the best ones",
        report.markdown_table(report.verdict_columns(best), report.verdict_rows(best)),
        for_markdown(report.verdict_caption(best)),
        "\n".join(f"- {for_markdown(sentence)}" for sentence in told),
        f"{for_markdown(scope_sentence(best))} [{BEST}/comparison.md]({BEST}/comparison.md) has more.",
        f"![Paired differences]({BEST}/differences.png)",
    ]
