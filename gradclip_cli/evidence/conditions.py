"""Conditions that a comparison may be failed for: an arm hurts, a run diverged or collapsed, a typical value misses its bar."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from gradclip_cli.arrays import BoolArray
from gradclip_cli.config.bars import SIGNS, Bar
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.judging import ArmReport
from gradclip_cli.evidence.questions import Question
from gradclip_cli.evidence.samples import Sample
from gradclip_cli.evidence.verdicts import Verdict
from gradclip_cli.texts import counted


@dataclass(frozen=True)
class Condition:
    """What is looked for, in each arm or in one."""

    what: str | Bar
    """A key of `WORDS`, or a bar for an arm's typical value."""
    arm: str | None = None

    @classmethod
    def read(cls, text: str) -> Condition:
        """Read `hurts`, `val_accuracy < 0.6` or `clipvalue: diverged`. Raises ValueError for what is no condition."""
        arm, colon, what = text.rpartition(":")
        word, found = what.strip(), arm.strip() or None
        if colon and not found:
            raise ValueError(f"there is no arm before the colon of {text!r}; write clipvalue:hurts, or hurts for all arms")
        if word in WORDS:
            return cls(word, found)
        if not any(sign in word for sign in SIGNS):
            near = difflib.get_close_matches(word, WORDS, n=1)
            meant = f"; did you mean {near[0]}?" if near else "."
            raise ValueError(f"{word!r} is no condition{meant} Known: {', '.join(WORDS)}, or a bar such as 'val_accuracy < 0.6'")
        try:
            return cls(Bar.read(word, signs=SIGNS), found)
        except ValueError:
            signs = f"{', '.join(SIGNS)} and a number"
            raise ValueError(f"{word!r} is no condition; write a metric, one of {signs}, such as 'val_accuracy < 0.6'") from None

    def __str__(self) -> str:
        return f"{self.arm}: {self.what}" if self.arm else str(self.what)


@dataclass(frozen=True)
class Outcome:
    """Whether a condition holds of a comparison: by which arms, or why that can't be judged."""

    condition: Condition
    held_by: tuple[str, ...]
    """Each arm by which it holds, with its figure."""
    unknown: tuple[str, ...]
    """Why it can't be judged of some arm, a sentence each."""

    @property
    def holds(self) -> bool | None:
        """None where that can't be judged: it holds by no arm, but not of each is it known that it doesn't."""
        return True if self.held_by else None if self.unknown else False

    def __str__(self) -> str:
        if self.holds:
            return f"{self.condition}: holds for {', '.join(self.held_by)}"
        if self.unknown:
            first, *others = dict.fromkeys(self.unknown)
            return f"{self.condition}: can't be judged. {first}{f' (and {len(others)} more reasons)' if others else ''}"
        return f"{self.condition}: does not hold"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"condition": str(self.condition), "holds": self.holds, "held_by": self.held_by, "unknown": self.unknown}


def judged(condition: Condition, compared: Comparison) -> Outcome:
    """Whether a condition holds of a comparison."""
    held, unknown = [], []
    of = WORDS[condition.what] if isinstance(condition.what, str) else _beyond(condition.what)
    try:
        meant = _meant(condition, compared)
    except ReportError as error:
        return Outcome(condition, (), (str(error),))
    for report in meant:
        try:
            if figure := of(report, compared):
                held.append(f"{report.arm.name} ({figure})")
        except ReportError as error:
            unknown.append(str(error))
    return Outcome(condition, tuple(held), tuple(unknown))


def _meant(condition: Condition, compared: Comparison) -> list[ArmReport]:
    """The arms of which a condition is judged. Raises ReportError where there is none."""
    names = [report.arm.name for report in compared.arms]
    if condition.arm is not None and condition.arm not in names:
        raise ReportError(f"{condition.arm} is not among the compared arms: {', '.join(names)}.")
    meant = [report for report in compared.arms if condition.arm in (None, report.arm.name)]
    if condition.what != "hurts":
        return meant
    if against := [report for report in meant if report is not compared.baseline]:
        return against
    raise ReportError(f"No arm is held against {names[0]}, the baseline: compare two arms or more, and name another than it.")


def _hurts(report: ArmReport, compared: Comparison) -> str | None:
    """The difference of an arm that hurts; None of one that does not, as far as its runs can show.

    Raises ReportError where they can't.
    """
    against, name = report.against, report.arm.name
    if against is None:
        raise ReportError(f"{name} shares no seed with {compared.baseline.arm.name}; train both with the same seeds.")
    if against.verdict == Verdict.EXPLORATORY:
        counted_as = "runs of each arm" if against.unpaired else "seeds that both arms have"
        needed = f"a verdict takes {against.seeds_for_a_verdict} {counted_as}; train more"
        raise ReportError(f"{name} has too few runs ({against.runs_told}): {needed}.")
    if against.verdict == Verdict.NOT_TESTABLE:
        raise ReportError(against.sentence)
    if against.verdict != Verdict.HURTS:
        return None
    return f"{compared.metric.unit.amount(against.typical, sign=True)} typically"


def _diverged(report: ArmReport, compared: Comparison) -> str | None:
    return _count(report.arm.diverged)


def _collapsed(report: ArmReport, compared: Comparison) -> str | None:
    """How many of an arm's runs collapsed. Raises ReportError without the accuracy by which that is known."""
    if not report.arm.can_collapse:
        raise ReportError(f"The runs of {report.arm.name} have no val_accuracy, by whose fall a collapse is known.")
    return _count(report.arm.collapsed)


def _count(happened: BoolArray) -> str | None:
    """In how many runs something happened; None where in none."""
    return f"{happened.sum()} of {counted(len(happened), 'run')}" if happened.any() else None


def _beyond(bar: Bar) -> Callable[[ArmReport, Comparison], str | None]:
    """A check of arms by a bar."""

    def check(report: ArmReport, compared: Comparison) -> str | None:
        value = _typical(bar.column, report, compared)
        return f"{value:.6g}" if bar.is_reached_by(value) else None

    return check


def _typical(metric: str, report: ArmReport, compared: Comparison) -> float:
    """An arm's typical value by a metric, in the files' unit. Raises ReportError where its runs don't tell it."""
    target = compared.yardstick.target_loss
    question = Question(metric, target_loss=target if math.isfinite(target) else None)
    yardstick = question.put_to(report.arm)
    if metric != compared.metric.name and yardstick.metric.of_replicates:
        raise ReportError(f"{metric} needs the arms' replicates, which are read where it is compared by: add --metric {metric}.")
    scores = yardstick.scores(report.arm)
    if not np.isfinite(scores).all():
        raise ReportError(f"{metric} is not known of every run of {report.arm.name}; `gradclip list` shows how they ended.")
    return Sample.of(scores).typical


WORDS: Mapping[str, Callable[[ArmReport, Comparison], str | None]] = MappingProxyType(
    {"hurts": _hurts, "diverged": _diverged, "collapsed": _collapsed}
)
"""What is looked for by a word: each gives the figure by which it holds of an arm, or None, and raises ReportError where its
runs can't show it."""
