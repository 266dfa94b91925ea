"""Arrays of the user's own: what NumPy can make one of, in the types of numbers that both frameworks take; one, or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradclip_cli.arrays import Array
from gradclip_cli.errors import DatasetError

if TYPE_CHECKING:
    Arrays = Array | Mapping[str, Array] | tuple[Array, ...]
    """One array, several by name, or several in order; samples along the first axis of each."""
else:
    Arrays = Any

BLOCK = 1 << 23  # bytes that are looked at together
TAKEN_AS = {np.dtype(kind): (np.dtype(kind),) for kind in (np.bool_, np.uint8, np.int8, np.int16, np.int32, np.float32)} | {
    np.dtype(np.uint16): (np.dtype(np.int32),),
    **{np.dtype(kind): (np.dtype(np.int32), np.dtype(np.int64)) for kind in (np.uint32, np.int64, np.uint64)},
    **{np.dtype(kind): (np.dtype(np.float32),) for kind in (np.float16, np.float64, np.longdouble)},
}
"""What both frameworks take an array as: the first of these types that holds all its values."""
REFUSED = {
    "O": "holds Python objects (rows of unequal length, texts or missing values become such), which gradclip never unpickles; "
    "make it one array of numbers",
    "S": "holds texts; encode them as numbers (np.unique(values, return_inverse=True) numbers classes)",
    "U": "holds texts; encode them as numbers (np.unique(values, return_inverse=True) numbers classes)",
    "c": "holds complex numbers; give real and imaginary parts as two features (np.stack([a.real, a.imag], axis=-1))",
    "M": "holds dates; make them numbers (seconds since a day, say)",
    "m": "holds spans of time; make them numbers (seconds, say)",
}


def leaves(name: str, arrays: Arrays) -> dict[str, Array]:
    """The arrays by the names that they have in an npz file: `x_train`, or `x_train/NAME`, or `x_train/0`."""
    if isinstance(arrays, Mapping):
        return {f"{name}/{inner}": array for inner, array in arrays.items()}
    if isinstance(arrays, tuple):
        return {f"{name}/{place}": array for place, array in enumerate(arrays)}
    return {name: arrays}


def each(arrays: Arrays, change: Callable[[Array], Array]) -> Arrays:
    """The same with each array changed, in the order of `leaves`."""
    if isinstance(arrays, Mapping):
        return {name: change(array) for name, array in arrays.items()}
    if isinstance(arrays, tuple):
        return tuple(map(change, arrays))
    return change(arrays)


def blocks(array: Array) -> Iterator[tuple[int, Array]]:
    """The array in slices of a few megabytes along its first axis, each with the place where it begins."""
    samples = max(1, BLOCK * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), samples):
        yield start, array[start : start + samples]


def as_arrays(value: object, name: str) -> Arrays:
    """An array, or a dict or tuple of such, of whatever NumPy can make one of. Raises DatasetError, which names it."""
    if isinstance(value, Mapping | tuple) and not value:
        raise DatasetError(f"{name} is an empty {type(value).__name__}; it must hold at least one array")
    if isinstance(value, Mapping):
        return {str(inner): as_array(one, f"{name}/{inner}") for inner, one in value.items()}
    if isinstance(value, tuple):
        return tuple(as_array(one, f"{name}/{place}") for place, one in enumerate(value))
    return as_array(value, name)


def as_array(value: object, name: str) -> Array:
    """An array in one of the types of `TAKEN_AS`, a sample after the other in memory; not copied where it is one already.

    Raises DatasetError, which names it, for what is no array of numbers.
    """
    array = _of_numpy(value, name)
    for dtype in taken_types(array.dtype, name):
        if fits(array, dtype):
            return _in_order(narrowed(array, dtype))
    raise too_large(name)


def _of_numpy(value: Any, name: str) -> Array:
    if hasattr(value, "toarray"):
        raise DatasetError(f"{name} is sparse; give its .toarray()")
    if np.ma.is_masked(value):
        raise DatasetError(f"{name} has masked values; leave such samples out, or give its .filled(value)")
    if isinstance(value, np.memmap):
        return value
    try:
        array: Array = value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(f"{name} can't be made an array ({reason}); rows of unequal length want padding") from error
    return array


def _in_order(array: Array) -> Array:
    """The array as frameworks take it without a copy; a file that is mapped to be read only stays mapped."""
    usable = array.flags.c_contiguous and (array.flags.writeable or isinstance(array, np.memmap))
    return array if usable else np.array(array, order="C")


# Types.


def taken_types(dtype: np.dtype[Any], name: str) -> tuple[np.dtype[Any], ...]:
    """The types to try for an array of this one. Raises DatasetError, which names it, where it holds no real numbers."""
    types = TAKEN_AS.get(dtype.newbyteorder("="))
    if types is None:
        reason = REFUSED.get(dtype.kind, f"is of the type {dtype}; make it an array of float32, or of integers")
        raise DatasetError(f"{name} {reason}")
    return types


def fits(values: Array, dtype: np.dtype[Any]) -> bool:
    """Whether integers stay the same in a type; to any other array it makes no difference."""
    if dtype.kind != "i" or values.dtype.kind not in "iu" or np.can_cast(values.dtype, dtype):
        return True
    limits = np.iinfo(dtype)
    return not values.size or (int(values.min()) >= limits.min and int(values.max()) <= limits.max)


def narrowed(values: Array, dtype: np.dtype[Any]) -> Array:
    """The values in a type; what is too large for a smaller float becomes infinite, unsaid here: infinite values are told."""
    with np.errstate(over="ignore"):
        return values.astype(dtype, copy=False)


def too_large(name: str) -> DatasetError:
    """The error to raise where no type holds an array's integers."""
    return DatasetError(f"{name} holds integers above {np.iinfo(np.int64).max:,}; number its values from 0 on")
