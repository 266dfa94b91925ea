"""A packed results folder: its runs in one `runs.tar.xz`, held against the SHA-256s beside it, and read as files are.

The members are called as the files are below the folder (`ARM/seed-N/run.json`), those with steps last. A pack is read as input
of unknown origin: plain files that `runs.sha256` lists, bounded, each with the SHA-256 that stands there, or nothing of it is
used. All but steps is kept in memory; steps are unpacked, where somebody asks for them, into a file without a name.
"""

from __future__ import annotations

import functools
import hashlib
import io
import lzma
import os
import re
import shlex
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from gradclip_cli.errors import StoreError
from gradclip_cli.files import MOST_JSON_BYTES, Packed, opened, read_bounded, same_bytes
from gradclip_cli.limits import MOST_CONFIG_BYTES

ARCHIVE = "runs.tar.xz"
MANIFEST = "runs.sha256"
STEPS = "steps.csv"
MOST_MANIFEST_BYTES = 16_000_000
MOST_BYTES_IN_MEMORY = 256_000_000
MOST_BYTES_WITH_STEPS = 16_000_000_000
MOST_BYTES = {
    "config.yaml": MOST_CONFIG_BYTES,
    "metrics.csv": MOST_BYTES_IN_MEMORY,
    "run.json": MOST_JSON_BYTES,
    STEPS: MOST_BYTES_WITH_STEPS,
}
"""What a pack holds of a run, and how large each may be."""
_LONGEST_HEADER = 4096
_ADVICE = "Nothing of it is used: get both files anew from where they came"
_ARM = re.compile(r"(?!\.{1,2}/)([^/\\]+)/seed-(?:0|[1-9][0-9]{0,19})")
_MEMBER = re.compile(rf"{_ARM.pattern}/(?:{'|'.join(map(re.escape, MOST_BYTES))})")


@dataclass(frozen=True)
class Pack:
    """What a folder's pack holds, by the members' names."""

    folder: Path
    sha256: Mapping[str, str]
    contents: Mapping[str, bytes]
    """Of all but steps."""

    @functools.cached_property
    def runs(self) -> Mapping[Path, Mapping[str, Packed]]:
        """Each run's files by their names, by the run's folder."""
        runs: dict[Path, dict[str, Packed]] = {}
        for member in self.sha256:
            path = self.folder / member
            runs.setdefault(path.parent, {})[path.name] = Packed(path, functools.partial(self._open, member))
        return runs

    @functools.cached_property
    def arms(self) -> Mapping[Path, list[Path]]:
        """Each arm's run folders, by the arm's."""
        arms: dict[Path, list[Path]] = {}
        for run in self.runs:
            arms.setdefault(run.parent, []).append(run)
        return arms

    def _open(self, member: str) -> BinaryIO:
        return io.BytesIO(self.contents[member]) if member in self.contents else self._open_steps(member)

    def _open_steps(self, member: str) -> BinaryIO:
        archive = self.folder / ARCHIVE
        with _refused(archive):
            header = self._unpacked.getmember(member)
            steps = _plain_file(self._unpacked, header, MOST_BYTES_WITH_STEPS)
            _require_sha256(member, sha256_of(steps), self.sha256)
        steps.seek(0)
        return steps

    @functools.cached_property
    def _unpacked(self) -> tarfile.TarFile:
        """The archive, decompressed as a whole: finding each run's steps in the compressed one would take as long every time."""
        archive = self.folder / ARCHIVE
        file = tempfile.TemporaryFile(prefix="gradclip-")  # noqa: SIM115  # it is gone when the process is
        with _decompressed(archive) as compressed:
            while block := compressed.read(1 << 20):
                if file.tell() > MOST_BYTES_WITH_STEPS:
                    raise ValueError(f"over {MOST_BYTES_WITH_STEPS:,} bytes")
                with _making_room(archive):
                    file.write(block)
        file.seek(0)
        return tarfile.open(fileobj=file, mode="r:", tarinfo=_Header)


def is_packed(folder: Path) -> bool:
    """Whether a results folder holds a pack, be it a damaged one."""
    return os.path.lexists(folder / ARCHIVE)


def read(folder: Path) -> Pack | None:
    """The pack of a results folder; None where there is none.

    Raises StoreError where it is damaged, holds anything but files of runs, or is not what the SHA-256s beside it say.
    """
    if not is_packed(folder):
        return None
    return _read(folder, _stamp(folder / ARCHIVE), _stamp(folder / MANIFEST))


def run_folders(results: Path) -> Mapping[Path, list[Path]]:
    """By arm, the folders that the runs in a results folder's pack have where they are unpacked. Raises StoreError as `read`."""
    pack = read(results)
    return pack.arms if pack else {}


def files_of(run: Path) -> Mapping[str, Packed]:
    """A run's files in the pack of its results folder, by their names.

    Raises StoreError as `read` does, and where one beside differs. Steps are left out of that: `run.json` has their SHA-256.
    """
    results = run.parent.parent
    if not _ARM.fullmatch(f"{run.parent.name}/{run.name}") or not (pack := read(results)):
        return {}
    files = pack.runs.get(run, {})
    for name, packed in files.items():
        if name != STEPS:
            require_same(packed, results)
    return files


def require_same(packed: Packed, results: Path) -> None:
    """Raises StoreError where the file's path holds something else than the pack does; nothing may be there."""
    if os.path.lexists(packed.path) and not same_bytes(packed.path, packed):
        archive = results / ARCHIVE
        others = f"{_tar_command(results)} --skip-old-files && rm {shlex.quote(str(archive))}"
        raise StoreError(
            f"{packed.path}: differs from the one in {archive}: which one counts? Move it away to go by the pack; to keep it, "
            f"unpack the others around it: {others}"
        )


def require_unpacked(results: Path) -> None:
    """Raises StoreError, with how to unpack, where a results folder holds a pack: what is packed is only read."""
    if is_packed(results):
        by_hand = f"{_tar_command(results)} && rm {shlex.quote(str(results / ARCHIVE))}"
        raise StoreError(
            f"{results}: is packed: its runs are in {ARCHIVE}, where they are only read. Unpack them first: "
            f"gradclip unpack {shlex.quote(str(results))}, or without gradclip: {by_hand}"
        )


def may_be_packed(member: str) -> bool:
    """Whether a file of this name below a results folder can stand in a pack, and its name in a line of the list beside it."""
    return bool(_MEMBER.fullmatch(member)) and member.isprintable()


def sha256_of(file: IO[bytes]) -> str:
    """The SHA-256 of a file, read from where it stands."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def manifest(sha256: Mapping[str, str]) -> str:
    """SHA-256s by the members' names, as `sha256sum -c` reads them."""
    return "".join(f"{digest}  {member}\n" for member, digest in sorted(sha256.items()))


def _tar_command(results: Path) -> str:
    return f"tar -xJf {shlex.quote(str(results / ARCHIVE))} -C {shlex.quote(str(results))}"


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file does."""
    try:
        facts = path.stat()
    except OSError:
        return ()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


@functools.lru_cache(maxsize=4)  # A command asks for the same folder's runs again and again.
def _read(folder: Path, *stamps: tuple[int, ...]) -> Pack:
    sha256 = _read_manifest(folder / MANIFEST)
    contents = _read_contents(folder / ARCHIVE, sha256)
    missing = [member for member in sha256 if member not in contents and not member.endswith(f"/{STEPS}")]
    if missing:
        raise StoreError(f"{folder / ARCHIVE}: lacks {missing[0]}, which {MANIFEST} lists. {_ADVICE}")
    return Pack(folder, sha256, contents)


def _read_manifest(path: Path) -> dict[str, str]:
    if not os.path.lexists(path):
        raise StoreError(f"{path}: is not there, and without it {ARCHIVE} can't be checked. {_ADVICE}")
    sha256: dict[str, str] = {}
    for number, line in enumerate(read_bounded(path, MOST_MANIFEST_BYTES).decode(errors="replace").splitlines(), 1):
        digest, separator, member = line.partition("  ")
        if not separator or not re.fullmatch("[0-9a-f]{64}", digest) or not may_be_packed(member) or member in sha256:
            raise StoreError(f"{path}:{number}: is not a SHA-256 and a file of a run, once. {_ADVICE}")
        sha256[member] = digest
    return sha256


def _read_contents(archive: Path, sha256: Mapping[str, str]) -> dict[str, bytes]:
    """All but the steps, which come last: where there are some, what follows is read when somebody asks for it."""
    contents: dict[str, bytes] = {}
    room = MOST_BYTES_IN_MEMORY
    with _decompressed(archive) as file, tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as members:
        for header in members:
            if header.name not in sha256:
                raise ValueError(f"holds {header.name}, which {MANIFEST} doesn't list")
            if header.name in contents:
                raise ValueError(f"holds {header.name} twice")
            name = header.name.rpartition("/")[2]
            if name == STEPS:
                return contents
            content = _plain_file(members, header, min(MOST_BYTES[name], room)).read()
            _require_sha256(header.name, hashlib.sha256(content).hexdigest(), sha256)
            contents[header.name] = content
            room -= len(content)
        _require_end(file)
    return contents


class _Header(tarfile.TarInfo):
    """The header of a plain file, or one that brings a long name; all else is refused before tarfile acts on it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        header = super().frombuf(buf, encoding, errors)
        named_anew = header.type == tarfile.XHDTYPE and header.size <= _LONGEST_HEADER
        if header.type != tarfile.REGTYPE and not named_anew:
            raise ValueError(f"holds {header.name}, which is no plain file")
        return header


def _plain_file(members: tarfile.TarFile, header: tarfile.TarInfo, most: int) -> BinaryIO:
    file = members.extractfile(header)
    if file is None or header.issparse() or header.size > most:
        raise ValueError(f"{header.name} is over {most:,} bytes, or no plain file")
    return file  # type: ignore[return-value]  # an io.BufferedReader, which mypy knows as IO[bytes]


def _require_sha256(member: str, found: str, sha256: Mapping[str, str]) -> None:
    if sha256[member] != found:
        raise ValueError(f"{member} is not what {MANIFEST} says: its SHA-256 differs")


def _require_end(file: IO[bytes]) -> None:
    """Read what fills the last record up, and with it the end of the compressed file."""
    if len(file.read(tarfile.RECORDSIZE + 1)) > tarfile.RECORDSIZE:
        raise ValueError("goes on after its last file")


@contextmanager
def _decompressed(archive: Path) -> Iterator[IO[bytes]]:
    with _refused(archive), opened(archive) as file, lzma.open(file) as decompressed:
        yield decompressed


@contextmanager
def _making_room(archive: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"{tempfile.gettempdir()}: has no room for the steps of {archive} ({error.strerror})"
        raise StoreError(f"{reason}; set TMPDIR to a folder that has") from None


@contextmanager
def _refused(archive: Path) -> Iterator[None]:
    """Turn whatever a damaged archive makes lzma and tarfile raise into a sentence."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(f"{archive}: can't be read: {reason}. {_ADVICE}") from None
