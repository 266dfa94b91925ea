"""Fashion-MNIST: found, fetched, verified, loaded.

The files are the four of Xiao, Rasul and Vollgraf 2017 (MIT licence), in the idx format of MNIST, plain or gzipped.
Each is known by the SHA-256 of its decompressed bytes; nothing unverified is ever used.
"""

from __future__ import annotations

import gzip
import hashlib
import mmap
import os
import shutil
import subprocess
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gradclip_cli.arrays import ByteArray
from gradclip_cli.config.schema import Data
from gradclip_cli.errors import DatasetError
from gradclip_cli.files import write_atomically
from gradclip_cli.problems.contract import Dataset, DownloadProgress

CLASSES = 10
TEST_IMAGES = {"full": 10_000, "sample": 1_000}
# Name, bytes and SHA-256, all decompressed.
FILES = {
    "train-images-idx3-ubyte": (47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte": (60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte": (7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte": (10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}
SAMPLE_FILES = {
    "train-images-idx3-ubyte": (3_920_016, "626b8bf8433327de7912bae1d0e4c70fdcca53de33970297bf9a2205500c574a"),
    "train-labels-idx1-ubyte": (5_008, "86cccad95ab36653e416733235fc8fbb50b9429417f4eb2feb35e0b9a294e83c"),
    "t10k-images-idx3-ubyte": (784_016, "7a6d8e07ea021ec5bc73135ebd0a5770799557ec6f8242d8749c4f32a3cf4643"),
    "t10k-labels-idx1-ubyte": (1_008, "b40abac7ec8228f434940f579deb7cf7b6e3103b5274cb91d1545771f5ef1c8b"),
}
MIRRORS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
)
DEBIAN_PACKAGE = "dataset-fashion-mnist"
FOLDER_IN_PACKAGE = "usr/share/datasets/fashion-mnist"
DEBIAN_FOLDER = Path("/", FOLDER_IN_PACKAGE)
DOWNLOAD_TIMEOUT = 30  # seconds without an answer


@dataclass(frozen=True)
class Source:
    """A folder with all four files, verified, and what they hold, decompressed."""

    folder: Path
    kind: str
    contents: dict[str, bytes] = field(repr=False)


def load(config: Data, data_directory: Path | None = None, progress: DownloadProgress | None = None) -> Dataset:
    """Find (or fetch), verify and load images (N, 28, 28) of bytes with labels (N,) of 0 to 9, as a config asks for them.

    Raises DatasetError, which lists every place tried and why it failed.
    """
    if config.subset == "sample":
        files, contents = SAMPLE_FILES, _read_all(sample_directory(), SAMPLE_FILES)
    else:
        files, contents = FILES, locate(data_directory, progress=progress).contents
    train_images, train_labels, test_images, test_labels = (_idx_array(contents[name]) for name in files)
    sha256 = hashlib.sha256("".join(checksum for _, checksum in files.values()).encode()).hexdigest()
    if config.holdout:
        split = len(train_images) - config.holdout
        return Dataset(train_images[:split], train_labels[:split], train_images[split:], train_labels[split:], "holdout", sha256)
    return Dataset(train_images, train_labels, test_images, test_labels, "test", sha256)


def sample_directory() -> Path:
    """The folder of the sample that travels inside the package."""
    return Path(__file__).with_name("sample")


def cache_directory() -> Path:
    """Where gradclip keeps what it fetched; `GRADCLIP_CACHE` moves it."""
    import platformdirs

    chosen = os.environ.get("GRADCLIP_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("gradclip")


def locate(data_directory: Path | None = None, *, fetch: bool = True, progress: DownloadProgress | None = None) -> Source:
    """Find a folder that holds the four files with the right checksums, fetching them if nothing local does.

    A folder named by `data_directory` or `GRADCLIP_DATA` is the only one looked at: who names a folder means that one.
    Raises DatasetError with every place tried and what was wrong there.
    """
    named = data_directory or (Path(os.environ["GRADCLIP_DATA"]) if os.environ.get("GRADCLIP_DATA") else None)
    tried: list[str] = []
    for kind, folder in {"the folder that you named": named}.items() if named else _local_folders().items():
        try:
            return Source(folder, kind, _read_all(folder, FILES))
        except DatasetError as error:
            tried.append(f"{kind} ({folder}): {error}")
    if named:
        raise DatasetError(_failure(tried, "Point --data-dir or GRADCLIP_DATA at a folder with the four original files."))
    if not fetch:
        raise DatasetError(_failure(tried, "`gradclip data --fetch` downloads them."))
    for kind, fetch_into in (("download", _download), ("Debian package", _unpack_debian_package)):
        try:
            fetch_into(cache_directory(), progress)
        except DatasetError as error:
            tried.append(f"{kind}: {error}")
        except OSError as error:
            tried.append(f"{kind}: {cache_directory()} can't be written: {error}")
        else:
            return Source(cache_directory(), f"gradclip's cache, from a {kind}", _read_all(cache_directory(), FILES))
    hint = f"Install Debian's {DEBIAN_PACKAGE}, or put the files in a folder and name it with --data-dir or GRADCLIP_DATA."
    raise DatasetError(_failure(tried, hint))


def _failure(tried: list[str], hint: str) -> str:
    return "\n  ".join(["Fashion-MNIST was not found. Tried:", *tried]) + f"\n{hint}"


def _local_folders() -> dict[str, Path]:
    keras_home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    return {
        "gradclip's cache": cache_directory(),
        "Keras's cache": keras_home / "datasets" / "fashion-mnist",
        f"Debian's {DEBIAN_PACKAGE}": DEBIAN_FOLDER,
    }


def _read_all(folder: Path, files: dict[str, tuple[int, str]]) -> dict[str, bytes]:
    if not folder.is_dir():
        raise DatasetError("no such folder")
    return {name: _read_verified(folder, name, files) for name in files}


def _read_verified(folder: Path, name: str, files: dict[str, tuple[int, str]]) -> bytes:
    path = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
    if path is None:
        raise DatasetError(f"{name} is not there")
    size, checksum = files[name]
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read(size)
            more = file.read(1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DatasetError(f"{path.name} can't be read: {error}") from None
    if len(content) != size or more:
        told = f"over {size:,}" if more else f"{len(content):,}"
        raise DatasetError(f"{path.name} is not the original: {told} bytes decompressed, not {size:,}")
    if hashlib.sha256(content).hexdigest() != checksum:
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


def _store_verified(folder: Path, name: str, source: Path) -> None:
    """Move a verified file, decompressed, into a folder; it appears there whole or not at all."""
    content = _read_verified(source, name, FILES)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / name, content)


def _download(folder: Path, progress: DownloadProgress | None) -> None:
    for name in FILES:
        try:
            _read_verified(folder, name, FILES)
        except DatasetError:
            _download_file(folder, name, progress)


def _download_file(folder: Path, name: str, progress: DownloadProgress | None) -> None:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    failures = []
    for mirror in MIRRORS:
        if progress:
            progress.start(f"{name} from {mirror}")
        downloader = pooch.HTTPDownloader(progressbar=progress, timeout=DOWNLOAD_TIMEOUT)
        with tempfile.TemporaryDirectory() as temporary:
            try:
                pooch.retrieve(f"{mirror}/{name}.gz", None, fname=f"{name}.gz", path=temporary, downloader=downloader)
                _store_verified(folder, name, Path(temporary))
                return
            except DatasetError as error:
                failures.append(f"{mirror}: {error}")
            except Exception as error:  # requests, urllib3 and pooch each raise their own
                failures.append(f"{mirror}: {_shortened(error)}")
    raise DatasetError("\n    ".join([f"{name} came from no mirror:", *failures]))


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:117]}..." if len(text) > 120 else f"{type(error).__name__}: {text}"


def _unpack_debian_package(folder: Path, progress: DownloadProgress | None) -> None:
    """Fetch the Debian package with apt and unpack it, in temporary folders and without root."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise DatasetError("apt-get and dpkg-deb are not at hand")
    if progress:
        progress.start(f"Debian's package {DEBIAN_PACKAGE}")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for part in ("lists/partial", "archives/partial", "package"):
            (work / part).mkdir(parents=True)
        apt = ["apt-get", "-q", f"-oDir::State::Lists={work}/lists", f"-oDir::Cache={work}", "-oAPT::Sandbox::User="]
        try:
            _call([*apt, "update"], work)
            _call([*apt, "download", DEBIAN_PACKAGE], work)
            archive = next(work.glob("*.deb"))
            _call(["dpkg-deb", "--extract", str(archive), str(work / "package")], work)
        except StopIteration:
            raise DatasetError(f"apt-get brought no {DEBIAN_PACKAGE}") from None
        for name in FILES:
            _store_verified(folder, name, work / "package" / FOLDER_IN_PACKAGE)


def _call(command: list[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise DatasetError(f"`{command[0]} {command[-1]}` failed: {lines[-1] if lines else f'exit {result.returncode}'}")
