"""A small convolutional network with batch normalization and dropout on Fashion-MNIST."""

from __future__ import annotations

import gzip
from pathlib import Path

import keras
import numpy as np

# 5,000 and 1,000 of the images travel with gradclip.
SAMPLE = Path(__file__).resolve().parents[2] / "gradclip_cli" / "problems" / "samples" / "fashion_mnist"
SIDE, CLASSES = 28, 10
HEADER = {"images": 16, "labels": 8}  # bytes before the first value of an idx file


def read(folder: Path, name: str) -> np.ndarray:
    """The values of one gzipped idx file, as bytes."""
    try:
        content = gzip.decompress((folder / f"{name}-ubyte.gz").read_bytes())
    except FileNotFoundError as error:
        hint = "name a folder with Fashion-MNIST's four files: after `apt install dataset-fashion-mnist`, "
        raise FileNotFoundError(f"{error.filename} is missing; {hint}/usr/share/datasets/fashion-mnist") from None
    return np.frombuffer(content, dtype=np.uint8, offset=HEADER[name.split("-")[1]])


def load(folder: str | None = None) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Images (N, 28, 28, 1) of bytes and labels (N,), from `folder` or the sample that travels with gradclip."""
    place = Path(folder) if folder else SAMPLE
    train, test = (
        (read(place, f"{part}-images-idx3").reshape(-1, SIDE, SIDE, 1), read(place, f"{part}-labels-idx1"))
        for part in ("train", "t10k")
    )
    return train, test


def build(filters: int = 8, dropout: float = 0.3) -> keras.Model:
    """Two blocks of convolution, normalization and pooling, and the classes' logits."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1), dtype="uint8"),
            layers.Rescaling(1 / 255),
            *block(filters),
            *block(2 * filters),
            layers.Flatten(),
            layers.Dropout(dropout),
            layers.Dense(CLASSES),
        ]
    )


def block(filters: int) -> list[keras.Layer]:
    """A 3x3 convolution, normalized over the batch (which makes its bias superfluous), and halved in size."""
    layers = keras.layers
    convolution = layers.Conv2D(filters, 3, padding="same", use_bias=False)
    return [convolution, layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D()]
