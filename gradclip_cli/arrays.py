"""The kinds of NumPy arrays that the rooms pass to each other. For annotations only: to name them costs no import of NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    FloatArray = npt.NDArray[np.floating[Any]]
    IntArray = npt.NDArray[np.integer[Any]]
    BoolArray = npt.NDArray[np.bool_]
    ByteArray = npt.NDArray[np.uint8]

    Weights = Mapping[str, FloatArray]
    """Values of variables by their names, each in Keras's layout."""
else:
    Array = FloatArray = IntArray = BoolArray = ByteArray = Weights = Any
