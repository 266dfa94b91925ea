"""Many stored runs read at once, as their summary has them, else from their files; what was read so joins the summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradclip_cli.config.stored import StoredConfigs, split_seed
from gradclip_cli.errors import StoreError
from gradclip_cli.runs.csv_files import MetricsText
from gradclip_cli.runs.metadata import FINISHED
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.summaries import SUMMARIZED, Summary, stamps
from gradclip_cli.runs.summary_file import Row, Stamp

if TYPE_CHECKING:
    from gradclip_cli.config.schema import Config
    from gradclip_cli.runs.epochs import Epochs


@dataclass(frozen=True)
class Reading:
    """A finished run, read and checked."""

    metadata: dict[str, Any]
    config: Config
    epochs: Epochs


def read_metadata(results: Path, runs: Sequence[RunDirectory]) -> list[dict[str, Any] | StoreError]:
    """What the `run.json` of each of a folder's runs says, or why it can't be read."""
    summary, new = Summary.read(results), []
    found: list[dict[str, Any] | StoreError] = []
    for run in runs:
        stamped = stamps(run, SUMMARIZED[:1])
        if row := summary.row(run, stamped):
            found.append(dict(row.metadata))
            continue
        try:
            metadata = run.metadata()
        except StoreError as error:
            found.append(error)
            continue
        found.append(metadata)
        if stamped:
            new.append(Row(run.arm, run.path.name, stamped, metadata))
    summary.keep(new)
    return found


def read_finished(results: Path, runs: Sequence[RunDirectory]) -> list[Reading | StoreError]:
    """Each of a folder's runs, or why it can't be compared: it can't be read, or is not finished."""
    summary, configs = Summary.read(results), StoredConfigs()
    known = {index: reading for index, run in enumerate(runs) if (reading := _summarized(run, summary, configs))}
    unknown = [index for index in range(len(runs)) if index not in known]
    read, new = _read_files([runs[index] for index in unknown], configs)
    summary.keep(new)
    found = {**known, **dict(zip(unknown, read, strict=True))}
    return [found[index] for index in range(len(runs))]


def _summarized(run: RunDirectory, summary: Summary, configs: StoredConfigs) -> Reading | None:
    """The run as its summary has it; None where its files must be read."""
    import numpy as np

    from gradclip_cli.runs.epochs import Epochs

    row = summary.row(run, stamps(run))
    if row is None:
        return None
    metadata = dict(row.metadata)
    config = configs.known(row.config, row.seed, run.path).trained_for(metadata["epochs"], metadata["steps"])
    values = np.frombuffer(row.numbers, "<f8").reshape(-1, len(row.columns))
    return Reading(metadata, config, Epochs(row.columns, values))


@dataclass(frozen=True)
class _Unparsed:
    """A finished run whose epochs are not parsed yet."""

    run: RunDirectory
    stamps: tuple[Stamp, ...]
    metadata: dict[str, Any]
    text: bytes
    config: Config
    metrics: MetricsText

    def row(self, epochs: Epochs) -> Row:
        """What a summary has of it."""
        numbers = epochs.values.astype("<f8").tobytes()
        where = self.run.arm, self.run.path.name
        return Row(*where, self.stamps, self.metadata, *split_seed(self.text), epochs.columns, numbers)


def _read_files(runs: Sequence[RunDirectory], configs: StoredConfigs) -> tuple[list[Reading | StoreError], list[Row]]:
    """Runs read from their files, or why they can't be, and the rows that a summary may have of them."""
    from gradclip_cli.runs import epochs

    unparsed = [_unparsed(run, configs) for run in runs]
    parsed = iter(epochs.parse([each.metrics for each in unparsed if isinstance(each, _Unparsed)]))
    found: list[Reading | StoreError] = []
    rows = []
    for each in unparsed:
        if isinstance(each, StoreError):
            found.append(each)
        elif isinstance(numbers := next(parsed), StoreError):
            found.append(numbers)
        else:
            found.append(Reading(each.metadata, each.config, numbers))
            rows += [each.row(numbers)] if each.stamps else []
    return found, rows


def _unparsed(run: RunDirectory, configs: StoredConfigs) -> _Unparsed | StoreError:
    stamped = stamps(run)  # first: what changes meanwhile then has others
    try:
        metadata = run.metadata()
        text = run.config_text()
        config = run.config_of(text, metadata, configs.parse)
        if metadata["status"] not in FINISHED:
            raise StoreError(f"{run.path}: {metadata['status']}, not finished; run it again to finish it")
        return _Unparsed(run, stamped, metadata, text, config, MetricsText.read(run.file("metrics.csv"), metadata))
    except StoreError as error:
        return error
