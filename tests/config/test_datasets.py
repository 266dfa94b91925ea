"""What a published dataset is known by: its file and nothing else, tried with the one that docs/extending.md adds."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICKEST, UNCOMPILED, mistakes, options
from extended import files_of, told, with_files

from gradclip_cli.config import article, loading
from gradclip_cli.config.article import Data
from gradclip_cli.config.dataset import Part, PublishedDataset
from gradclip_cli.config.datasets import DATASETS, DEFAULT_DATASET


def test_the_default_stands_first() -> None:
    first, *others = DATASETS
    assert first == Data().dataset == DEFAULT_DATASET == "fashion_mnist"
    assert others == sorted(others)


@pytest.mark.parametrize("published", DATASETS.values(), ids=DATASETS)
def test_its_numbers_agree(published: PublishedDataset) -> None:
    """The size of an idx file follows from how many images there are, and how large."""
    assert sum(published.class_sizes) == published.full.training
    for part in published.parts.values():
        counts, sizes = (part.training, part.training, part.test, part.test), [file.size for file in part.files.values()]
        headers_and_values = zip((16, 8) * 2, (published.side**2, 1) * 2, counts, strict=True)
        assert sizes == [header + count * values for header, values, count in headers_and_values]
        assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in part.files.values())


def test_names_are_read_without_numpy() -> None:
    code = "import sys, gradclip_cli.config.datasets\nassert 'numpy' not in sys.modules and 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# Of another shape.


@pytest.fixture
def another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default as if it were 30 pixels wide, and 300 training images in 3 classes without a sample."""
    full = Part(training=300, test=100, files={})
    default = DATASETS[DEFAULT_DATASET]._replace(side=30, class_sizes=(100,) * 3, full=full, sample=None)
    monkeypatch.setattr(article, "DATASETS", {DEFAULT_DATASET: default})


@pytest.mark.usefixtures("another")
@pytest.mark.parametrize(
    ("setting", "mistake"),
    [
        ("data.subset=sample", "data: fashion_mnist has no sample; it is trained on with subset full"),
        ("data.pool=4", "data: pool must divide the side of fashion_mnist's images, 30"),
        ("data.batch_size=301", "data: batch_size must be at most 300, the training images of fashion_mnist"),
        ("data.holdout=300", "data: holdout must leave training images: below 300 for subset full"),
    ],
)
def test_a_config_must_fit_the_dataset(setting: str, mistake: str) -> None:
    (found,) = mistakes("none", setting)
    assert found.endswith(mistake)


@pytest.mark.usefixtures("another")
def test_shapes_follow() -> None:
    assert loading.load("none", ["data.pool=2", "data.batch_size=300", "data.holdout=299"]).data.sequence_shape == (15, 15)
    assert loading.load("none", ["data.sequence=pixels"]).data.sequence_shape == (900, 1)


# A second one.

TRAINING, TEST, CLASSES = 200, 50, 10


def idx_file(values: np.ndarray) -> bytes:
    """An array of bytes as MNIST's files have it."""
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape) + values.tobytes()


def made_up() -> dict[str, bytes]:
    """Four small files: noise in ten classes."""
    generator = np.random.default_rng(1)
    content = {}
    for name, count in (("train", TRAINING), ("t10k", TEST)):
        content[f"{name}-images-idx3-ubyte"] = idx_file(generator.integers(256, size=(count, 28, 28), dtype=np.uint8))
        content[f"{name}-labels-idx1-ubyte"] = idx_file(np.arange(count, dtype=np.uint8) % CLASSES)
    return content


@pytest.fixture(scope="module")
def with_a_second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the file that docs/extending.md writes, but for numbers and sums, which are those of files in `given`."""
    ((path, text),) = files_of("A data source").items()
    assert path == "gradclip_cli/config/datasets/kmnist.py"
    for said, meant in (("6_000", TRAINING // CLASSES), ("60_000", TRAINING), ("10_000", TEST)):
        text = re.sub(rf"\b{said}\b", str(meant), text)
    checkout = tmp_path_factory.mktemp("checkout")
    (checkout / "given").mkdir()
    for name, content in made_up().items():
        (checkout / "given" / name).write_bytes(content)
        original = f'"{name}": File({len(content)}, "{hashlib.sha256(content).hexdigest()}")'
        text, count = re.subn(rf'"{name}": File\(.*?\)', original, text)
        assert count == 1
    return with_files(checkout, {path: text})


def run_with(*settings: str) -> list[str]:
    return ["run", "none", *options("data.dataset=kmnist", "name=second", *settings)]


def test_a_second_is_in_the_schema(with_a_second: Path) -> None:
    data = json.loads(told(with_a_second, "schema"))["$defs"]["Data"]["properties"]
    assert data["dataset"]["enum"] == ["fashion_mnist", "kmnist"]
    assert data["dataset"]["description"] == (
        "Dataset: 28x28 grey images of clothes in 10 classes, or 28x28 grey images of cursive Japanese characters in 10 classes."
    )
    assert data["subset"]["description"].endswith("shipped. With kmnist, full: 200 training and 50 test images; no sample.")
    before = loading.json_schema()["$defs"]["Data"]["properties"]
    assert {key for key in data if data[key] != before[key]} == {"dataset", "subset"}


def test_a_second_is_found_and_verified(with_a_second: Path) -> None:
    found = told(with_a_second, "data", "kmnist", "--data-dir", "given", "--json")
    assert set(json.loads(found)["files"]) == set(made_up())
    lost = told(with_a_second, "data", "kmnist", GRADCLIP_CACHE=str(with_a_second / "cache"))
    assert "KMNIST was not found." in lost
    assert f"gradclip's cache ({with_a_second}/cache/kmnist): no such folder" in lost
    assert "`gradclip data kmnist --fetch` downloads them." in lost
    assert "train-images-idx3-ubyte is not the original" in told(with_a_second, "data", "--data-dir", "given")


def test_a_second_without_a_sample_says_so(with_a_second: Path) -> None:
    said = told(with_a_second, *run_with("data.subset=sample"))
    assert "data: kmnist has no sample; it is trained on with subset full" in said


@pytest.mark.slow
@pytest.mark.trains
def test_a_second_is_trained_on(with_a_second: Path) -> None:
    short = ["training.epochs=1", "training.steps_per_epoch=20", *UNCOMPILED[QUICKEST]]
    told(with_a_second, *run_with(*short), "--data-dir", "given")
    assert "second" in told(with_a_second, "list", "--status", "complete")
    assert "test split of KMNIST (full)" in told(with_a_second, "show", "second/seed-0")
