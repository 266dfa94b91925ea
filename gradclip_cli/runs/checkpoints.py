"""Checkpoints: a moment of a run that it can go on from.

A checkpoint says whose it is, and how long both CSVs were at its moment, with their SHA-256: what a crash left beyond is cut off
before a run goes on.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradclip_cli.arrays import Array
from gradclip_cli.errors import StoreError
from gradclip_cli.files import opened, replacing, writing
from gradclip_cli.runs.csv_files import GrowingCsv, sha256_of_beginning

if TYPE_CHECKING:
    from gradclip_cli.config.schema import Config

_FACTS = ("identity", "lengths", "sha256")


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a run: named arrays, all that going on needs, and how long both CSVs were then, in bytes."""

    arrays: Mapping[str, Array]
    metrics_bytes: int
    steps_bytes: int


def identity(config: Config) -> str:
    """What a checkpoint shares with the run that goes on from it: SHA-256 of the config, but for its name and epochs.

    That each step is recorded is not said in it, as it was not before there was a choice.
    """
    usual = {"records": True} if config.recorded_every == 1 else {}
    content = config.model_dump_json(exclude={"name": True, "training": {"epochs"}, **usual})
    return hashlib.sha256(content.encode()).hexdigest()


def write_checkpoint(path: Path, config: Config, csvs: Sequence[GrowingCsv], arrays: Mapping[str, Array]) -> None:
    """Keep this moment of a config's run, in place of an earlier one. Metrics and steps must be written up to it."""
    import numpy as np

    lengths, sums = zip(*(csv.length_and_sha256() for csv in csvs), strict=True)
    facts = {"identity": np.array(identity(config)), "lengths": np.array(lengths), "sha256": np.array(sums)}
    with writing(path), replacing(path) as file:
        np.savez(file, allow_pickle=False, **facts, **arrays)


def read_checkpoint(path: Path, config: Config, csvs: Sequence[Path]) -> Checkpoint | None:
    """The last checkpoint of this config's run, with these metrics and steps; None where there is none.

    Raises StoreError where it can't be used, with the reason: it is damaged, another run's, or not of these CSVs.
    """
    if not os.path.lexists(path):
        return None
    try:
        arrays = _read_arrays(path)
        whose, lengths, sums = (arrays.pop(name).tolist() for name in _FACTS)
        (metrics_bytes, steps_bytes), (_, _) = lengths, sums
    except Exception as error:  # whatever a damaged archive makes zipfile and NumPy raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(f"its checkpoint can't be read ({reason})") from None
    if whose != identity(config):
        raise StoreError("its checkpoint is another run's")
    for csv, length, recorded in zip(csvs, lengths, sums, strict=True):
        if sha256_of_beginning(csv, length) != recorded:
            raise StoreError(f"{csv.name} is shorter than its checkpoint says, or was changed")
    return Checkpoint(arrays, metrics_bytes, steps_bytes)


def _read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an uncompressed archive, so that none can be larger than the file. Raises what zipfile and NumPy raise."""
    import numpy as np

    with opened(path) as file:
        with zipfile.ZipFile(file) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed")
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            return dict(archive)
