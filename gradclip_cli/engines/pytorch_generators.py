"""The random generators that a module may draw from while it trains: PyTorch's, NumPy's and Python's, as one run has them."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from gradclip_cli.arrays import Array


class Generators:
    """A run's own generators. They are the process's while they are in use, and what was there before is put back."""

    def __init__(self, seed: int) -> None:
        before = _current()
        torch.manual_seed(seed)
        np.random.seed(seed)  # a module that draws from it can't be given another
        random.seed(seed)
        self._states = _current()
        _set(before)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Let whatever draws a random number draw this run's."""
        before = _current()
        _set(self._states)
        try:
            yield
        finally:
            self._states = _current()
            _set(before)

    def arrays(self) -> dict[str, Array]:
        """Copy out their states, by name."""
        own = {name: np.frombuffer(json.dumps(self._states[name]).encode(), np.uint8) for name in ("numpy", "python")}
        return {name: self._states[name].numpy().copy() for name in self._states if name not in own} | own

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on where `arrays` were copied out."""
        for name in self._states:
            own = name in ("numpy", "python")
            self._states[name] = json.loads(arrays[name].tobytes()) if own else torch.from_numpy(arrays[name].copy())


def _current() -> dict[str, Any]:
    kind, keys, *others = np.random.get_state(legacy=True)
    states = {
        "torch": torch.get_rng_state(),
        "numpy": [kind, np.asarray(keys).tolist(), *others],
        "python": list(random.getstate()),
    }
    return states | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _set(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    np.random.set_state(tuple(states["numpy"]))
    version, words, following = states["python"]
    random.setstate((version, tuple(words), following))
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])
