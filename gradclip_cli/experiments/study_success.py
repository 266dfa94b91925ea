"""A study's successes: how many runs of each arm ended at or beyond their bar, and whether more do than of the baseline's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gradclip_cli.config.bars import Bar
from gradclip_cli.evidence.blocks import Block, Heading, Paragraph, Table
from gradclip_cli.evidence.stats import holm
from gradclip_cli.evidence.success import Successes, paired_p
from gradclip_cli.experiments.study import Result
from gradclip_cli.texts import percent, shown_p

HEADINGS = ["arm", "success", "runs", "share", "95% interval", "against", "p"]


@dataclass(frozen=True)
class ArmSuccess:
    """An arm's successes, and McNemar's exact test against the baseline of its first test; None where it has none."""

    arm: str
    bar: Bar
    own: Successes
    baseline: str | None = None
    p: float | None = None
    p_adjusted: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        low, high = self.own.interval
        counts = {"successes": self.own.count, "runs": self.own.total, "low": low, "high": high}
        return {
            "arm": self.arm,
            "bar": str(self.bar),
            **counts,
            "baseline": self.baseline,
            "p": self.p,
            "p_adjusted": self.p_adjusted,
        }


def successes(result: Result) -> list[ArmSuccess]:
    """Of each arm for which it is said what a success is; tests are adjusted by Holm over all of them."""
    baselines: dict[str, str] = {}
    for each in result.tested:
        baselines.setdefault(each.test.arm, each.test.baseline)
    bars = result.study.bars
    tested = [name for name in bars if name in baselines]
    p = [paired_p(bars[name], result.arms[baselines[name]], result.arms[name]) for name in tested]
    found = dict(zip(tested, zip(p, holm(p) if p else [], strict=True), strict=True))
    return [
        ArmSuccess(name, bar, Successes.of(bar, result.arms[name]), baselines.get(name), *found.get(name, (None, None)))
        for name, bar in bars.items()
    ]


def parts(result: Result) -> list[Block]:
    """The part of the report; nothing where no arm has a bar."""
    if not result.study.bars:
        return []
    table = [_row(each) for each in successes(result)]
    return [
        Heading("Successes"),
        Table(HEADINGS, table, left=2),
        Paragraph(
            "Exact intervals of Clopper and Pearson; against the baseline of the arm's first test McNemar's exact test on shared "
            "seeds, adjusted by Holm over this table. A run that diverged is none."
        ),
    ]


def _row(each: ArmSuccess) -> list[str]:
    low, high = each.own.interval
    return [
        each.arm,
        str(each.bar),
        f"{each.own.count} of {each.own.total}",
        percent(each.own.count / each.own.total),
        f"{percent(low)} to {percent(high)}",
        each.baseline or "",
        "" if each.p_adjusted is None else shown_p(each.p_adjusted),
    ]
