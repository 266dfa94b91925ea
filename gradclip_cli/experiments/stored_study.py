"""A study as its folder tells it: its file is found again, and its runs are read as its report reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gradclip_cli.config import loading, studies
from gradclip_cli.config.studies import Study
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence.plans import MOST_PLAN_BYTES, STUDY, STUDY_SCHEMA, OnRecord, checked
from gradclip_cli.experiments import study as experiment
from gradclip_cli.experiments.study import Result
from gradclip_cli.files import read_json


class _StudyOnRecord(OnRecord):
    name: str
    file_sha256: str
    file: str | None = None


def read(results: Path, file: Path | None = None) -> Result:
    """What a finished study found, from the file that is given, else from that which its report names.

    Raises ReportError where the file is not there or has changed since, and as `study.read` does; StoreError, ConfigError.
    """
    return experiment.read(_study(results, file), results)


def _study(results: Path, file: Path | None) -> Study:
    path = results / STUDY
    found = checked(_StudyOnRecord, path, read_json(path, STUDY_SCHEMA, MOST_PLAN_BYTES))
    given = [str(file)] if file else list(_places(results, found))
    if not given:
        raise ReportError(
            f"{results}: the file of the study {found.name} is not known or no longer where it was; name it with --study FILE."
        )
    study = studies.load(given[0])
    if study.sha256 != found.file_sha256:
        raise ReportError(
            f"{given[0]}: is not as it was when the report in {results} was written (another SHA-256). Give gradclip study "
            f"{given[0]} --results {results}, which reports by it as it is now, or name the old file with --study FILE."
        )
    return study


def _places(results: Path, found: _StudyOnRecord) -> Iterator[str]:
    """Where the file may be: where the report says, else among those that come with gradclip."""
    if found.file and (results / found.file).is_file():
        yield str(results / found.file)
    elif found.file is None and found.name in loading.shipped_studies():
        yield found.name
