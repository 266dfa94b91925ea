"""A look at stored runs: compared as asked, put on record, and written in a folder named after that, never over a report."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from gradclip_cli.config.seeds import seed_list
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import ledger, plans
from gradclip_cli.evidence.comparison import Comparison, Seeds, compare
from gradclip_cli.evidence.metrics import usual_metric
from gradclip_cli.evidence.questions import Question
from gradclip_cli.runs import names

LOOKS = "compare"
"""Folder of the looks that were taken at a folder's runs, in folders of their own."""
REPORT_FILES = ("report.md", "claims.json", plans.SWEEP)
LONGEST = 80
"""Letters of a look's folder."""


def looked_at(
    results: Path, given: Sequence[str], baseline: str | None, question: Question, *, seeds: Seeds = None
) -> tuple[Comparison, Path]:
    """The comparison of arms as somebody named them, all where none is named, and the folder of such looks.

    Raises ReportError where an arm isn't there, and as `comparison.compare` does.
    """
    arms = names.find_arms(given, results)
    against = names.find_arms([baseline], results)[0] if baseline else None
    compared = compare(results, arms, against, question, seeds=seeds)
    return compared, look_folder(compared, results, everything=not arms, baseline=against, seeds=seeds)


def warnings_once_recorded(compared: Comparison, results: Path) -> list[str]:
    """A comparison's warnings once the look is on record, with the reason where that could not be."""
    not_recorded = ledger.record(results, compared.first_compared, [compared.look])
    return [*compared.warnings, *([not_recorded] if not_recorded else [])]


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
    arms = [part.arm.name for part in comparison.arms]
    if everything:
        arms = ["all"] if baseline is None else [baseline, "all"]
    base = comparison.baseline.arm
    usual = usual_metric(base.metrics, evaluated=base.evaluated)
    options = [] if comparison.metric.name == usual.name else [comparison.metric.name]
    if seeds is not None:
        options.append(f"seeds-{'all' if seeds == 'all' else seed_list([int(seed) for seed in seeds]).replace(', ', ',')}")
    whole = "@".join([",".join(_without_prefix(arms)), *options])
    safe = re.sub(r"[^A-Za-z0-9._+=,@-]", "_", whole)
    if safe != whole or len(safe) > LONGEST or any("," in name for name in arms):
        digest = hashlib.sha256(os.fsencode("\n".join([*arms, "", *options]))).hexdigest()[:8]
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
