"""What came of arms in one line: which verdicts there are, and how the runs ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.judging import AgainstBaseline
from gradclip_cli.evidence.sentences import some_of
from gradclip_cli.evidence.verdicts import Verdict
from gradclip_cli.texts import counted

MOST_NAMED = 5
"""So many arms are named by each verdict."""
SEVERAL = {Verdict.HELPS: "help", Verdict.HURTS: "hurt"}


class Part(NamedTuple):
    """A piece of the line, and the verdict that it tells; empty where it tells none."""

    text: str
    verdict: str = ""


def of_comparison(compared: Comparison) -> list[Part]:
    """A comparison's line, such as `clipvalue helps; clipnorm: no difference shown. 90 runs, all complete.`"""
    return [*verdicts(compared), Part(runs(report.arm for report in compared.arms))]


def verdicts(compared: Comparison) -> list[Part]:
    """Each verdict with the arms that have it, those that were shown to differ first."""
    if not compared.others:
        return [Part("There is one arm only, so nothing is compared. ")]
    found = [(report.against, report.arm.name) for report in compared.others if report.against]
    arms: dict[tuple[Verdict, str], list[str]] = {}
    for against, name in sorted(found, key=lambda each: list(Verdict).index(each[0].verdict)):
        arms.setdefault((against.verdict, _caveat(against)), []).append(name)
    parts = [part for (verdict, caveat), names in arms.items() for part in (*_told(verdict, names), Part(f"{caveat}; "))]
    if alone := [report.arm.name for report in compared.others if report.against is None]:
        parts.append(Part(f"{some_of(alone, MOST_NAMED)}: no shared seed; "))
    return _ended(parts, "; ")


def _ended(parts: list[Part], between: str) -> list[Part]:
    """Parts that end with what stands between them, with a full stop in place of the last of it."""
    return [*parts[:-1], Part(f"{parts[-1].text.removesuffix(between)}. ")]


def _told(verdict: Verdict, names: list[str]) -> list[Part]:
    named = some_of(names, MOST_NAMED)
    if verdict in SEVERAL:
        return [Part(f"{named} "), Part(verdict if len(names) == 1 else SEVERAL[verdict], verdict)]
    return [Part(f"{named}: "), Part(verdict, verdict)]


def _caveat(against: AgainstBaseline) -> str:
    """What a verdict must not be read without, in brackets; the table and the sentences say more."""
    exploratory = ["exploratory"] if against.exploratory and against.verdict != Verdict.EXPLORATORY else []
    caveats = [*exploratory, *(["differs in more than clipping"] if against.differs_in else [])]
    return f" ({', '.join(caveats)})" if caveats else ""


def counts(found: Iterable[Verdict]) -> list[Part]:
    """How many tests there were, and how many of them found what, such as `5 tests: helps in 2, no difference shown in 3.`"""
    number = Counter(found)
    if not number:
        return []
    each = [(verdict, number[verdict]) for verdict in Verdict if number[verdict]]
    parts = [part for verdict, count in each for part in (Part(verdict, verdict), Part(f" in {count}, "))]
    return [Part(f"{counted(number.total(), 'test')}: "), *_ended(parts, ", ")]


def runs(arms: Iterable[Arm]) -> str:
    """How many runs there are of arms and of their replicates, and of which how many diverged."""
    every = [(arm.name, run) for arm in arms for each in (arm, *arm.replicates) for run in each.runs]
    diverged = Counter(name for name, run in every if run.diverged)
    if not diverged:
        return f"{counted(len(every), 'run')}, {'all ' if len(every) > 1 else ''}complete."
    each = [f"{count} of {name}" for name, count in diverged.items()]
    return f"{counted(len(every), 'run')}, diverged: {some_of(each, MOST_NAMED)}."
