"""Where a look at stored runs is written: in a folder named after what was asked for, and never over a report's files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from gradclip_cli.config.seeds import seed_list
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import plans
from gradclip_cli.evidence.comparison import Comparison, Seeds
from gradclip_cli.evidence.metrics import usual_metric

LOOKS = "compare"
"""Folder of the looks that were taken at a folder's runs, in folders of their own."""
REPORT_FILES = ("report.md", "claims.json", plans.SWEEP)
LONGEST = 80
"""Letters of a look's folder."""


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
    base = comparison.baseline.arm
    usual = usual_metric(base.metrics, evaluated=base.evaluated)
    options = [] if comparison.metric.name == usual.name else [comparison.metric.name]
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
