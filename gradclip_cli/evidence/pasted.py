"""A comparison's verdict table to be pasted elsewhere: LaTeX for a paper, Markdown for a page, CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradclip_cli.evidence import report
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.judging import ArmReport
from gradclip_cli.texts import MINUS, for_terminal

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"\textbar{}",
    MINUS: "$-$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_SPECIAL = re.compile(f"[{re.escape(''.join(_LATEX))}]")


def for_latex(text: str) -> str:
    """The text as LaTeX shows it literally, on one line."""
    return _SPECIAL.sub(lambda found: _LATEX[found[0]], for_terminal(text))


def to_latex(compared: Comparison) -> str:
    """The verdict table with its caption, as LaTeX for the packages booktabs and graphicx: no wider than the page's text."""
    columns = report.verdict_columns(compared)
    lines = [
        r"\begin{table*}  % \usepackage{booktabs,graphicx}",
        r"\centering",
        rf"\caption{{{for_latex(report.verdict_caption(compared))}}}",
        r"\label{tab:verdicts}",
        r"\footnotesize\setlength{\tabcolsep}{3pt}",
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 2)}l}}",
        r"\toprule",
        _latex_row(columns),
        r"\midrule",
        *map(_latex_row, report.verdict_rows(compared)),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    row = " & ".join(map(for_latex, cells))
    return rf"{'{}' if row.startswith(('[', '*')) else ''}{row} \\"  # or the row before would take it for its ending's argument


def to_markdown(compared: Comparison) -> str:
    """The verdict table in Markdown."""
    return report.markdown_table(report.verdict_columns(compared), report.verdict_rows(compared)) + "\n"


def to_csv(compared: Comparison) -> str:
    """The verdict table as numbers, unrounded, in the metric's unit, each in a column of its own; empty where there is none."""
    rows = numbers(compared)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def numbers(compared: Comparison) -> list[dict[str, Any]]:
    """What a row an arm of that table holds, by column; None where there is nothing, or nothing finite."""
    return [_numbers(each, compared) for each in compared.arms]


def _numbers(each: ArmReport, compared: Comparison) -> dict[str, Any]:
    arm, against, metric = each.arm, each.against, compared.metric
    found: dict[str, Any] = report.finite(
        {
            "arm": arm.name,
            "seeds": len(arm.runs),
            "diverged": int(arm.diverged.sum()),
            "collapsed": int(arm.collapsed.sum()) if arm.can_collapse else None,
            "metric": metric.name,
            "unit": metric.unit.of_values or metric.unit.name,
            "typical": each.typical,
            "low": each.low,
            "high": each.high,
            "baseline": compared.baseline.arm.name,
            "shared_seeds": len(against.seeds) if against and not against.unpaired else None,
            "difference": against and against.typical,
            "difference_low": against and against.low,
            "difference_high": against and against.high,
            "difference_confidence": against and 1 - against.level,
            "mean_difference": against and against.mean,
            "p": against and against.p,
            "p_adjusted": against and against.p_adjusted,
            "won": against and against.won,
            "lost": against and against.lost,
            "verdict": report.verdict_word(each, compared),
        }
    )
    return {**found, **_unpaired(each)} if compared.unpaired else found


def _unpaired(each: ArmReport) -> dict[str, Any]:
    """What a table has more where some arm is unpaired."""
    against = each.against
    unpaired = against and against.unpaired
    return {
        "paired": against and not unpaired,
        "baseline_runs": unpaired and unpaired.baseline_runs,
        "superiority": unpaired and unpaired.superiority,
    }


FORMATS: Mapping[str, Callable[[Comparison], str]] = {"latex": to_latex, "markdown": to_markdown, "csv": to_csv}
"""What writes the table, by the format's name."""
