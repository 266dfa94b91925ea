"""What a page's figures came from: versions, commit, machine, data, and the hash of every run's files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Any
from xml.etree.ElementTree import Element

from gradclip_cli import __version__
from gradclip_cli.evidence.arms import StoredRun
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.pages.elements import definitions, element, section
from gradclip_cli.pages.to_copy import plain
from gradclip_cli.runs.names import run_name
from gradclip_cli.texts import counted

HASHED = {"config_sha256": "config.yaml", "metrics_sha256": "metrics.csv", "steps_sha256": "steps.csv"}
"""A run's files by what `run.json` calls their hashes."""


def provenance(compared: Comparison) -> Element:
    """The section on where a comparison's figures came from."""
    return provenance_of([run for report in compared.arms for run in report.arm.runs])


def provenance_of(runs: Sequence[StoredRun]) -> Element:
    """The same for any runs; a fact that runs don't share says of how many it is."""
    arms = dict.fromkeys(run.directory.arm for run in runs)
    packages = dict.fromkeys(package for run in runs for package in run.metadata.get("versions") or {})
    facts: dict[str, Callable[[StoredRun], Any]] = {
        **{package: _version(package) for package in packages},
        "git commit of gradclip": lambda run: run.metadata.get("git_commit"),
        "system": lambda run: (run.metadata.get("machine") or {}).get("system"),
        "processor": lambda run: (run.metadata.get("machine") or {}).get("processor"),
        "SHA-256 of the dataset": lambda run: run.metadata.get("dataset_sha256"),
    }
    told = {name: _shared([of(run) for run in runs]) for name, of in facts.items()}
    drawn = f"gradclip {__version__}, its pictures by matplotlib {metadata.version('matplotlib')}"
    return section(
        "provenance",
        "Where this came from",
        element("p", f"{counted(len(runs), 'run')} of {counted(len(arms), 'arm')}. This page was written by {drawn}."),
        definitions((name, element("span", text)) for name, text in told.items() if text),
        plain("SHA-256 of the runs' files, as sha256sum --check takes them", "\n".join(_hashes(runs))),
    )


def _version(package: str) -> Callable[[StoredRun], Any]:
    return lambda run: (run.metadata.get("versions") or {}).get(package)


def _shared(values: Sequence[Any]) -> str:
    """The one value of all runs, or each with the number of runs that have it; nothing where none is known."""
    counts = Counter(str(value) for value in values if value is not None)
    if len(counts) < 2:
        return "".join(counts)
    return "; ".join(f"{value} ({counted(count, 'run')})" for value, count in counts.items())


def _hashes(runs: Sequence[StoredRun]) -> Iterator[str]:
    for run in runs:
        for key, file in HASHED.items():
            if digest := run.metadata.get(key):
                yield f"{digest}  {run_name(run.directory)}/{file}"
