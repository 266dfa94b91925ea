"""The user's own data: what an npz file holds or a factory returned, checked, as arrays to train and to evaluate on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from gradclip_cli.arrays import Array
from gradclip_cli.errors import DatasetError
from gradclip_cli.problems.own_arrays import array_files, read_once
from gradclip_cli.problems.own_arrays.array_files import NotFinite, Tell, near_names
from gradclip_cli.problems.own_arrays.array_likes import Arrays, as_arrays, blocks, each, leaves
from gradclip_cli.texts import counted, with_article

HELD_OUT = 5
"""Without a test split one sample of so many is held out."""
MOST_CLASSES = 1000
"""Different integers beyond which targets are not taken for classes."""
ACCEPTED = (
    "((x_train, y_train), (x_test, y_test)), or (x, y) alone; each of them an array, a dict of arrays or a tuple of arrays; "
    "a tf.data.Dataset or a torch Dataset of such pairs (of a DataLoader, its .dataset) may stand for (x, y)"
)


@dataclass(frozen=True)
class OwnSplit:
    """Samples along the first axis of each array, with their targets."""

    inputs: Arrays
    targets: Arrays

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(next(iter(leaves("", self.inputs).values())))

    def named(self, split: str) -> dict[str, Array]:
        """All arrays by the names that they have in an npz file."""
        return {**leaves(f"x_{split}", self.inputs), **leaves(f"y_{split}", self.targets)}

    def part(self, samples: slice) -> OwnSplit:
        """Some of the samples; nothing is copied."""
        return OwnSplit(each(self.inputs, lambda array: array[samples]), each(self.targets, lambda array: array[samples]))


@dataclass(frozen=True)
class OwnArrays:
    """Data to train and to evaluate on. `sha256` is of all that was read; `remarks` are sentences for the user."""

    train: OwnSplit
    evaluation: OwnSplit
    evaluation_split: Literal["test", "holdout"]
    sha256: str
    remarks: tuple[str, ...]


def load_npz(path: Path, *, holdout: int = 0, tell: Tell) -> OwnArrays:
    """The arrays of an npz file, mapped from gradclip's cache: `x_train`, `y_train`, `x_test`, `y_test`.

    Several inputs (or targets) are named `x_train/NAME`. With `holdout` the last so many training samples are evaluated on;
    without it and without a test split the last fifth. Raises DatasetError for whatever can't be trained on.
    """
    file = array_files.unpacked(path, tell)
    train, test = (_split_of(file.arrays, split, str(path)) for split in ("train", "test"))
    if train is None:
        raise DatasetError(f"{path}: lacks x_train or y_train; make it with {array_files.HOW_TO_SAVE}")
    remarks = [f"not used of {path.name}: {', '.join(file.unused[:20])}"] if file.unused else []
    return _checked(_Read(str(path), train, test, file.sha256, file.not_finite), holdout, remarks)


def from_factory(value: object, *, holdout: int = 0, what: str) -> OwnArrays:
    """What a factory returned, as arrays; `what` names the factory in errors.

    That is `((x, y), (x, y))` to train and to evaluate on, or `(x, y)` alone, from which samples are held out as `load_npz`
    does. Each of x and y is an array or what NumPy can make one of, a dict of such, or a tuple of such; a finite
    `tf.data.Dataset` or a map-style torch `Dataset` of pairs may stand for (x, y), and is read once. A value whose parts are
    both pairs is taken as two splits: name inputs with a dict where that would be wrong. Raises DatasetError.
    """
    parts = _parts(value, what)
    train, *rest = (_read(part, split, what) for part, split in zip(parts, ("train", "test"), strict=False))
    test = rest[0] if rest else None
    named = _named(train, test)
    not_finite = {name: found for name, array in named.items() if (found := find_not_finite(array))}
    return _checked(_Read(what, train, test, hash_of(named), not_finite), holdout, [])


def label_range(targets: Array) -> tuple[int, int] | None:
    """The smallest and the largest of integer targets; None where they are no integers."""
    return (int(targets.min()), int(targets.max())) if targets.dtype.kind in "iu" else None


def find_not_finite(array: Array) -> NotFinite | None:
    """The NaN and infinite values of an array, looked for block by block; None where it has none."""
    count, first = 0, None
    for start, block in blocks(array) if array.dtype.kind == "f" else ():
        places = np.argwhere(~np.isfinite(block))
        if len(places) and first is None:
            first = (start + int(places[0, 0]), *map(int, places[0, 1:]))
        count += len(places)
    return NotFinite(count, first) if first is not None else None


def hash_of(named: Mapping[str, Array]) -> str:
    """The SHA-256 of arrays with their names, types and shapes, whatever their order in the mapping."""
    digest = hashlib.sha256()
    for name, array in sorted(named.items()):
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        for _, block in blocks(array):
            digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


# What was read, before it is checked.


@dataclass(frozen=True)
class _Read:
    """Data as they came: from what, and what isn't finite in them, by name."""

    what: str
    train: OwnSplit
    test: OwnSplit | None
    sha256: str
    not_finite: Mapping[str, NotFinite]


def _named(train: OwnSplit, test: OwnSplit | None) -> dict[str, Array]:
    return train.named("train") | (test.named("test") if test else {})


def _split_of(arrays: Mapping[str, Array], split: str, what: str) -> OwnSplit | None:
    """A split of an npz file; None where it has nothing of it."""
    inputs, targets = (_grouped(arrays, f"{letter}_{split}", what) for letter in "xy")
    if inputs is None and targets is None:
        return None
    if inputs is None or targets is None:
        there, missing = (f"{letter}_{split}" for letter in ("xy" if targets is None else "yx"))
        raise DatasetError(f"{what}: has {there} without {missing}; save both, or neither")
    return _split(inputs, targets, split, what)


def _split(inputs: Arrays, targets: Arrays, split: str, what: str) -> OwnSplit:
    """Inputs with their targets: as many in each array, and some. Raises DatasetError."""
    both = OwnSplit(inputs, targets)
    _require_samples(both.named(split), what)
    return both


def _grouped(arrays: Mapping[str, Array], name: str, what: str) -> Arrays | None:
    several = {each.removeprefix(f"{name}/"): array for each, array in arrays.items() if each.startswith(f"{name}/")}
    if several and name in arrays:
        raise DatasetError(f"{what}: has {name} and {name}/{next(iter(several))}; name all of them, or save one array")
    return several or arrays.get(name)


def _parts(value: object, what: str) -> list[object]:
    """A factory's value in one or two splits."""
    if _is_split(value) and not (isinstance(value, tuple) and all(map(_is_split, value))):
        return [value]
    if isinstance(value, tuple | list) and 1 <= len(value) <= 2 and all(map(_is_split, value)):
        return list(value)
    raise DatasetError(f"{what}: returned {_shape_of(value)}; it must return {ACCEPTED}")


def _is_split(value: object) -> bool:
    return read_once.is_dataset(value) or (isinstance(value, tuple) and len(value) == 2)


def _shape_of(value: object) -> str:
    """What a value looks like, a level deep."""
    if not isinstance(value, tuple | list):
        return "None" if value is None else with_article(type(value).__name__)
    inner = ", ".join(
        f"{type(item).__name__} of {len(item)}" if isinstance(item, tuple) else type(item).__name__ for item in value[:6]
    )
    return f"{with_article(type(value).__name__)} of {len(value)} ({inner})"


def _read(part: object, split: str, what: str) -> OwnSplit:
    if read_once.is_dataset(part):
        return _split(*read_once.read(part, split, what), split, what)
    assert isinstance(part, tuple)
    inputs, targets = (as_arrays(value, f"{what}: {letter}_{split}") for letter, value in zip("xy", part, strict=True))
    return _split(inputs, targets, split, what)


# Checks.


def _checked(read: _Read, holdout: int, remarks: list[str]) -> OwnArrays:
    """Arrays with which a training can begin, and what the user should know of them."""
    if read.test:
        for letter, of_train, of_test in _both(read.train, read.test):
            _require_alike(leaves(f"{letter}_train", of_train), leaves(f"{letter}_test", of_test), read.what)
    remarks = [*remarks, *_finiteness(read)]
    if read.test and not holdout:
        return OwnArrays(read.train, read.test, "test", read.sha256, tuple(remarks))
    return _held_out(read, holdout, remarks)


def _both(train: OwnSplit, test: OwnSplit) -> tuple[tuple[str, Arrays, Arrays], ...]:
    return (("x", train.inputs, test.inputs), ("y", train.targets, test.targets))


def _require_samples(named: Mapping[str, Array], what: str) -> None:
    for name, array in named.items():
        if not array.ndim or not array.size:
            is_what = f"is empty (its shape is {array.shape})" if array.ndim else "is a single number"
            raise DatasetError(f"{what}: {name} {is_what}; it must hold samples along its first axis")
    (first, samples), *others = ((name, len(array)) for name, array in named.items())
    for name, count in others:
        if count != samples:
            hint = "samples go along the first axis of each (several inputs are a tuple or a dict, not a list)"
            raise DatasetError(f"{what}: {first} has {counted(samples, 'sample')} but {name} {count:,}; {hint}")


def _require_alike(train: Mapping[str, Array], test: Mapping[str, Array], what: str) -> None:
    """The same names, shapes of a sample, and kinds of numbers in both splits. Raises DatasetError."""
    pairs = {name.replace("_train", "_test", 1): (name, array) for name, array in train.items()}
    if pairs.keys() != test.keys():
        odd = sorted(pairs.keys() ^ test.keys())[0]
        has, lacks = ("training", "test") if odd in pairs else ("test", "training")
        known = sorted((test if odd in pairs else pairs).keys())
        raise DatasetError(
            f"{what}: the {has} split has {pairs.get(odd, (odd,))[0]}, the {lacks} split no such{near_names(odd, known)}"
        )
    for name, (other, array) in pairs.items():
        if test[name].shape[1:] != array.shape[1:]:
            shapes = f"{other} has samples of the shape {array.shape[1:]} but {name} of {test[name].shape[1:]}"
            raise DatasetError(f"{what}: {shapes}; make them alike")
        if (test[name].dtype.kind == "f") != (array.dtype.kind == "f"):
            types = f"{other} holds {array.dtype} but {name} {test[name].dtype}"
            raise DatasetError(f"{what}: {types}; prepare both alike (is one of them scaled, the other not?)")


def _finiteness(read: _Read) -> list[str]:
    """Remarks on inputs that are not finite; such targets raise DatasetError, since their loss is no number."""
    remarks = []
    for name, found in read.not_finite.items():
        where = f"the first at [{', '.join(map(str, found.first))}]"
        said = f"{name} holds {counted(found.count, 'value')} that {'is' if found.count == 1 else 'are'} NaN or infinite, {where}"
        if name.startswith("y"):
            raise DatasetError(f"{read.what}: {said}; leave such samples out, or fill them in")
        remarks.append(f"{said}; a sample with one makes the loss NaN, with or without clipping")
    return remarks


def _held_out(read: _Read, holdout: int, remarks: list[str]) -> OwnArrays:
    samples = read.train.samples
    held = holdout or max(1, samples // HELD_OUT)
    if held >= samples:
        raise DatasetError(
            f"{read.what}: {held:,} of {counted(samples, 'training sample')} can't be held out; give more, or hold out fewer"
        )
    train, evaluation = read.train.part(slice(None, -held)), read.train.part(slice(-held, None))
    if not holdout:
        said = f"there is no test split: the last {held:,} of {counted(samples, 'training sample')} are held out and evaluated on"
        remarks = [*remarks, said]
    return OwnArrays(train, evaluation, "holdout", read.sha256, (*remarks, *_unseen_classes(train, evaluation)))


def _unseen_classes(train: OwnSplit, evaluation: OwnSplit) -> list[str]:
    """Remarks where classes were held out whole, as they are of samples sorted by class."""
    remarks = []
    for name, array in leaves("y_train", train.targets).items():
        other = leaves("y_train", evaluation.targets)[name]
        classes = np.unique(array) if array.dtype.kind in "iu" and array.size == len(array) else ()
        unseen = np.setdiff1d(other, classes)
        if 0 < len(classes) <= MOST_CLASSES and len(unseen):
            which = f"{len(unseen)} of the {len(np.unique(other))} classes held out of {name} are not trained on"
            remarks.append(f"{which}: are the samples sorted by class? Shuffle them first")
    return remarks
