"""Data that a function of the user's own makes, for all worker processes of a command: one calls it, all map what it returned.

Without this each worker would hold the arrays in memory of its own. An npz file's are mapped anyway, from gradclip's cache.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gradclip_cli.files import folder_replaced_by
from gradclip_cli.problems.contract import Dataset, Problem

HEAD = "dataset.pickle"


class SharedData:
    """Datasets in a folder that one command's workers share, and that goes with them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def loaded(self, problem: Problem, load: Callable[[], Dataset]) -> Dataset:
        """The dataset of a problem, mapped copy-on-write; `load` makes it where no other worker has.

        It stays in this process's own memory where the folder has no room. Raises what `load` raises.
        """
        import filelock

        place = self._folder / hashlib.sha256(problem.loaded_from.encode()).hexdigest()
        with filelock.FileLock(place.with_suffix(".lock")):
            if place.is_dir():
                return _mapped(place)
            dataset = load()
            try:
                _write(dataset, place)
            except OSError:
                return dataset
            return _mapped(place)


def _write(dataset: Dataset, place: Path) -> None:
    """Write a dataset into a folder, which is there whole or not at all. Raises OSError where there is no room."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(dataset, protocol=5, buffer_callback=buffers.append)
    with folder_replaced_by(place, place.with_suffix(".part")) as part:
        for number, buffer in enumerate(buffers):
            # In NumPy's format, since that aligns what is mapped, as TensorFlow asks for.
            np.save(part / f"{number}.npy", np.frombuffer(buffer.raw(), np.uint8))
        (part / HEAD).write_bytes(head)


def _mapped(place: Path) -> Dataset:
    files = sorted(place.glob("*.npy"), key=lambda path: int(path.stem))
    buffers = [np.load(path, mmap_mode="c") for path in files]
    dataset: Dataset = pickle.loads((place / HEAD).read_bytes(), buffers=buffers)
    return dataset
