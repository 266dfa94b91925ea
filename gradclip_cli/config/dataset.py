"""What a published dataset of images is known by, wherever it need not be loaded: title, sizes, classes, files, mirrors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class File(NamedTuple):
    """A file as it is once decompressed."""

    size: int
    """Bytes."""
    sha256: str


class Part(NamedTuple):
    """What is read of a dataset: all of it, or its beginning."""

    training: int
    """Images."""
    test: int
    files: Mapping[str, File]
    """By name, as they lie in a folder, plain or with .gz: training images and labels, test images and labels, in this order."""


class DebianPackage(NamedTuple):
    """A package of Debian's that has the files of the whole."""

    name: str
    folder: str
    """Where it puts them, below the root."""


class PublishedDataset(NamedTuple):
    """Square grey images in classes, as MNIST's four idx files. Its name is that of its file; `data.dataset` calls it so."""

    title: str
    subject: str
    """What is on the images, to follow "grey images of"."""
    source: str
    """Who made it, and when."""
    licence: str
    side: int
    """Pixels."""
    class_sizes: tuple[int, ...]
    """How many training images each class has; labels are counted from 0."""
    full: Part
    sample: Part | None = None
    """The first images of the whole, shipped in `problems/samples/` in a folder named as the dataset is."""
    mirrors: tuple[str, ...] = ()
    """Addresses of folders with the gzipped files of the whole."""
    keras_folder: str | None = None
    """Where Keras keeps the same files, among its datasets."""
    debian_package: DebianPackage | None = None

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.class_sizes)

    @property
    def class_shares(self) -> tuple[float, ...]:
        """Each class's share of the training images."""
        return tuple(size / sum(self.class_sizes) for size in self.class_sizes)

    @property
    def parts(self) -> Mapping[str, Part]:
        """What `data.subset` may choose."""
        return {"full": self.full} | ({"sample": self.sample} if self.sample else {})

    @property
    def content(self) -> str:
        """What it holds, in words."""
        return f"{self.side}x{self.side} grey images of {self.subject} in {self.classes} classes"

    @property
    def sizes(self) -> str:
        """How much it holds, in words."""
        full = f"full: {self.full.training:,} training and {self.full.test:,} test images"
        sample = f"sample: the first {self.sample.training:,} and {self.sample.test:,}, shipped" if self.sample else "no sample"
        return f"{full}; {sample}"
