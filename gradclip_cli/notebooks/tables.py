"""A comparison's numbers as tidy tables, unrounded and in the metric's unit; nothing is computed anew."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gradclip_cli.evidence import pasted
from gradclip_cli.evidence.comparison import Comparison

COUNTS = ("seeds", "diverged", "collapsed", "shared_seeds", "won", "lost", "baseline_runs")
TEXTS = ("arm", "metric", "unit", "baseline", "verdict", "exploratory")


def verdicts(compared: Comparison) -> pd.DataFrame:
    """A row an arm: the columns of the table that is pasted as CSV, and why a verdict is exploratory."""
    reasons = ["; ".join(part.against.exploratory) if part.against else "" for part in compared.arms]
    frame = pd.DataFrame(pasted.numbers(compared)).assign(exploratory=reasons)
    return frame.astype({str(column): _kind(str(column)) for column in frame})


def _kind(column: str) -> Any:
    if column == "paired":
        return "boolean"
    return "Int64" if column in COUNTS else "str" if column in TEXTS else "float64"


def scores(compared: Comparison) -> pd.DataFrame:
    """A row a run: its score, whether it diverged, and whether it collapsed, which is NA where there is no accuracy."""
    rows = [
        (part.arm.name, seed, score, diverged, collapsed if part.arm.can_collapse else None)
        for part in compared.arms
        for seed, score, diverged, collapsed in zip(
            part.arm.seeds, part.scores, part.arm.diverged, part.arm.collapsed, strict=True
        )
    ]
    kinds = {"arm": "str", "seed": "int64", "score": "float64", "diverged": "bool", "collapsed": "boolean"}
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def differences(compared: Comparison) -> pd.DataFrame:
    """A row a pair: both scores and the arm's less the baseline's; unpaired arms have none."""
    kinds = {"arm": "str", "seed": "int64", "baseline_score": "float64", "score": "float64", "difference": "float64"}
    base = dict(zip(compared.baseline.arm.seeds, compared.baseline.scores, strict=True))
    rows = []
    for part in compared.others:
        if part.against and part.against.differences is not None:
            own = dict(zip(part.arm.seeds, part.scores, strict=True))
            pairs = zip(part.against.seeds, part.against.differences, strict=True)
            rows += [(part.arm.name, seed, base[seed], own[seed], difference) for seed, difference in pairs]
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)
