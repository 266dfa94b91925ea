"""What a page is asked of: arms, one run, or the folder of a sweep, a study or a try; what the user points at decides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from gradclip_cli.errors import ReportError, StoreError

if TYPE_CHECKING:
    from gradclip_cli.runs.store import RunDirectory

NAMEABLE = (
    "Name arms that are compared (none clipvalue), one run (none/seed-3), or a folder with a sweep, a study, a try or runs "
    "(results/when)."
)


class Kind(Enum):
    """Of what there is a page."""

    COMPARISON = "comparison"
    RUN = "run"
    SWEEP = "sweep"
    STUDY = "study"
    TRY = "try"


@dataclass(frozen=True)
class Subject:
    """What is meant: a kind, the folder of the runs, and the arms or the run that are named there."""

    kind: Kind
    results: Path
    arms: Sequence[str] = ()
    run: RunDirectory | None = None


def pointed_at(given: Sequence[str], results: Path, *, compares: bool) -> Subject:
    """What names in a results folder mean; `compares`: the options ask for a comparison, whatever else there is.

    Raises ReportError, with what can be named, where something is none of these; StoreError.
    """
    if len(given) == 1 and (folder := _folder(given[0], results)):
        given, results = [], folder
    elif len(given) == 1 and not compares and (run := _one_run(given[0], results)):
        return Subject(Kind.RUN, results, run=run)
    if not given:
        return _all_of(results, compares=compares)
    if runs := [name for name in given if _is_a_run(name, results)]:
        raise ReportError(f"{runs[0]} is one run, and its page is of it alone: gradclip report {runs[0]}\n{NAMEABLE}")
    if folders := [name for name in given if _folder(name, results)]:
        raise ReportError(f"{folders[0]} is a folder, and its page is of it alone: gradclip report {folders[0]}\n{NAMEABLE}")
    return Subject(Kind.COMPARISON, results, given)


def _all_of(results: Path, *, compares: bool) -> Subject:
    """What is told of a whole folder."""
    from gradclip_cli.runs import store

    kind = Kind.COMPARISON if compares else _kind(results)
    runs = store.runs(results) if kind == Kind.COMPARISON and not compares else []
    return Subject(Kind.RUN, results, run=runs[0]) if len(runs) == 1 else Subject(kind, results)


def _kind(results: Path) -> Kind:
    """Of what a folder holds the files: those of its report say so, else its plan."""
    from gradclip_cli.evidence import plans

    reports = {plans.STUDY: Kind.STUDY, plans.SWEEP: Kind.SWEEP}
    if found := next((kind for file, kind in reports.items() if os.path.lexists(results / file)), None):
        return found
    try:
        on_record = plans.plan_on_record(results)
    except StoreError:
        return Kind.COMPARISON  # which warns of a plan that can't be read
    planned = getattr(on_record[1], "kind", None) if on_record else None
    if planned in (Kind.SWEEP.value, Kind.STUDY.value):
        raise ReportError(
            f"{results}: a {planned} was planned here and is not reported yet. Give gradclip {planned} again, which trains what "
            "is missing and reports; or name arms, which are compared as they are."
        )
    return Kind.TRY if planned == Kind.TRY.value else Kind.COMPARISON


def _folder(name: str, results: Path) -> Path | None:
    """The results folder that a name means, as a path or within the results, where it is no arm's or run's."""
    from gradclip_cli.evidence import plans
    from gradclip_cli.runs import store

    if name in {run.arm for run in store.runs(results)}:
        return None
    for folder in (Path(name), results / name):
        is_of_runs = store.runs_of(folder) or (folder / "run.json").exists()  # an arm's or a run's
        if folder.is_dir() and not is_of_runs and (store.runs(folder) or plans.is_planned(folder)):
            return folder
    return None


def _one_run(name: str, results: Path) -> RunDirectory | None:
    """The run that a name means: a single one, or the only one of an arm."""
    from gradclip_cli.runs import names

    if _is_a_run(name, results):
        return names.find_run(name, results)
    try:
        runs = names.find_runs([name], results)
    except ReportError as error:
        raise ReportError(f"{error}\n{NAMEABLE}") from None
    return runs[0] if len(runs) == 1 else None


def _is_a_run(name: str, results: Path) -> bool:
    from gradclip_cli.runs import names

    return names.names_a_run(name, results)
