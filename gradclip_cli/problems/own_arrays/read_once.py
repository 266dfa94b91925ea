"""A finite tf.data.Dataset or a map-style torch Dataset, read once into arrays. Neither framework is imported for that."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradclip_cli.arrays import Array
from gradclip_cli.errors import DatasetError
from gradclip_cli.problems.own_arrays.array_likes import Arrays, as_arrays, each, leaves
from gradclip_cli.texts import with_article

INFINITE = -1  # tf.data.INFINITE_CARDINALITY; an unknown one is negative too
READ_TOGETHER = 1024  # samples of a tf.data.Dataset without batches
MOST_BYTES = 10_000_000_000
"""What is read of a tf.data.Dataset that doesn't know its end."""
Pair = tuple[Arrays, Arrays]


def is_dataset(value: object) -> bool:
    """Whether it is one of either framework's."""
    return _is_tensorflows(value) or _is_torchs(value, "Dataset")


def read(dataset: Any, split: str, what: str) -> Pair:
    """All inputs and all targets of a dataset of pairs; `split` (train or test) and `what` made it name it in errors.

    Raises DatasetError where it has no end, gives other samples when it is read again, or isn't made of pairs of numbers.
    """
    reader = _read_tensorflows if _is_tensorflows(dataset) else _read_torchs
    inputs, targets = reader(dataset, split, what)
    return inputs, targets


def _is_tensorflows(value: object) -> bool:
    return hasattr(value, "element_spec") and hasattr(value, "cardinality")


def _is_torchs(value: object, kind: str) -> bool:
    classes = sys.modules.get("torch.utils.data")
    return classes is not None and isinstance(value, getattr(classes, kind))


def _pair(element: object, split: str, what: str) -> Pair:
    """An element's inputs and targets as arrays."""
    inputs, targets = _require_pair(element, split, what)
    return as_arrays(inputs, f"{what}: x_{split}"), as_arrays(targets, f"{what}: y_{split}")


def _require_pair(element: object, split: str, what: str) -> tuple[object, object]:
    if not isinstance(element, tuple | list) or len(element) != 2:
        size = f" of {len(element)}" if isinstance(element, tuple | list | dict) else ""
        there = f"{with_article(type(element).__name__)}{size}"
        hint = "they must be pairs (x, y), without weights of samples"
        raise DatasetError(f"{what}: the elements of its {split} dataset are each {there}; {hint}")
    return element[0], element[1]


def _flat(pair: Pair) -> dict[str, Array]:
    return {**leaves("x", pair[0]), **leaves("y", pair[1])}


def _shaped_as(pair: Pair, arrays: Sequence[Array]) -> Pair:
    """Arrays in the order of `_flat` as a pair of the same make."""
    following = iter(arrays)
    return each(pair[0], lambda _: next(following)), each(pair[1], lambda _: next(following))


def _require_same(first: Pair, again: Pair, split: str, what: str) -> None:
    """Every process must train on the same samples in the same order, or runs with one seed would not be pairs."""
    one, other = (_flat(pair) for pair in (first, again))
    if any(one[name].tobytes() != other[name].tobytes() for name in one):
        hint = "leave out its shuffling (gradclip shuffles by seed) and random changes of samples"
        raise DatasetError(f"{what}: its {split} dataset gives something else when it is read again; {hint}")


def _failed(error: Exception, split: str, what: str) -> DatasetError:
    reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
    return DatasetError(f"{what}: its {split} dataset failed while it was read: {reason}")


# TensorFlow's.


def _read_tensorflows(dataset: Any, split: str, what: str) -> Pair:
    if (cardinality := int(dataset.cardinality())) == INFINITE:
        raise DatasetError(f"{what}: its {split} dataset has no end; leave out .repeat(), or give it .take(n)")
    batches = dataset if _is_batched(dataset.element_spec, split, what) else dataset.batch(READ_TOGETHER)
    read, size = [], 0
    for pair in _pairs(batches, split, what):
        read.append(pair)
        size += sum(array.nbytes for array in _flat(pair).values())
        if cardinality < 0 and size > MOST_BYTES:
            most = f"{MOST_BYTES / 1e9:g} GB were read of its {split} dataset, which doesn't know its end"
            raise DatasetError(f"{what}: {most}; give it .take(n), or save the samples in an npz file")
    if not read:
        raise DatasetError(f"{what}: its {split} dataset is empty")
    again = next(_pairs(batches, split, what), read[0])  # nothing, where it was made of a generator that is used up
    _require_same(read[0], again, split, what)
    columns = zip(*(_flat(pair).values() for pair in read), strict=True)
    return _shaped_as(read[0], [_joined(column, split, what) for column in columns])


def _joined(batches: Sequence[Array], split: str, what: str) -> Array:
    for batch in batches:
        if batch.shape[1:] != batches[0].shape[1:]:
            shapes = f"has batches of samples of the shape {batches[0].shape[1:]} and of {batch.shape[1:]}"
            raise DatasetError(f"{what}: its {split} dataset {shapes}; pad or resize all to one")
    return np.concatenate(batches)


def _pairs(batches: Any, split: str, what: str) -> Iterator[Pair]:
    try:
        for element in batches.as_numpy_iterator():
            yield _pair(element, split, what)
    except DatasetError:
        raise
    except Exception as error:  # whatever the user's own functions raise
        raise _failed(error, split, what) from error


def _is_batched(spec: Any, split: str, what: str) -> bool:
    """Whether elements are batches: an open first axis in all of them says so, a single number in one of them denies it."""
    shapes = [leaf.shape for leaf in _specs(_require_pair(spec, split, what))]
    if all(shape.rank for shape in shapes):  # neither unknown nor a single number
        sizes = {shape[0] for shape in shapes}
        if len(sizes) > 1 or None in sizes:
            return sizes == {None}
    elif not any(shape.rank is None for shape in shapes):
        return False
    hint = "give it .batch(64) where they are samples, .unbatch().batch(64) where they are batches"
    raise DatasetError(f"{what}: whether the elements of its {split} dataset are samples or batches can't be told; {hint}")


def _specs(spec: Any) -> list[Any]:
    if isinstance(spec, Mapping):
        return [leaf for inner in spec.values() for leaf in _specs(inner)]
    if isinstance(spec, tuple | list):
        return [leaf for inner in spec for leaf in _specs(inner)]
    return [spec]


# PyTorch's.


def _read_torchs(dataset: Any, split: str, what: str) -> Pair:
    if _is_torchs(dataset, "IterableDataset") or not hasattr(dataset, "__len__"):
        hint = "give one that has a length and gives dataset[i]"
        raise DatasetError(f"{what}: its {split} dataset, {with_article(type(dataset).__name__)}, can only be iterated; {hint}")
    count = len(dataset)
    if not count:
        raise DatasetError(f"{what}: its {split} dataset is empty")
    first = _sample(dataset, 0, split, what)
    columns = {name: np.empty((count, *array.shape), array.dtype) for name, array in _flat(first).items()}
    for place in range(count):
        sample = _flat(_sample(dataset, place, split, what) if place else first)
        if sample.keys() != columns.keys():
            raise DatasetError(f"{what}: sample {place} of its {split} dataset has other names than sample 0")
        for name, value in sample.items():
            columns[name] = _put(columns[name], place, value, f"{what}: {name}_{split}")
    _require_same(first, _sample(dataset, 0, split, what), split, what)
    return _shaped_as(first, list(columns.values()))


def _sample(dataset: Any, place: int, split: str, what: str) -> Pair:
    try:
        element = dataset[place]
    except Exception as error:  # whatever the user's own functions raise
        raise _failed(error, split, what) from error
    return _pair(element, split, what)


def _put(column: Array, place: int, value: Array, name: str) -> Array:
    """Put a sample in its place; a column of a wider type where it needs one."""
    if value.shape != column.shape[1:]:
        shapes = f"sample {place} has the shape {value.shape}, sample 0 {column.shape[1:]}"
        raise DatasetError(f"{name}: {shapes}; pad or resize them to one")
    if not np.can_cast(value.dtype, column.dtype):
        column = column.astype(np.result_type(value.dtype, column.dtype))
    column[place] = value
    return column
