"""A dataset is found, verified and never replaced by something else."""

from __future__ import annotations

import gzip
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import gradclip

from gradclip_cli.config import loading
from gradclip_cli.config.datasets import DATASETS
from gradclip_cli.errors import DatasetError
from gradclip_cli.problems import idx_files

NAME = "fashion_mnist"
PUBLISHED = DATASETS[NAME]
FILES = PUBLISHED.full.files
DEBIAN = "root/usr/share/datasets/fashion-mnist"


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without the dataset, network or apt; returns its gradclip cache."""
    monkeypatch.setenv("GRADCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("GRADCLIP_DATA", raising=False)
    monkeypatch.setattr(idx_files, "ROOT", tmp_path / "root")
    monkeypatch.setattr(idx_files, "DATASETS", {NAME: PUBLISHED._replace(mirrors=("http://127.0.0.1:9/closed",))})
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four real files, decompressed, in a folder of their own."""
    folder = tmp_path_factory.mktemp("originals")
    for name, content in idx_files.locate(NAME).contents.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def gzipped(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as gzip has them, to be read only; of little use is how well it compresses."""
    folder = tmp_path_factory.mktemp("gzipped")
    for name in FILES:
        (folder / f"{name}.gz").write_bytes(gzip.compress((originals / name).read_bytes(), 0))
    return folder


def test_the_real_dataset_is_the_published_one() -> None:
    dataset = idx_files.load(loading.load("none").data)
    assert dataset.train_inputs.shape == (60_000, 28, 28)
    assert dataset.evaluation_inputs.shape == (10_000, 28, 28)
    assert np.bincount(dataset.train_targets).tolist() == [6000] * 10
    assert np.bincount(dataset.evaluation_targets).tolist() == [1000] * 10
    assert dataset.evaluation_split == "test"


def test_the_sample_is_the_beginning_of_the_real_files(monkeypatch: pytest.MonkeyPatch) -> None:
    real = idx_files.load(loading.load("none").data)
    monkeypatch.setattr(idx_files, "locate", None)  # The sample needs no search.
    sample = idx_files.load(loading.load("none", ["data.subset=sample"]).data)
    np.testing.assert_array_equal(sample.train_inputs, real.train_inputs[:5000])
    np.testing.assert_array_equal(sample.evaluation_targets, real.evaluation_targets[:1000])
    assert sample.sha256 != real.sha256


def test_holdout_takes_the_last_training_images() -> None:
    whole = idx_files.load(loading.load("none", ["data.subset=sample"]).data)
    held = idx_files.load(loading.load("none", ["data.subset=sample", "data.holdout=1000"]).data)
    assert held.evaluation_split == "holdout"
    np.testing.assert_array_equal(held.train_inputs, whole.train_inputs[:4000])
    np.testing.assert_array_equal(held.evaluation_targets, whole.train_targets[4000:])


@pytest.mark.usefixtures("nowhere")
def test_plain_and_gzipped_files_are_taken(originals: Path, gzipped: Path) -> None:
    assert idx_files.locate(NAME, originals).contents == idx_files.locate(NAME, gzipped).contents


def test_search_order(originals: Path, nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, kind in (
        (DEBIAN, "Debian's"),
        ("keras/datasets/fashion-mnist", "Keras's cache"),
        ("cache", "gradclip's cache"),
    ):
        shutil.copytree(originals, tmp_path / folder)
        assert idx_files.locate(NAME).kind.startswith(kind)
    monkeypatch.setenv("GRADCLIP_DATA", str(originals))
    assert idx_files.locate(NAME).folder == originals
    assert idx_files.locate(NAME, tmp_path / DEBIAN).folder == tmp_path / DEBIAN


def test_each_dataset_has_a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Their files may be called alike; the default's lie where they always did."""
    monkeypatch.setenv("GRADCLIP_CACHE", str(tmp_path))
    assert idx_files.cache_directory(NAME) == tmp_path
    assert idx_files.cache_directory("other") == tmp_path / "other"


def test_only_what_there_is_of_a_dataset_is_tried(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = PUBLISHED._replace(title="Other", mirrors=(), keras_folder=None, debian_package=None)
    monkeypatch.setattr(idx_files, "DATASETS", {"other": alone})
    for fetch in (False, True):
        with pytest.raises(DatasetError) as caught:
            idx_files.locate("other", fetch=fetch)
        cache, hint = f"gradclip's cache ({nowhere / 'other'}): no such folder", "Put the files in a folder and name it with"
        assert str(caught.value).startswith(f"Other was not found. Tried:\n  {cache}\n{hint}")
    monkeypatch.setattr(idx_files, "DATASETS", {"other": alone._replace(mirrors=PUBLISHED.mirrors)})
    with pytest.raises(DatasetError, match="`gradclip data other --fetch` downloads them"):
        idx_files.locate("other", fetch=False)


@pytest.mark.parametrize("fault", ["truncated", "corrupted", "another dataset", "broken gzip", "missing", "empty"])
def test_bad_file_is_refused_by_name(fault: str, originals: Path, tmp_path: Path, nowhere: Path) -> None:
    folder = tmp_path / "given"
    shutil.copytree(originals, folder)
    name = "t10k-labels-idx1-ubyte"
    path = folder / name
    content = path.read_bytes()
    if fault == "truncated":
        path.write_bytes(content[:-1])
    elif fault == "corrupted":
        path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    elif fault == "another dataset":
        shutil.copy(folder / "train-labels-idx1-ubyte", path)
    elif fault == "broken gzip":
        path.unlink()
        (folder / f"{name}.gz").write_bytes(gzip.compress(content)[:100])
    elif fault == "missing":
        path.unlink()
    else:
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match=name):
        idx_files.locate(NAME, folder)


def test_a_corrupted_cache_is_never_used(originals: Path, nowhere: Path, tmp_path: Path) -> None:
    shutil.copytree(originals, nowhere)
    (nowhere / "train-labels-idx1-ubyte").write_bytes(b"garbage")
    with pytest.raises(DatasetError, match="gradclip's cache"):
        idx_files.locate(NAME, fetch=False)
    shutil.copytree(originals, tmp_path / DEBIAN)
    assert idx_files.locate(NAME).kind.startswith("Debian's")


def test_no_dataset_and_no_network_lists_all_that_was_tried(nowhere: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        idx_files.locate(NAME)
    for place in ("gradclip's cache", "Keras's cache", "Debian's", "download", "127.0.0.1:9", "apt-get", "GRADCLIP_DATA"):
        assert place in str(caught.value)
    assert not list(nowhere.glob("*"))


def test_download_is_verified_and_stored(
    originals: Path, gzipped: Path, nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over real HTTP on loopback: a mirror that lies is passed over, an honest one is used, and the bar is driven.

    A cache that was damaged is fetched again.
    """
    import functools
    import http.server
    import threading

    nowhere.mkdir()
    (nowhere / "train-images-idx3-ubyte").write_bytes((originals / "train-images-idx3-ubyte").read_bytes()[:-1])
    served = tmp_path / "served"
    (served / "lying").mkdir(parents=True)
    (served / "honest").symlink_to(gzipped)
    for name in FILES:
        (served / "lying" / f"{name}.gz").write_bytes(gzip.compress(b"not the dataset"))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        served_there = PUBLISHED._replace(mirrors=(f"{base}/lying", f"{base}/gone", f"{base}/honest"))
        monkeypatch.setattr(idx_files, "DATASETS", {NAME: served_there})
        progress = Recorder()
        source = idx_files.locate(NAME, progress=progress)
        server.shutdown()
    assert source.kind == "gradclip's cache, from a download"
    assert sorted(path.name for path in nowhere.iterdir()) == sorted(FILES)
    assert set(progress.started) == set(FILES)
    assert progress.received > 1_000_000
    assert idx_files.locate(NAME, fetch=False).kind == "gradclip's cache"


class Recorder:
    def __init__(self) -> None:
        self.total, self.received = 0, 0
        self.started: list[str] = []

    def start(self, what: str) -> None:
        self.started.append(what.split()[0])

    def update(self, size: int) -> None:
        self.received += size

    def reset(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("apt-get"), reason="needs apt")
def test_debian_package_is_unpacked_without_root(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    try:
        source = idx_files.locate(NAME)
    except DatasetError as error:
        pytest.skip(f"no Debian mirror within reach: {error}")
    assert source.kind == "gradclip's cache, from a Debian package"
    assert idx_files.locate(NAME, fetch=False).folder == nowhere


def test_command_says_where_and_from_what_source(originals: Path, tmp_path: Path) -> None:
    told = gradclip("data", "--data-dir", str(originals))
    assert told.returncode == 0
    assert str(originals) in told.stdout
    assert "verified" in told.stdout
    failed = gradclip("data", "--data-dir", str(tmp_path / "nothing"))
    assert failed.returncode == 1
    assert "no such folder" in failed.stderr
    assert "--data-dir" in failed.stderr


def test_a_label_file_that_unpacks_to_very_much_is_refused_unread(tmp_path: Path) -> None:
    """300 MB of zeros are 300 kB compressed: only as much is unpacked as the original holds."""
    for name in FILES:
        (tmp_path / f"{name}.gz").symlink_to(idx_files.sample_directory(NAME) / f"{name}.gz")
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    labels.unlink()
    labels.write_bytes(gzip.compress(bytes(300_000_000), compresslevel=1))
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="over 60,008 bytes decompressed"):
            idx_files._read_verified(tmp_path, "train-labels-idx1-ubyte", FILES["train-labels-idx1-ubyte"])
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
