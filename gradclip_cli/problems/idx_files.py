"""Datasets in MNIST's idx format: found, fetched, verified, loaded.

Each has four files, plain or gzipped, known by the SHA-256 of their decompressed bytes; nothing unverified is ever used.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import mmap
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gradclip_cli.arrays import ByteArray
from gradclip_cli.config.article import Data
from gradclip_cli.config.dataset import DebianPackage, File, PublishedDataset
from gradclip_cli.config.datasets import DATASETS, DEFAULT_DATASET
from gradclip_cli.errors import DatasetError
from gradclip_cli.files import cache_folder, write_atomically
from gradclip_cli.problems.contract import Dataset, DownloadProgress

ROOT = Path("/")
DOWNLOAD_TIMEOUT = 30  # seconds without an answer
Fetch = Callable[[PublishedDataset, Path, DownloadProgress | None], None]
"""Fetches a dataset's files into a folder."""


@dataclass(frozen=True)
class Source:
    """A folder with all four files, verified, and what they hold, decompressed."""

    folder: Path
    kind: str
    contents: dict[str, bytes] = field(repr=False)


def load(config: Data, data_directory: Path | None = None, progress: DownloadProgress | None = None) -> Dataset:
    """Find (or fetch), verify and load images (N, side, side) of bytes with labels (N,) from 0 on, as a config asks for them.

    Raises DatasetError, which lists every place tried and why it failed.
    """
    files = config.part.files
    if config.subset == "sample":
        contents = _read_all(sample_directory(config.dataset), files)
    else:
        contents = locate(config.dataset, data_directory, progress=progress).contents
    train_images, train_labels, test_images, test_labels = (_idx_array(contents[name]) for name in files)
    sha256 = hashlib.sha256("".join(file.sha256 for file in files.values()).encode()).hexdigest()
    if config.holdout:
        split = len(train_images) - config.holdout
        return Dataset(train_images[:split], train_labels[:split], train_images[split:], train_labels[split:], "holdout", sha256)
    return Dataset(train_images, train_labels, test_images, test_labels, "test", sha256)


def sample_directory(name: str) -> Path:
    """The folder of a dataset's sample that travels inside the package."""
    return Path(__file__).with_name("samples") / name


def cache_directory(name: str) -> Path:
    """Where gradclip keeps what it fetched of a dataset: the default's in its cache, others' in folders there."""
    cache = cache_folder()
    return cache if name == DEFAULT_DATASET else cache / name


def locate(
    name: str, data_directory: Path | None = None, *, fetch: bool = True, progress: DownloadProgress | None = None
) -> Source:
    """Find a folder that holds a dataset's four files with the right checksums, fetching them if nothing local does.

    A folder named by `data_directory` or `GRADCLIP_DATA` is the only one looked at: who names a folder means that one.
    Raises DatasetError with every place tried and what was wrong there.
    """
    published, cache = DATASETS[name], cache_directory(name)
    named = data_directory or (Path(os.environ["GRADCLIP_DATA"]) if os.environ.get("GRADCLIP_DATA") else None)
    tried: list[str] = []
    for kind, folder in ({"the folder that you named": named} if named else _local_folders(published, cache)).items():
        try:
            return Source(folder, kind, _read_all(folder, published.full.files))
        except DatasetError as error:
            tried.append(f"{kind} ({folder}): {error}")
    if named:
        hint = "Point --data-dir or GRADCLIP_DATA at a folder with the four original files."
        raise DatasetError(_failure(published, tried, hint))
    if not fetch and _ways_to_fetch(published):
        command = "gradclip data --fetch" if name == DEFAULT_DATASET else f"gradclip data {name} --fetch"
        raise DatasetError(_failure(published, tried, f"`{command}` downloads them."))
    return _fetched(published, cache, tried, progress)


def _fetched(published: PublishedDataset, cache: Path, tried: list[str], progress: DownloadProgress | None) -> Source:
    """Fetch a dataset that is in none of the places that were tried."""
    for kind, fetch_into in _ways_to_fetch(published).items():
        try:
            fetch_into(published, cache, progress)
        except DatasetError as error:
            tried.append(f"{kind}: {error}")
        except OSError as error:
            tried.append(f"{kind}: {cache} can't be written: {error}")
        else:
            return Source(cache, f"gradclip's cache, from a {kind}", _read_all(cache, published.full.files))
    put = f"Install Debian's {published.debian_package.name}, or put" if published.debian_package else "Put"
    hint = f"{put} the files in a folder and name it with --data-dir or GRADCLIP_DATA."
    raise DatasetError(_failure(published, tried, hint))


def _ways_to_fetch(published: PublishedDataset) -> dict[str, Fetch]:
    ways: dict[str, Fetch] = {"download": _download} if published.mirrors else {}
    if published.debian_package:
        ways["Debian package"] = functools.partial(_unpack_debian_package, published.debian_package)
    return ways


def _failure(published: PublishedDataset, tried: list[str], hint: str) -> str:
    return "\n  ".join([f"{published.title} was not found. Tried:", *tried]) + f"\n{hint}"


def _local_folders(published: PublishedDataset, cache: Path) -> dict[str, Path]:
    folders = {"gradclip's cache": cache}
    if published.keras_folder:
        keras_home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        folders["Keras's cache"] = keras_home / "datasets" / published.keras_folder
    if published.debian_package:
        folders[f"Debian's {published.debian_package.name}"] = ROOT / published.debian_package.folder
    return folders


def _read_all(folder: Path, files: Mapping[str, File]) -> dict[str, bytes]:
    if not folder.is_dir():
        raise DatasetError("no such folder")
    return {name: _read_verified(folder, name, file) for name, file in files.items()}


def _read_verified(folder: Path, name: str, original: File) -> bytes:
    path = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
    if path is None:
        raise DatasetError(f"{name} is not there")
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read(original.size)
            more = file.read(1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DatasetError(f"{path.name} can't be read: {error}") from None
    if len(content) != original.size or more:
        size = f"over {original.size:,}" if more else f"{len(content):,}"
        raise DatasetError(f"{path.name} is not the original: {size} bytes decompressed, not {original.size:,}")
    if hashlib.sha256(content).hexdigest() != original.sha256:
        raise DatasetError(f"{path.name} is not the original: its SHA-256 differs")
    return content


def _idx_array(content: bytes) -> ByteArray:
    """Read the idx format: two zero bytes, type (8: unsigned byte), number of dimensions, sizes as big-endian int32."""
    dimensions = content[3]
    shape = tuple(np.frombuffer(content, ">i4", dimensions, offset=4))
    elements = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    pages = np.frombuffer(mmap.mmap(-1, len(elements)), np.uint8)  # aligned, so that a framework can use this memory as it is
    pages[:] = elements
    return pages.reshape(shape)


def _store_verified(folder: Path, name: str, original: File, source: Path) -> None:
    """Move a verified file, decompressed, into a folder; it appears there whole or not at all."""
    content = _read_verified(source, name, original)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / name, content)


def _download(published: PublishedDataset, folder: Path, progress: DownloadProgress | None) -> None:
    for name, original in published.full.files.items():
        try:
            _read_verified(folder, name, original)
        except DatasetError:
            _download_file(published.mirrors, folder, name, original, progress)


def _download_file(mirrors: Sequence[str], folder: Path, name: str, original: File, progress: DownloadProgress | None) -> None:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    failures = []
    for mirror in mirrors:
        if progress:
            progress.start(f"{name} from {mirror}")
        downloader = pooch.HTTPDownloader(progressbar=progress, timeout=DOWNLOAD_TIMEOUT)
        with tempfile.TemporaryDirectory() as temporary:
            try:
                pooch.retrieve(f"{mirror}/{name}.gz", None, fname=f"{name}.gz", path=temporary, downloader=downloader)
                _store_verified(folder, name, original, Path(temporary))
                return
            except DatasetError as error:
                failures.append(f"{mirror}: {error}")
            except Exception as error:  # requests, urllib3 and pooch each raise their own
                failures.append(f"{mirror}: {_shortened(error)}")
            finally:  # pooch closes the bar of a download that succeeds
                if progress:
                    progress.close()
    raise DatasetError("\n    ".join([f"{name} came from no mirror:", *failures]))


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:117]}..." if len(text) > 120 else f"{type(error).__name__}: {text}"


def _unpack_debian_package(
    package: DebianPackage, published: PublishedDataset, folder: Path, progress: DownloadProgress | None
) -> None:
    """Fetch the Debian package with apt and unpack it, in temporary folders and without root."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise DatasetError("apt-get and dpkg-deb are not at hand")
    if progress:
        progress.start(f"Debian's package {package.name}")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for part in ("lists/partial", "archives/partial", "package"):
            (work / part).mkdir(parents=True)
        apt = ["apt-get", "-q", f"-oDir::State::Lists={work}/lists", f"-oDir::Cache={work}", "-oAPT::Sandbox::User="]
        try:
            _call([*apt, "update"], work)
            _call([*apt, "download", package.name], work)
            archive = next(work.glob("*.deb"))
            _call(["dpkg-deb", "--extract", str(archive), str(work / "package")], work)
        except StopIteration:
            raise DatasetError(f"apt-get brought no {package.name}") from None
        for name, original in published.full.files.items():
            _store_verified(folder, name, original, work / "package" / package.folder)


def _call(command: list[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise DatasetError(f"`{command[0]} {command[-1]}` failed: {lines[-1] if lines else f'exit {result.returncode}'}")
