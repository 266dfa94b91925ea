"""Packs a results folder's finished runs, removes what is packed, and unpacks it; nothing goes before its copy was compared."""

from __future__ import annotations

import contextlib
import io
import lzma
import os
import shutil
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gradclip_cli.errors import ConflictError, StoreError
from gradclip_cli.files import Packed, Readable, opened, replacing, same_bytes, write_atomically
from gradclip_cli.runs import packs
from gradclip_cli.runs.metadata import FINISHED
from gradclip_cli.runs.packs import ARCHIVE, MANIFEST, MOST_BYTES, STEPS
from gradclip_cli.runs.store import RunDirectory, runs
from gradclip_cli.runs.summaries import Summary

SMALL, QUICK = 6, 1  # of xz's presets: steps take seven times as long with the first, for a fifth less
NAMED = 10


@dataclass(frozen=True)
class Packing:
    """What a folder's pack holds now, and what stands beside it in the runs' folders."""

    archive: Path
    runs: int
    files: int
    size: int
    """Of the compressed file, in bytes."""
    written: bool
    """Whether the pack is new; else it held the same before."""
    left: Mapping[str, int]
    """Names of files that are not in the pack, with how often each is there."""


def pack(results: Path, *, steps: bool = False) -> Packing:
    """Put a folder's runs into its pack, with `steps.csv` too where asked for; what the pack already holds stays in it.

    Raises StoreError, and writes nothing, where a run is not finished and whole, or can't be written.
    """
    found = runs(results)
    if not found:
        raise StoreError(f"{results}: holds no runs, so there is nothing to pack")
    if troubles := [trouble for run in found if (trouble := _trouble(run, steps))]:
        raise _not_packed(results, troubles)
    members = {f"{run.arm}/{run.path.name}/{name}": run.file(name) for run in found for name in _packed_names(run, steps)}
    if unfit := next((member for member in members if not packs.may_be_packed(member)), None):
        raise StoreError(f"{results}: was not packed: a list of SHA-256s can't hold the name {unfit}; rename the arm's folder")
    sha256 = {member: _sha256(place) for member, place in members.items()}
    before = packs.read(results)
    written = before is None or before.sha256 != sha256
    if written:
        _write(results, members, sha256)
    archive = results / ARCHIVE
    return Packing(archive, len(found), len(members), archive.stat().st_size, written, _left(found, members))


def _packed_names(run: RunDirectory, steps: bool) -> list[str]:
    return [name for name in MOST_BYTES if name != STEPS or name in run.packed or (steps and run.has(name))]


def _not_packed(results: Path, troubles: Sequence[str]) -> StoreError:
    more = [f"and {len(troubles) - NAMED} more"] if len(troubles) > NAMED else []
    listed = "\n  ".join([*troubles[:NAMED], *more])
    return StoreError(
        f"{results}: was not packed: a pack holds finished runs that are whole. Finish the others with the command that began "
        f"them, or remove them (gradclip rm).\n  {listed}"
    )


def _trouble(run: RunDirectory, steps: bool) -> str:
    """Why a run can't be packed; empty where it can."""
    try:
        metadata, _ = run.stored()
        if metadata["status"] not in FINISHED:
            return f"{run.path}: {metadata['status']}, not finished"
        run.metrics()
        if steps and run.has(STEPS):
            run.count_steps()
        if run.path.exists():
            with run.locked():  # Raises BusyError where it is being trained again.
                pass
    except StoreError as error:
        return str(error)
    return ""


def _sha256(place: Readable) -> str:
    with opened(place) as file:
        return packs.sha256_of(file)


def _write(results: Path, members: Mapping[str, Readable], sha256: Mapping[str, str]) -> None:
    """Write both files in a folder of their own, read them back, compare every byte, and only then put them in place."""
    with _writing(results), tempfile.TemporaryDirectory(prefix=".gradclip-pack-", dir=results) as work:
        there = Path(work)
        with replacing(there / ARCHIVE) as file:
            _write_archive(file, members)
        write_atomically(there / MANIFEST, packs.manifest(sha256))
        _require_whole(there, members)
        for name in (MANIFEST, ARCHIVE):  # A list without a pack is no pack yet.
            os.replace(there / name, results / name)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Name what can't be written, also where something else is being read."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: can't be written: {error.strerror}") from None


def _write_archive(file: BinaryIO, members: Mapping[str, Readable]) -> None:
    """The same members give the same bytes: in order, and with nobody's name or time."""
    in_order = sorted(members, key=lambda member: (member.endswith(f"/{STEPS}"), member))
    preset = QUICK if in_order[-1].endswith(f"/{STEPS}") else SMALL
    with (
        lzma.open(file, "wb", preset=preset) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for member in in_order:
            with opened(members[member]) as content:
                header = tarfile.TarInfo(member)
                header.size = content.seek(0, io.SEEK_END)
                content.seek(0)
                with _writing(Path(file.name)):
                    archive.addfile(header, content)


def _require_whole(folder: Path, members: Mapping[str, Readable]) -> None:
    pack = packs.read(folder)
    assert pack
    for member, place in members.items():
        path = folder / member
        if not same_bytes(place, pack.runs[path.parent][path.name]):
            raise StoreError(f"{place}: was changed while it was packed, so nothing was; give the command again")


def _left(found: Sequence[RunDirectory], members: Mapping[str, Readable]) -> Counter[str]:
    files = [file for run in found if run.path.is_dir() for file in run.path.iterdir()]
    return Counter(file.name for file in files if f"{file.parent.parent.name}/{file.parent.name}/{file.name}" not in members)


def remove_packed(results: Path) -> int:
    """Delete the files that a folder's pack holds, byte for byte, and the folders that this leaves empty; how many files.

    Raises ConflictError, before anything is removed, where a run stands behind a link; BusyError where one is being trained.
    """
    found = [run for run in runs(results) if run.packed and run.path.is_dir()]
    for run in found:
        if linked := next((path for path in (run.path, run.path.parent) if path.is_symlink()), None):
            raise ConflictError(f"{linked}: is a link, and nothing is removed behind a link; its runs are packed all the same")
    removed = sum(_remove_packed(run, results) for run in found)
    Summary.read(results).forget_removed()
    return removed


def _remove_packed(run: RunDirectory, results: Path) -> int:
    removed = 0
    with run.locked():
        for packed in run.packed.values():
            packs.require_same(packed, results)
            with contextlib.suppress(FileNotFoundError):
                packed.path.unlink()
                removed += 1
    return removed


def unpack(results: Path) -> int:
    """Write a pack's files to where they were, and remove the pack; how many files it held.

    Raises StoreError where the folder is not packed, the pack is damaged, or a file of another content is there.
    """
    pack = packs.read(results)
    if pack is None:
        raise StoreError(f"{results}: is not packed: there is no {ARCHIVE}")
    files = [packed for run in pack.runs.values() for packed in run.values()]
    for packed in files:
        packs.require_same(packed, results)
    for packed in files:
        if not os.path.lexists(packed.path):
            _write_file(packed)
    for name in (ARCHIVE, MANIFEST):
        (results / name).unlink()
    return len(files)


def _write_file(packed: Packed) -> None:
    with _writing(packed.path):
        packed.path.parent.mkdir(parents=True, exist_ok=True)
        with opened(packed) as content, replacing(packed.path) as file, _writing(packed.path):
            shutil.copyfileobj(content, file)
