"""Python's random numbers for one thread, while others draw too: Keras takes each layer's seed from them.

A worker's process has threads of its own, such as those of a cluster's messages; one number that they draw between seeding and
building would change all weights that follow.
"""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

FUNCTIONS = [name for name in random.__all__ if not isinstance(getattr(random, name), type)]
"""Of the module, which all draw from one state."""


@contextmanager
def draws_of_this_thread() -> Iterator[None]:
    """This thread draws from a state of its own, which begins where the module's stands and takes its place at the end."""
    own, thread = random.Random(), threading.get_ident()
    own.setstate(random.getstate())
    shared = {name: getattr(random, name) for name in FUNCTIONS}
    for name, function in shared.items():
        setattr(random, name, _by_thread(function, getattr(own, name), thread))
    try:
        yield
    finally:
        for name, function in shared.items():
            setattr(random, name, function)
        random.setstate(own.getstate())


def _by_thread(function: Callable[..., Any], own: Callable[..., Any], thread: int) -> Callable[..., Any]:
    @functools.wraps(function)
    def drawn(*args: Any, **kwargs: Any) -> Any:
        return (own if threading.get_ident() == thread else function)(*args, **kwargs)

    return drawn
